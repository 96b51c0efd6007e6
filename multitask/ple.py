"""Progressive layered extraction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from multitask.input_linear import InputLinear
from multitask.stacked import StackedLinear, StackedMLP


class ExtractionLevel(nn.Module):
    """One level of PLE: every task's own experts, shared experts, and gates (customised gate control).

    [Tang 2020] eq. 1-4: task t mixes its own experts and the shared ones, S_t = [E_t,1..m, E_s,1..n], by the gate
    w_t(x_t) = softmax(W_t x_t): g_t = w_t(x_t) S_t. Below the last level a shared gate mixes all experts of the
    level (eq. 7), and its result feeds the next level's shared experts.

    Args:
        in_features: D.
        n_tasks: T.
        hidden: sizes of every expert's layers.
        dropout: share of the activations set to 0 in training.
        n_shared: shared experts, n.
        n_specific: experts of each task, m.
        shared_gate: whether the shared mixture is made; the last level needs none.
    """

    def __init__(
        self,
        in_features: int,
        n_tasks: int,
        hidden: Sequence[int],
        dropout: float,
        n_shared: int,
        n_specific: int,
        shared_gate: bool,
    ) -> None:
        super().__init__()
        n_own = n_tasks * n_specific  # experts in the order: task 0's, task 1's, ..., shared
        self.n_own, self.n_specific, self.n_shared = n_own, n_specific, n_shared
        self.experts = StackedMLP(n_own + n_shared, in_features, hidden, dropout)
        self.task_gates = StackedLinear(n_tasks, in_features, n_specific + n_shared, bias=False)
        self.shared_gate = InputLinear(in_features, n_own + n_shared, bias=False) if shared_gate else None

    def gates(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D)` or `(T + 1, B, D)` to `(T, B, m + n)` shares, in float32, that sum to 1."""
        return torch.softmax(self.task_gates(x if x.ndim == 2 else x[:-1], fixed).float(), dim=-1)

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D)` that all share (or its two parts), or `(T + 1, B, D)` (tasks', then shared).

        Returns `(T, B, H)`, or `(T + 1, B, H)` with the shared mixture last.
        """
        experts = self.experts(x if x.ndim == 2 else self._expert_inputs(x), fixed)  # (E, B, H)
        # S_t in two sums: a gather of its experts would copy every shared one T times, forwards and backwards.
        own, shared = torch.split(self.gates(x, fixed), [self.n_specific, self.n_shared], dim=-1)
        mixed = torch.einsum("tbk,tkbh->tbh", own, experts[: self.n_own].unflatten(0, (-1, self.n_specific)))
        mixed = mixed + torch.einsum("tbk,kbh->tbh", shared, experts[self.n_own :])
        if self.shared_gate is None:
            return mixed
        share = torch.softmax(self.shared_gate(x if x.ndim == 2 else x[-1], fixed).float(), dim=-1)  # (B, E)
        return torch.cat([mixed, torch.einsum("be,ebh->bh", share, experts)[None]])

    def _expert_inputs(self, x: Tensor) -> Tensor:
        """`(T + 1, B, D)` to `(E, B, D)`: a task's experts read the task's input, the shared ones the last."""
        own = x[:-1, None].expand(-1, self.n_specific, -1, -1).flatten(0, 1)
        return torch.cat([own, x[-1:].expand(self.n_shared, -1, -1)])


class PLE(nn.Module):
    """Levels of task-specific and shared experts, so that tasks that hurt each other can part [Tang 2020].

    Args:
        in_features: D.
        n_tasks: T.
        hidden: sizes of all layers from input to output; cut into `n_levels` runs, the experts' layers per level.
        dropout: share of the activations set to 0 in training, after every expert layer.
        n_experts: shared experts per level.
        n_specific: experts of each task per level.
        n_levels: levels; 1 is the customised gate control network (CGC) of section 4.1.

    Raises:
        ValueError: if there are more levels than layers.

    >>> PLE(10, 4, hidden=(8, 6), n_experts=2)(torch.zeros(5, 10)).shape
    torch.Size([5, 4, 6])
    """

    def __init__(
        self,
        in_features: int,
        n_tasks: int,
        hidden: Sequence[int] = (512, 256, 128),
        dropout: float = 0.0,
        n_experts: int = 2,
        n_specific: int = 1,
        n_levels: int = 2,
    ) -> None:
        super().__init__()
        if not 1 <= n_levels <= len(hidden):
            raise ValueError(f"`n_levels` must be between 1 and the number of layers ({len(hidden)}), got {n_levels}")
        # The earlier levels take the longer runs: (512, 256, 128) over 2 levels is (512, 256) and (128,).
        short, longer = divmod(len(hidden), n_levels)
        cuts = [level * short + min(level, longer) for level in range(n_levels + 1)]
        levels, width = [], in_features
        for a, b in pairwise(cuts):
            last = b == len(hidden)
            levels.append(ExtractionLevel(width, n_tasks, hidden[a:b], dropout, n_experts, n_specific, not last))
            width = hidden[b - 1]
        self.levels = nn.ModuleList(levels)
        self.out_features = width

    @property
    def first_linear(self) -> nn.Linear | None:
        """None: the input is read by every expert and every gate."""
        return None

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D)` to `(B, T, H)`; the last D2 columns may come apart as `fixed` `(B, D2)`: see `linear_of_parts`."""
        for level in self.levels:
            x, fixed = level(x, fixed), None
        return x.transpose(0, 1)
