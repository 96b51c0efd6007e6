"""What each task's loss is worth: its size beside that of a guess that knows the base rates only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from multitask.task_losses import TaskLosses
from multitask.tasks import Task, output_slices

Batch = TypeVar("Batch")


def base_losses(tasks: Sequence[Task], bias: Tensor) -> Tensor:
    """The loss of saying the base rates, and nothing else, of every task: an entropy, or a regression's variance.

    Args:
        tasks: the T tasks.
        bias: `(sum of widths,)` logits of the base rates, from which the heads' last biases start.

    Returns:
        `(T,)` float32 on the CPU, above 0.

    >>> base_losses([Task("click"), Task("price", "regression", variance=4.0)], torch.zeros(2)).tolist()
    [0.6931471824645996, 4.0]
    """
    z, losses = bias.detach().double().cpu(), []
    for task, columns in zip(tasks, output_slices(tasks), strict=True):
        own = z[columns]
        if task.kind == "regression":
            losses.append(torch.tensor(task.variance, dtype=torch.float64))
            continue
        logits = torch.stack([torch.zeros_like(own[0]), own[0]]) if task.kind == "binary" else own
        losses.append(torch.distributions.Categorical(logits=logits).entropy())
    return torch.stack(losses).clamp(min=1e-6).float()


def watch_relative(
    watch: Callable[[TaskLosses[Batch]], TaskLosses[Batch]], task_losses: TaskLosses[Batch], base: Tensor
) -> TaskLosses[Batch]:
    """Lets `watch` see each task's loss as a share of its `base` `(T,)`; training gets the losses themselves.

    An observer that compares tasks by their losses (`SelectiveSharing` keeps the branch of the lowest one) would
    otherwise compare how rare their labels are: saying the base rate of a label that one row in a hundred carries
    costs .06, and that of one in two .69, with nothing learned about either.

    >>> seen = []
    >>> def watch(own):
    ...     def watched(model, batch):
    ...         seen.append(own(model, batch)[0])
    ...         return own(model, batch)
    ...     return watched
    >>> losses = watch_relative(watch, lambda model, batch: (batch, torch.ones(2)), torch.tensor([0.5, 4.0]))
    >>> losses(nn.Identity(), torch.tensor([0.25, 3.0]))[0].tolist(), seen[0].tolist()
    ([0.25, 3.0], [0.5, 0.75])
    """

    def relative(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        losses, counts = task_losses(model, batch)
        return losses / base.to(losses.device), counts

    watched = watch(relative)

    def restored(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        losses, counts = watched(model, batch)
        return losses * base.to(losses.device), counts

    return restored
