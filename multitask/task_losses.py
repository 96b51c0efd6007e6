"""The tasks' losses kept apart: what an observer of single tasks reads before they become one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

from multitask.weighting import Equal, LossWeighting

Batch = TypeVar("Batch")

TaskLosses = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""`(model, batch)` to `(T,)` losses and `(T,)` counts, as `masked_losses` returns them: both are 0 for a task that is
absent from the batch."""


def combined(
    task_losses: TaskLosses[Batch], weighting: LossWeighting | None = None
) -> Callable[[nn.Module, Batch], Tensor]:
    """The one loss that `fit` minimises: `weighting(losses, counts)`.

    Args:
        task_losses: the tasks' own; may be one that an observer watches.
        weighting: None = `Equal`, their sum. One that learns (`Uncertainty`) must also be a sub-module of the trained
            model, as `fit` trains that model's parameters and no others.

    >>> import torch
    >>> loss = combined(lambda model, batch: (model(batch), torch.ones(2)))
    >>> loss(nn.Identity(), torch.tensor([1.0, 2.0])).item()
    3.0
    """
    total = Equal() if weighting is None else weighting

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        value: Tensor = total(*task_losses(model, batch))
        return value

    return loss
