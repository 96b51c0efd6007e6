"""Cross layers: explicit products of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CrossNetwork(nn.Module):
    """x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, element-wise product, L times: DCN-v2 [Wang 2021] eq. 1.

    L layers hold all products of up to L + 1 features. Put in front of a trunk (the paper's stacked structure).

    Args:
        in_features: D.
        n_layers: L.

    >>> CrossNetwork(10, 2)(torch.zeros(5, 10)).shape
    torch.Size([5, 10])
    """

    def __init__(self, in_features: int, n_layers: int) -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"`n_layers` must be at least 1, got {n_layers}")
        self.layers = nn.ModuleList(nn.Linear(in_features, in_features) for _ in range(n_layers))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, D)` to `(B, D)`."""
        x_0 = x_l = x
        for layer in self.layers:
            x_l = torch.addcmul(x_l, x_0, layer(x_l).to(x.dtype))
        return x_l
