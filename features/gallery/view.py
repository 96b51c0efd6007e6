"""How an encoder looks at galleries: for all of its tasks, or for one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from features.errors import Fault, InputError
from features.gallery.network import GalleryNetwork

if TYPE_CHECKING:
    from features.gallery.batches import GalleryBatch
    from features.gallery.encoder import GalleryEncoder


@dataclass(frozen=True, eq=False)
class View:
    """A network for vectors, their mean and spread `(D,)` over training galleries; fingerprint and task."""

    network: GalleryNetwork
    mean: Tensor
    std: Tensor
    fingerprint: str
    task: str | None = None

    @classmethod
    def of(cls, encoder: GalleryEncoder, task: str | None) -> View:
        """The encoder's own view (task None), or the one under a task's masks.

        Raises
        ------
        InputError
            No such task; or the encoder has one view only, as it was made without modulation.
        """
        if task is None:
            return cls(encoder.network, encoder.mean, encoder.std, encoder.fingerprint)
        network, means, stds = encoder.network, encoder.task_mean, encoder.task_std
        if means is None or stds is None:
            message = (
                "must be left out: this encoder was made without modulation and has the same vectors for all tasks"
            )
            raise InputError(Fault(message, key="task", value=task))
        names = encoder.tasks.names
        if task not in names:
            raise InputError(Fault(f"must be one of {', '.join(names)}", key="task", value=task))
        number = names.index(task)
        mean, std = means[number], stds[number]
        digest = hashlib.sha256(f"{encoder.fingerprint};{task};".encode())
        digest.update(torch.stack([mean, std]).cpu().numpy().tobytes())
        return cls(network.of_task(number), mean, std, digest.hexdigest(), task)


@torch.no_grad()
def task_standardisation(
    network: GalleryNetwork,
    batches: Callable[[], Iterable[GalleryBatch]],
    standardise: Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    stored: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mean and spread of every task's vectors, `(T, D)` each.

    Parameters
    ----------
    network : GalleryNetwork
        As it is used, in evaluation mode.
    batches : function without arguments
        Gives the galleries, every time it is called: the vectors of `network.tasks_at_once` tasks are held together.
    standardise : function
        Vectors `(n, D)` float64 to mean and spread `(D,)`.
    """
    found: list[tuple[Tensor, Tensor]] = []
    device = next(network.parameters()).device
    for tasks in torch.arange(len(network.tasks), device=device).split(network.tasks_at_once):
        parts = [network.embed_tasks(batch.galleries, tasks, stored=stored).double().cpu() for batch in batches()]
        found += [standardise(vectors) for vectors in torch.cat(parts).unbind(1)]
    means, stds = zip(*found)
    return torch.stack(means), torch.stack(stds)


__all__ = ["View", "task_standardisation"]
