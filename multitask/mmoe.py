"""Multi-gate mixture of experts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from multitask.input_linear import InputLinear
from multitask.stacked import StackedMLP


class MMoE(nn.Module):
    """Experts that all tasks share, mixed by one softmax gate per task [Ma 2018] eq. 6-7.

    f_t(x) = sum_e g_t(x)_e f_e(x), with g_t(x) = softmax(W_gt x). One expert is the shared bottom.

    Args:
        in_features: D.
        n_tasks: T.
        hidden: sizes of every expert's layers, at least one.
        dropout: share of the activations set to 0 in training, after every expert layer.
        n_experts: E; more experts let unrelated tasks part ways, at E times the cost.

    >>> MMoE(10, 4, hidden=(8, 6), n_experts=3)(torch.zeros(5, 10)).shape
    torch.Size([5, 4, 6])
    """

    def __init__(
        self,
        in_features: int,
        n_tasks: int,
        hidden: Sequence[int] = (512, 256, 128),
        dropout: float = 0.0,
        n_experts: int = 4,
    ) -> None:
        super().__init__()
        self.n_tasks, self.n_experts = n_tasks, n_experts
        self.experts = StackedMLP(n_experts, in_features, hidden, dropout)
        self.gate = InputLinear(in_features, n_tasks * n_experts, bias=False)
        self.out_features = self.experts.out_features

    @property
    def first_linear(self) -> nn.Linear | None:
        """None: the input is read by every expert and every gate."""
        return None

    def gates(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D)` to `(B, T, E)` shares of the experts, in float32; they sum to 1 over E."""
        return torch.softmax(self.gate(x, fixed).float().view(-1, self.n_tasks, self.n_experts), dim=-1)

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D)` to `(B, T, H)`; the last D2 columns may come apart as `fixed` `(B, D2)`: see `linear_of_parts`."""
        return torch.bmm(self.gates(x, fixed), self.experts(x, fixed).transpose(0, 1))  # (B, T, E) x (B, E, H)
