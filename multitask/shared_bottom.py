"""One trunk for all tasks: the shared bottom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from multitask.dropout import Dropout
from multitask.input_linear import InputLinear, joined


class SharedBottom(nn.Module):
    """One stack of Linear + ReLU (+ dropout) that every task reads: h_t = f(x) for all t.

    The default of [Pinterest 2020]: "feature and fully connected layers" shared, one output per engagement.

    Args:
        in_features: D.
        n_tasks: T.
        hidden: sizes of the layers; empty = every task reads x itself.
        dropout: share of the activations set to 0 in training, after every layer.

    >>> SharedBottom(10, 4, hidden=(8, 6))(torch.zeros(5, 10)).shape
    torch.Size([5, 4, 6])
    """

    def __init__(
        self, in_features: int, n_tasks: int, hidden: Sequence[int] = (512, 256, 128), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.n_tasks = n_tasks
        sizes = [in_features, *hidden]
        self.layers = nn.ModuleList(InputLinear(a, b) for a, b in pairwise(sizes))
        self.dropout = Dropout(dropout)
        self.out_features = sizes[-1]

    @property
    def first_linear(self) -> nn.Linear | None:
        """The layer that reads x. Scoring applies it once per item to the parts of x that only the item decides."""
        first = self.layers[0] if len(self.layers) else None
        return first if isinstance(first, nn.Linear) else None

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D)` to `(B, T, H)`, a view with stride 0 over the tasks: nothing is copied.

        The last D2 columns may come apart as `fixed` `(B, D2)`: see `linear_of_parts`.
        """
        if len(self.layers) == 0:
            return self._expand(joined(x, fixed))
        return self.after_first(self.layers[0](x, fixed))

    def after_first(self, z: Tensor) -> Tensor:
        """The rest of the trunk from z = `first_linear(x)`, `(B, hidden[0])`, to `(B, T, H)`; z is overwritten."""
        h = self.dropout(torch.relu_(z))
        for layer in self.layers[1:]:
            h = self.dropout(torch.relu_(layer(h)))
        return self._expand(h)

    def _expand(self, h: Tensor) -> Tensor:
        return h[:, None].expand(-1, self.n_tasks, -1)
