"""What modulation is compared with: everything shared, nothing shared, and the steps between [Modulation] table 3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask.modulation.conditioned import TaskConditioned, Tasks, task_names
from multitask.modulation.dry_pass import output_shapes
from multitask.modulation.modulation import Modulation
from multitask.modulation.per_task import per_task
from multitask.stacked import StackedLinear


class FullyShared(TaskConditioned):
    """One network for all tasks: the task of a row changes nothing.

    >>> shared = FullyShared(nn.Linear(3, 2), tasks=4)
    >>> shared(torch.zeros(5, 3), tasks=0).shape, shared.all_tasks(torch.zeros(5, 3)).shape
    (torch.Size([5, 2]), torch.Size([5, 4, 2]))
    """

    def __init__(self, network: nn.Module, tasks: int | Sequence[str]) -> None:
        super().__init__(tasks)
        self.network = network

    def forward(self, *inputs: Tensor, tasks: Tasks = None) -> Tensor:
        self.task_numbers(tasks, inputs)  # a batch without tasks is as wrong here as elsewhere
        output: Tensor = self.network(*inputs)
        return output

    def all_tasks(self, *inputs: Tensor) -> Tensor:
        """A view with stride 0 over the tasks."""
        output: Tensor = self.network(*inputs)
        return output[:, None].expand(-1, self.n_tasks, *output.shape[1:])

    @property
    def extra_parameters(self) -> int:
        return 0


def conditional_similarity(
    network: nn.Module,
    tasks: int | Sequence[str],
    layer: str = "fc",
    *,
    example: Tensor | tuple[Any, ...],
    start: Literal["normal", "disjoint"] = "normal",
) -> Modulation:
    """A conditional similarity network [CSN]: one mask max(0, m) per task, on the embedding only.

    Args:
        network: an embedding network; `layer` should be the last one before a normalisation.
        tasks: names of the tasks, or their number.
        layer: whose output is the embedding `(B, C)`.
        example: an input of the network.
        start: "normal", m ~ N(.9, .7); "disjoint", 1 on C // T channels of a task's own and .1 on the others, as in
            the authors' code ([Modulation] section 4.3 speaks of masks that do not overlap). Both train at the base
            rate.

    Raises:
        ValueError: naming the argument; "disjoint" needs a channel per task. The network is then as it was.

    >>> network = nn.Sequential(nn.Linear(3, 4))
    >>> csn = conditional_similarity(network, 2, "0", example=torch.zeros(1, 3), start="disjoint")
    >>> [[round(m, 1) for m in mask] for mask in csn.masks()["0"].tolist()]
    [[1.0, 1.0, 0.1, 0.1], [0.1, 0.1, 1.0, 1.0]]
    """
    if start not in ("normal", "disjoint"):
        raise ValueError(f"`start` must be 'normal' or 'disjoint', got {start!r}")
    shape, of_tasks = output_shapes(network, [layer], example)[layer], len(task_names(tasks))
    if len(shape) != 2:
        raise ValueError(f"`layer` must give the embedding (B, C), got output of shape {tuple(shape)} from {layer!r}")
    if start == "disjoint" and shape[1] < of_tasks:
        raise ValueError(f"`start` 'disjoint' needs a channel per task, got {(of_tasks, shape[1])} tasks, channels")
    csn = Modulation(network, tasks, [layer], example=example, kind="mask", rate_factor=1.0)
    (mask,) = csn.modulators.parameters()  # (T, C)
    with torch.no_grad():
        if start == "normal":
            mask.normal_(0.9, 0.7)
        else:
            n_tasks, channels = mask.shape
            owner = torch.arange(channels, device=mask.device) // (channels // n_tasks)  # what is left over: nobody
            mask.copy_(torch.where(owner == torch.arange(n_tasks, device=mask.device)[:, None], 1.0, 0.1))
    return csn


class _Branches(StackedLinear):
    task_specific = True


class IndependentBranches(TaskConditioned):
    """A shared network and one linear layer without bias per task behind it, normalised again (IB-25, IB-256).

    Where the network already ends with a normalisation, this equals a branch before it: the branch is linear without
    bias, so the length it is given drops out again. T * in_features * width further parameters: 128,000 for 20 tasks,
    256 features and width 25, as in [Modulation] table 3.

    Args:
        network: gives `(B, in_features)`.
        tasks: names of the tasks, or their number.
        in_features: size of the network's output.
        width: size d of each task's embedding; the paper has 25 and 256.

    >>> branches = IndependentBranches(nn.Linear(3, 8), tasks=4, in_features=8, width=2)
    >>> branches(torch.ones(5, 3), tasks=torch.tensor([0, 1, 2, 3, 3])).shape, branches.extra_parameters
    (torch.Size([5, 2]), 64)
    """

    def __init__(self, network: nn.Module, tasks: int | Sequence[str], in_features: int, width: int = 256) -> None:
        super().__init__(tasks)
        for argument, value in (("in_features", in_features), ("width", width)):
            if value < 1:
                raise ValueError(f"`{argument}` must be at least 1, got {value}")
        self.network = network
        self.branches = _Branches(self.n_tasks, in_features, width, bias=False)

    def forward(self, *inputs: Tensor, tasks: Tasks = None) -> Tensor:
        """`(B, ...)` inputs and `(B,)` task numbers, or the one task of all rows, to `(B, width)`."""
        numbers = self.task_numbers(tasks, inputs)
        # All branches of all rows in one product, and the rows' own taken from it: a weight gathered per row would be
        # B * in_features * width numbers.
        y = self.branches(self.network(*inputs))  # (T, B, width)
        return F.normalize(y[numbers, torch.arange(y.shape[1], device=y.device)], dim=-1)

    def all_tasks(self, *inputs: Tensor) -> Tensor:
        """`(B, ...)` inputs to `(B, T, width)`."""
        return F.normalize(self.branches(self.network(*inputs)).transpose(0, 1), dim=-1)

    @property
    def extra_parameters(self) -> int:
        return self.branches.weight.numel()


class IndependentNetworks(TaskConditioned):
    """A network of its own for every task: nothing is shared, and a row passes through its task's network only.

    Made by `independent_networks`.
    """

    task_specific = True

    def __init__(self, networks: Sequence[nn.Module], tasks: int | Sequence[str]) -> None:
        super().__init__(tasks)
        if len(networks) != self.n_tasks:
            raise ValueError(f"`networks` must hold one network per task ({self.n_tasks}), got {len(networks)}")
        self.networks = nn.ModuleList(networks)

    def forward(self, *inputs: Tensor, tasks: Tasks = None) -> Tensor:
        """`(B, ...)` inputs and `(B,)` task numbers, or the one task of all rows, to `(B, d)`."""
        numbers = self.task_numbers(tasks, inputs)
        return per_task(lambda t, *rows: self.networks[t](*rows), inputs, numbers, self.n_tasks)

    def all_tasks(self, *inputs: Tensor) -> Tensor:
        """`(B, ...)` inputs to `(B, T, d)`."""
        return torch.stack([network(*inputs) for network in self.networks], dim=1)

    @property
    def extra_parameters(self) -> int:
        """Those of all networks but one."""
        return sum(p.numel() for network in self.networks[1:] for p in network.parameters())


def independent_networks(make_network: Callable[[], nn.Module], tasks: int | Sequence[str]) -> IndependentNetworks:
    """One network from `make_network` for each task.

    >>> networks = independent_networks(lambda: nn.Linear(3, 2), ["type", "colour"])
    >>> networks(torch.ones(4, 3), tasks="colour").shape, networks.extra_parameters
    (torch.Size([4, 2]), 8)
    """
    return IndependentNetworks([make_network() for _ in task_names(tasks)], tasks)


def only_mask(modulation: Modulation) -> Modulation:
    """The same modulation with everything but its masks fixed, and the network in evaluation mode for good.

    [Modulation] table 3 trains a network with independent branches first, and then masks on it: what masks gain
    without changing what is shared.

    >>> network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    >>> fixed = only_mask(Modulation(network, 2, ["0"], example=torch.zeros(2, 3))).train()
    >>> network[1].training, [name for name, p in fixed.named_parameters() if p.requires_grad]
    (False, ['modulators.after_0.weight'])
    """
    modulation.freeze()
    return modulation
