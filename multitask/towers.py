"""One small network per task on top of the trunk, all tasks in one product."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask.stacked import StackedLinear


class StackedTowers(nn.Module):
    """T towers Linear(H, h) + ReLU + Linear(h, K_t) in stacked weights; equal to T separate ones.

    A shared bottom gives every task the same input: then all first layers are one product, (B, H) x (H, T * h).
    The last layer runs in float32 under autocast too: a bf16 logit has 8 bits, so it is off by up to 0.4 %, which is
    calibration lost, and this layer costs next to nothing.

    Args:
        n_tasks: T.
        in_features: H, the trunk's `out_features`.
        hidden: h; 0 = one linear layer per task, Linear(H, K_t).
        widths: outputs per task K_t (`Task.width`).
        bias: `(sum of K_t,)` first values of the last layer's biases: the logits of the base rates, so that training
            starts from the right mean instead of one half. None = 0.

    Parameters: `first` (a `StackedLinear`, None if h = 0), `output_weight` `(sum K_t, h)`, `output_bias` `(sum K_t,)`.

    Raises:
        ValueError: if `widths` or `bias` have the wrong length.

    >>> towers = StackedTowers(2, 6, 3, widths=(1, 4))
    >>> towers(torch.zeros(5, 2, 6)).shape
    torch.Size([5, 5])
    """

    task_specific: ClassVar[bool] = True  # none of these parameters is shared by all tasks

    def __init__(
        self,
        n_tasks: int,
        in_features: int,
        hidden: int,
        widths: Sequence[int],
        bias: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        if len(widths) != n_tasks or any(width < 1 for width in widths):
            raise ValueError(f"`widths` must hold {n_tasks} positive numbers, got {tuple(widths)}")
        if hidden < 0:
            raise ValueError(f"`hidden` must not be negative, got {hidden}")
        total = sum(widths)
        if bias is not None and len(bias) != total:
            raise ValueError(f"`bias` must hold {total} numbers, one per output, got {len(bias)}")
        self.n_tasks, self.widths = n_tasks, tuple(widths)
        self.first = StackedLinear(n_tasks, in_features, hidden) if hidden else None
        last_in = hidden or in_features
        bound = 1 / sqrt(last_in)
        self.output_weight = nn.Parameter(torch.empty(total, last_in).uniform_(-bound, bound))
        start = torch.zeros(total) if bias is None else torch.as_tensor(bias, dtype=torch.float32).clone()
        self.output_bias = nn.Parameter(start)

    def forward(self, h: Tensor) -> Tensor:
        """`(B, T, H)`, or `(B, H)` that all tasks share, to `(B, sum of K_t)` in float32 or better."""
        if h.ndim == 3 and (self.n_tasks == 1 or h.stride(1) == 0):  # expanded by a shared bottom: one copy is enough
            h = h[:, 0]
        if self.first is not None:
            h = torch.relu(self.first(h if h.ndim == 2 else h.transpose(0, 1))).transpose(0, 1)  # (B, T, h)
        with torch.autocast(h.device.type, enabled=False):
            return self._last(h if h.dtype == torch.float64 else h.float())

    def _last(self, h: Tensor) -> Tensor:
        if h.ndim == 2:
            return F.linear(h, self.output_weight, self.output_bias)
        if all(width == 1 for width in self.widths):
            return (h * self.output_weight).sum(-1) + self.output_bias  # (B, T, h) . (T, h)
        weights = torch.split(self.output_weight, list(self.widths))
        return torch.cat([F.linear(h[:, t], w) for t, w in enumerate(weights)], dim=1) + self.output_bias
