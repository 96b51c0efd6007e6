"""The first layer of a trunk, whose input is partly fixed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear_of_parts(x: Tensor, fixed: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """W [x, fixed] + b without joining the parts.

    Nothing upstream learns from `fixed` (an item's stored vector), so its gradient is not needed; but a product with
    the joined input computes it all the same. For 138 learned and 512 fixed columns that is a fifth of a step.

    Args:
        x: `(B, D1)`.
        fixed: `(B, D2)`, or None if D2 = 0.
        weight: `(out, D1 + D2)`.
        bias: `(out,)` or None.

    >>> x, fixed, weight = torch.ones(2, 3), torch.ones(2, 1), torch.ones(5, 4)
    >>> linear_of_parts(x, fixed, weight, None)[0].tolist()
    [4.0, 4.0, 4.0, 4.0, 4.0]
    """
    if fixed is None:
        return F.linear(x, weight, bias)
    width = x.shape[1]
    return torch.addmm(F.linear(x, weight[:, :width], bias), fixed, weight[:, width:].t())


class InputLinear(nn.Linear):
    """`nn.Linear` whose input may come in two parts, the second one fixed: see `linear_of_parts`."""

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D1)` and `(B, D2)`, D1 + D2 = `in_features`, to `(B, out_features)`."""
        return linear_of_parts(x, fixed, self.weight, self.bias)


def joined(x: Tensor, fixed: Tensor | None) -> Tensor:
    """`(B, D1)` and `(B, D2)` to `(B, D1 + D2)`, in x's type."""
    return x if fixed is None else torch.cat([x, fixed.to(x.dtype)], dim=1)
