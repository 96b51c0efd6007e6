"""T identical task branches that may grow together: stacked weights, one set per group of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask.dropout import Dropout
from multitask.stacked import StackedLinear


class Branches(nn.Module):
    """One branch per group of tasks, identical and identically initialised, then one output layer per task [Selective].

    y_t = V_t f(x; W_g(t)) + c_t with f = (Linear, ReLU, dropout) per hidden layer. At first every task is a group of
    its own: T separate multi-layer perceptrons. `SelectiveSharing` merges groups while training; the outputs V_t, c_t
    stay the tasks' own. Groups are numbered by their first task.

    The parameter law: P(G) = P_outputs + G * P_branch exactly, see `parameter_law`.

    The output layer runs in float32 under autocast too, like that of `StackedTowers`. A state dict of any number of
    groups can be loaded: the stacked weights take its size.

    Args:
        n_tasks: T.
        in_features: size of the input, the hard-shared representation.
        hidden: sizes of a branch's layers, at least one.
        widths: outputs per task K_t (`Task.width`); None = one each.
        dropout: share of the activations set to 0 in training, after every hidden layer.
        bias: `(sum of K_t,)` first values of the output biases, e.g. the logits of the base rates. None = 0.

    Parameters: `layers[i].weight` `(G, out, in)`, `layers[i].bias` `(G, out)`, `output_weight` `(sum K_t, h)`,
    `output_bias` `(sum K_t,)`; the buffer `group_of` `(T,)` holds each task's group. Where the branches part, each of
    `listeners` is called with z = W x + b, `(G, B, out)` or `(T, B, out)`, and x.

    Raises:
        ValueError: if an argument has a wrong length or size.

    >>> branches = Branches(3, 8, hidden=(6, 4))
    >>> branches(torch.zeros(5, 8)).shape, branches.parameter_law()
    (torch.Size([5, 3]), (15, 82))
    """

    task_specific: ClassVar[bool] = True
    group_of: Tensor

    def __init__(
        self,
        n_tasks: int,
        in_features: int,
        hidden: Sequence[int],
        widths: Sequence[int] | None = None,
        dropout: float = 0.0,
        bias: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        widths = (1,) * n_tasks if widths is None else tuple(widths)
        if n_tasks < 1:
            raise ValueError(f"`n_tasks` must be at least 1, got {n_tasks}")
        if not hidden or min(hidden) < 1:
            raise ValueError(f"`hidden` must hold at least one positive size, got {tuple(hidden)}")
        if len(widths) != n_tasks or min(widths) < 1:
            raise ValueError(f"`widths` must hold {n_tasks} positive numbers, got {widths}")
        if bias is not None and len(bias) != sum(widths):
            raise ValueError(f"`bias` must hold {sum(widths)} numbers, one per output, got {len(bias)}")
        self.n_tasks, self.widths, self.in_features = n_tasks, widths, in_features
        self.layers = nn.ModuleList(StackedLinear(n_tasks, a, b) for a, b in pairwise([in_features, *hidden]))
        self.listeners: set[Callable[[Tensor, Tensor], None]] = set()  # a module's hooks cost a step more
        self.dropout = Dropout(dropout)
        self.output_weight = nn.Parameter(_output_weight(widths, hidden[-1]))
        start = torch.zeros(sum(widths)) if bias is None else torch.as_tensor(bias, dtype=torch.float32).clone()
        self.output_bias = nn.Parameter(start)
        self.register_buffer("group_of", torch.arange(n_tasks))
        with torch.no_grad():
            for parameter in self.stacked_parameters():
                parameter.copy_(parameter[:1].expand_as(parameter).clone())

    @property
    def n_groups(self) -> int:
        """G."""
        return self._stacks()[0].groups

    def stacked_parameters(self) -> list[nn.Parameter]:
        """The parameters whose first axis is the groups."""
        return list(self.layers.parameters())

    def parameter_law(self) -> tuple[int, int]:
        """(P_outputs, P_branch): the module holds P_outputs + G * P_branch parameters."""
        per_branch = sum(parameter[0].numel() for parameter in self.stacked_parameters())
        return self.output_weight.numel() + self.output_bias.numel(), per_branch

    def regroup(self, group_of: Tensor | Sequence[int]) -> None:
        """Takes a new assignment of tasks to groups; the stacked parameters must already have its number of groups.

        Raises:
            ValueError: if it does not name every group from 0 on in the order of its first task, or does not fit.
        """
        new = torch.as_tensor(group_of, dtype=torch.long, device=self.group_of.device)
        groups = self.check_groups(new)
        sizes = {parameter.shape[0] for parameter in self.stacked_parameters()}
        if sizes != {groups}:
            raise ValueError(f"`group_of` must name as many groups as there are branches, {sizes}, got {groups}")
        self.group_of.copy_(new)
        for layer in self._stacks():
            layer.groups = groups

    def check_groups(self, group_of: Tensor) -> int:
        """The number of groups of `(T,)` an assignment that `regroup` would take.

        Raises:
            ValueError: if it is not one.
        """
        if group_of.shape != (self.n_tasks,):
            raise ValueError(f"`group_of` must have shape ({self.n_tasks},), got {tuple(group_of.shape)}")
        firsts = list(dict.fromkeys(group_of.tolist()))
        if firsts != list(range(len(firsts))):
            raise ValueError(f"`group_of` must number the groups by their first task, got {group_of.tolist()}")
        return len(firsts)

    def forward(self, h: Tensor) -> Tensor:
        """`(B, in)` that all tasks share, or `(B, T, in)`, to `(B, sum of K_t)` in float32 or better."""
        if h.ndim not in (2, 3) or h.shape[-1] != self.in_features or (h.ndim == 3 and h.shape[1] != self.n_tasks):
            rows, tasks = self.in_features, self.n_tasks
            raise ValueError(f"`h` must have shape (B, {rows}) or (B, {tasks}, {rows}), got {tuple(h.shape)}")
        if h.ndim == 3 and (self.n_tasks == 1 or h.stride(1) == 0):  # expanded by a shared bottom: one copy is enough
            h = h[:, 0]
        own_inputs = h.ndim == 3
        x = h.transpose(0, 1) if own_inputs else h  # (T, B, in) or (B, in)
        for depth, layer in enumerate(self._stacks()):
            z = self._of_tasks(layer, x) if own_inputs else layer(x)  # (T, B, out) or (G, B, out)
            if depth == 0:
                for listener in self.listeners:
                    listener(z, x)
            x = self.mixed(depth, self.dropout(torch.relu(z)))
        if not own_inputs and self.n_groups < self.n_tasks:
            x = x.index_select(0, self.group_of)  # (T, B, h)
        with torch.autocast(h.device.type, enabled=False):
            return self._outputs(x if x.dtype == torch.float64 else x.float())

    def mixed(self, depth: int, h: Tensor) -> Tensor:
        """What the layer after hidden layer `depth` reads, given its activations `(G, B, out)`: these themselves."""
        return h

    def _stacks(self) -> list[StackedLinear]:
        return list(self.layers)  # type: ignore[arg-type]

    def _of_tasks(self, layer: StackedLinear, x: Tensor) -> Tensor:
        """Each task's own input `(T, B, in)` through its group's weights."""
        if self.n_groups == self.n_tasks:
            return layer(x)
        assert layer.bias is not None
        bias = layer.bias[self.group_of][:, None]
        return torch.baddbmm(bias, x, layer.weight[self.group_of].transpose(1, 2))

    def _outputs(self, h: Tensor) -> Tensor:
        """`(T, B, h)` to `(B, sum of K_t)`."""
        if len(set(self.widths)) == 1:
            weight = self.output_weight.view(self.n_tasks, self.widths[0], -1)
            y = torch.bmm(h, weight.transpose(1, 2)).transpose(0, 1)  # (B, T, K)
            return y.flatten(1) + self.output_bias
        weights = torch.split(self.output_weight, list(self.widths))
        return torch.cat([F.linear(h[t], w) for t, w in enumerate(weights)], dim=1) + self.output_bias

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Takes the number of groups of the state first: it may be an epoch's before or after a merge."""
        group_of = state_dict.get(f"{prefix}group_of")
        if group_of is not None and group_of.shape == self.group_of.shape:
            groups = int(group_of.max()) + 1
            for layer in self._stacks():
                layer.groups = groups
                for parameter in layer.parameters():
                    if parameter.shape[0] != groups:
                        parameter.data, parameter.grad = parameter.data.new_empty(groups, *parameter.shape[1:]), None
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _output_weight(widths: Sequence[int], in_features: int) -> Tensor:
    """`(sum K_t, in)`, uniform as in `nn.Linear`; tasks of one width start equal, so that only their labels differ."""
    bound = 1 / sqrt(in_features)
    first = {width: torch.empty(width, in_features).uniform_(-bound, bound) for width in dict.fromkeys(widths)}
    return torch.cat([first[width] for width in widths])
