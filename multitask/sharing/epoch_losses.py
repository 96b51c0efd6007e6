"""The tasks' mean training losses of an epoch, and those of their groups: whose branch is kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from multitask import distributed
from multitask.sharing.step_sum import StepSum


class EpochLosses:
    """Sums of each task's losses, weighted by the numbers of labels behind them.

    >>> losses = EpochLosses(3)
    >>> losses.add(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1.0, 2.0, 0.0]))
    >>> losses.add(torch.tensor([2.0, 0.5, 0.0]), torch.tensor([3.0, 2.0, 0.0]))
    >>> losses.of_groups(torch.tensor([0, 0, 1]))  # (1 * 1 + 3 * 2) / 4 = 1.75 and 0.5; task 2 is nowhere
    [1.125, inf]
    """

    def __init__(self, n_tasks: int) -> None:
        self.n_tasks = n_tasks
        self.steps = StepSum(_sums)

    @property
    def sums(self) -> Tensor | None:
        """`(2, T)` in float64, the sums of loss x count and of the counts so far; None before the first step."""
        return self.steps.total()

    def clear(self) -> None:
        """The next epoch begins."""
        self.steps.clear()

    def add(self, losses: Tensor, counts: Tensor) -> None:
        """A step's `(T,)` mean losses and `(T,)` counts."""
        if losses.shape != (self.n_tasks,):
            raise ValueError(
                f"`task_losses` must give one loss per task, ({self.n_tasks},), got shape {tuple(losses.shape)}"
            )
        self.steps.add(torch.stack((losses.detach(), counts)))

    def of_groups(self, group_of: Tensor) -> list[float]:
        """`(G,)` mean over a group's tasks of their mean losses on all processes; infinite for a group without labels.

        Args:
            group_of: `(T,)` each task's group.
        """
        own = self.sums
        own = torch.zeros(2, self.n_tasks, dtype=torch.float64) if own is None else own
        sums = distributed.gather_to_all(own).sum(0)
        losses, present = sums[0] / sums[1], sums[1] > 0
        groups = group_of.cpu()
        means = [losses[present & (groups == g)].mean().item() for g in range(int(groups.max()) + 1)]
        return [value if value == value else float("inf") for value in means]  # NaN: the mean of none

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return self.steps.tensors("loss_sums")

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Takes back what `tensors` gave."""
        self.steps.load("loss_sums", tensors, device)


def _sums(terms: list[Tensor]) -> Tensor:
    """`(2, T)` from several steps' losses and counts, `(2, T)` each."""
    losses, counts = torch.stack(terms, dim=1).double()
    return torch.stack(((losses * counts).sum(0), counts.sum(0)))
