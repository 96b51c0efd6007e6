"""The shared bottom with modulation: one trunk whose activations every task scales for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask.input_linear import InputLinear
from multitask.modulation.layers import Scaling
from multitask.shared_bottom import SharedBottom


class ModulatedBottom(SharedBottom):
    """A `SharedBottom` whose every hidden layer is scaled per task: h_t = f_L(w_tL-1 * f_L-1(...)) * w_tL.

    [Modulation] equation 5 on fully connected layers. The first layer reads x once for all tasks; from the second on
    every task has activations of its own, at T times the cost. T * (sum of `hidden`) further parameters.

    At initialisation the outputs are those of a `SharedBottom` of the same weights; with one layer to the bit, with
    more up to the rounding of the products, which then have T times the rows or columns and may add in another order.
    Dropout acts once on the first layer's activations, for all tasks alike, and on each task's own behind it.

    Args:
        in_features, n_tasks, hidden, dropout: as for `SharedBottom`; `hidden` must not be empty.
        rate_factor: the masks learn at this many times the base learning rate.

    Raises:
        ValueError: if `hidden` is empty.

    >>> ModulatedBottom(10, 4, hidden=(8, 6))(torch.zeros(5, 10)).shape
    torch.Size([5, 4, 6])
    """

    def __init__(
        self,
        in_features: int,
        n_tasks: int,
        hidden: Sequence[int] = (512, 256, 128),
        dropout: float = 0.0,
        *,
        rate_factor: float = 10.0,
    ) -> None:
        if not hidden:
            raise ValueError("`hidden` must hold at least one layer to be modulated, got ()")
        super().__init__(in_features, n_tasks, hidden, dropout)
        self.masks = nn.ModuleList(Scaling(n_tasks, size, rate_factor=rate_factor) for size in hidden)

    def after_first(self, z: Tensor) -> Tensor:
        """The rest of the trunk from z = `first_linear(x)`, `(B, hidden[0])`, to `(B, T, H)`; z is overwritten."""
        h = self.dropout(torch.relu_(z))  # (B, H_1), what all tasks share
        w = [cast(Scaling, mask).weight for mask in self.masks]  # (T, H_l) each
        if len(self.layers) == 1:
            return h[:, None] * w[0].to(h.dtype)
        second = cast(InputLinear, self.layers[1])
        # The first masks go into the second layer's weights, W (w_t * h) = (W diag w_t) h: T H_2 H_1 numbers instead
        # of B T H_1, and one product that reads h once.
        weights = (second.weight * w[0][:, None]).flatten(0, 1)  # (T * H_2, H_1)
        z = F.linear(h, weights, second.bias.repeat(self.n_tasks)).unflatten(1, (self.n_tasks, -1))  # (B, T, H_2)
        h = self.dropout(torch.relu_(z)) * w[1].to(z.dtype)
        for layer, mask in zip(self.layers[2:], w[2:]):
            h = self.dropout(torch.relu_(layer(h))) * mask.to(h.dtype)
        return h

    @property
    def extra_parameters(self) -> int:
        """T times the sum of `hidden`."""
        return sum(parameter.numel() for parameter in self.masks.parameters())
