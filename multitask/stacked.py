"""Several networks of one shape, side by side in stacked weights: one batched product instead of a loop."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from multitask.dropout import Dropout
from multitask.input_linear import linear_of_parts


class StackedLinear(nn.Module):
    """G separate `nn.Linear(in_features, out_features)`, y_g = W_g x_g + b_g, as one batched product.

    Weights are `(G, out_features, in_features)`: `weight[g]` is what `nn.Linear` would hold, starts from the same
    distribution, and a subset of the networks is one `index_select`.

    Args:
        groups: G.
        in_features, out_features: sizes of every single layer.
        bias: whether there are biases `(G, out_features)`.

    >>> layer = StackedLinear(3, 8, 2)
    >>> layer(torch.zeros(5, 8)).shape, layer(torch.zeros(3, 5, 8)).shape
    (torch.Size([3, 5, 2]), torch.Size([3, 5, 2]))
    """

    no_weight_decay: ClassVar[tuple[str, ...]] = ("bias",)  # a matrix by its shape, biases all the same

    def __init__(self, groups: int, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.groups, self.in_features, self.out_features = groups, in_features, out_features
        bound = 1 / sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(groups, out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(groups, out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, in)` that all networks share, or `(G, B, in)` with one input each, to `(G, B, out)`.

        A shared input may come in two parts, `(B, D1)` and the fixed `(B, D2)`: see `linear_of_parts`.
        """
        if x.ndim == 2:  # one wide product; the result is a view with the groups in front
            bias = None if self.bias is None else self.bias.flatten()
            y = linear_of_parts(x, fixed, self.weight.flatten(0, 1), bias)  # (B, G * out)
            return y.view(x.shape[0], self.groups, self.out_features).transpose(0, 1)
        if self.bias is None:
            return torch.bmm(x, self.weight.transpose(1, 2))
        return torch.baddbmm(self.bias[:, None], x, self.weight.transpose(1, 2))


class StackedMLP(nn.Module):
    """G separate multi-layer perceptrons (Linear, ReLU, dropout per layer) with the layers of `StackedLinear`.

    Args:
        groups: G.
        in_features: size of the input.
        hidden: sizes of the layers, at least one.
        dropout: share of the activations set to 0 in training, after every layer.

    >>> StackedMLP(3, 8, (4, 2))(torch.zeros(5, 8)).shape
    torch.Size([3, 5, 2])
    """

    def __init__(self, groups: int, in_features: int, hidden: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [in_features, *hidden]
        self.layers = nn.ModuleList(StackedLinear(groups, a, b) for a, b in pairwise(sizes))
        self.dropout = Dropout(dropout)
        self.out_features = sizes[-1]

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, in)` shared (or its two parts) or `(G, B, in)` to `(G, B, out)`."""
        for layer in self.layers:
            x, fixed = self.dropout(torch.relu(layer(x, fixed))), None
        return x
