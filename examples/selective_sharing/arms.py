"""The arms of the comparison: what stands on the trunk, its losses, and who watches the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask.observers import Observer
from multitask.sharing import Branches, CrossStitch, SelectiveSharing
from multitask.sharing.merging import merge_branches
from multitask.task_losses import TaskLosses, combined

from .networks import Architecture, TaskNetwork

Batch = tuple[Tensor, Tensor]

DIRECTIVES = ("similarity", "dissimilarity", "variance", "random")
ARMS = ("single_task", "unmerged", "one_branch", *DIRECTIVES, "cross_stitch")
TITLES = {
    "single_task": "single task (softmax)",
    "unmerged": "MTL, a branch per task",
    "one_branch": "one branch for all",
    "similarity": "sharing, similarity",
    "dissimilarity": "sharing, dissimilarity",
    "variance": "sharing, variance",
    "random": "sharing, random",
    "cross_stitch": "cross-stitch",
}


@dataclass(frozen=True)
class Arm:
    """One net ready to be trained by `multitask.fit(model, loss, ..., observers=observers)`.

    Attributes:
        probabilities: maps the model's outputs to `(N, T)` probabilities of the tasks.
        sharing: the observer that groups the tasks, None in the arms that do not.
    """

    model: TaskNetwork
    loss: Callable[[nn.Module, Batch], Tensor]
    probabilities: Callable[[Tensor], Tensor]
    sharing: SelectiveSharing | None = None

    @property
    def observers(self) -> list[Observer]:
        return [] if self.sharing is None else [self.sharing]


def binary_losses(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """One task per class, "is it this one?": `(T,)` binary cross entropies and `(T,)` counts [Selective 4.2]."""
    images, labels = batch
    logits = model(images).float()  # (B, T)
    targets = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(0)
    return losses, losses.new_full((logits.shape[1],), len(labels))


def softmax_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The single-task net's categorical cross entropy [Selective 4.2]."""
    images, labels = batch
    return F.cross_entropy(model(images).float(), labels)


def build(
    arm: str,
    trunk: Callable[[], nn.Module],
    architecture: Architecture,
    names: Sequence[str],
    seed: int,
    *,
    task_losses: TaskLosses[Batch] = binary_losses,
) -> Arm:
    """The arm's net, initialised by `seed`: the trunk starts from the same numbers in all arms.

    Args:
        arm: one of `ARMS`.
        trunk: makes the trunk that ends in the hard-shared layer.
        architecture: of the branches.
        names: of the T classes, which are the tasks.
        seed: of weights and of what the random directive draws.
        task_losses: of the arms with one output per task.

    Raises:
        ValueError: if there is no such arm.
    """
    if arm not in ARMS:
        raise ValueError(f"`arm` must be one of {', '.join(ARMS)}, got {arm!r}")
    torch.manual_seed(seed)
    shared, n_tasks = trunk(), len(names)
    inputs, hidden, dropout = architecture.shared, architecture.hidden, architecture.dropout
    if arm == "single_task":
        single = TaskNetwork(shared, Branches(1, inputs, hidden, widths=[n_tasks], dropout=dropout))
        return Arm(single, softmax_loss, lambda outputs: outputs.float().softmax(1))
    if arm == "cross_stitch":
        stitched = TaskNetwork(shared, CrossStitch(n_tasks, inputs, hidden, dropout=dropout))
        return Arm(stitched, combined(task_losses), _sigmoid)
    branches = Branches(n_tasks, inputs, hidden, dropout=dropout)
    if arm == "one_branch":
        merge_branches(branches, [0] * n_tasks, [0.0] * n_tasks)
    model = TaskNetwork(shared, branches)
    if arm not in DIRECTIVES:
        return Arm(model, combined(task_losses), _sigmoid)
    sharing = SelectiveSharing(branches, names, directive=arm, seed=seed)
    return Arm(model, combined(sharing.watch(task_losses)), _sigmoid, sharing)


def _sigmoid(outputs: Tensor) -> Tensor:
    return outputs.float().sigmoid()
