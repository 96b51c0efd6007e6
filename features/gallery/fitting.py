"""Training a gallery network on the project's one loop: with the heads' losses, or with triplets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.gallery.network import GalleryNetwork
from features.gallery.triplets import FixedTriplets, TripletLoss
from multitask import History, LossWeighting, TrainingConfig, default_device, fit, make_weighting, masked_losses
from multitask.base_losses import base_losses, watch_relative
from multitask.progress import Reporter
from multitask.sharing.selective_sharing import SelectiveSharing
from multitask.task_losses import TaskLosses
from multitask.training import Batches

if TYPE_CHECKING:
    from features.gallery.batches import GalleryBatch

VALIDATION_LOSS = "validation_loss"
WEIGHTINGS = {"pseudo_uniform": "inverse_variance", "kendall": "uncertainty"}  # [Booking]'s names

HeldOut = Callable[[], "Iterable[GalleryBatch]"]


class _Trainable(nn.Module):
    """The network with its loss weighting, whose parameters are learned along with it."""

    def __init__(self, network: GalleryNetwork, weighting: nn.Module) -> None:
        super().__init__()
        self.network, self.weighting = network, weighting


def fit_network(
    network: GalleryNetwork,
    batches: Batches[GalleryBatch],
    validation: HeldOut | None,
    weighting: LossWeighting | TripletLoss | str,
    config: TrainingConfig,
    *,
    stored: bool = False,
    sharing: SelectiveSharing | None = None,
    checkpoint: Path | None = None,
    progress: bool | Reporter | None = False,
    device: torch.device | str | None = None,
) -> History:
    """Train `network` in place, until the validation loss stops falling; the best epoch's weights stay in it.

    It reads no attributes: labels are whatever the batches carry, in the order of `network.tasks`. So a network for one
    task, or for a held-out one whose labels an evaluation may see, is trained by the same call.

    Parameters
    ----------
    network : GalleryNetwork
        With a head per task.
    batches : GalleryBatches
        Labels `(B, T)`: classes and standardised values; for triplets `triplet_classes` of them. NaN: missing.
    validation : function without arguments, optional
        Gives the held-out batches, every time it is called; None runs all of `config.epochs`.
    weighting : LossWeighting, TripletLoss or str
        "pseudo_uniform": sum CE + sum BCE + sum MSE / var_train [Booking]; "kendall": learned variances [Kendall 2018];
        a `TripletLoss` trains the vectors alone and leaves the heads as they are [Etsy].
    config : TrainingConfig
        Its `monitor` must be "validation_loss" (with `validation`).
    stored : bool
        The batches hold outputs of the backbone's frozen prefix instead of pixels.
    sharing : SelectiveSharing, optional
        Merges the network's heads (made with `branches`) between epochs.
    checkpoint, progress, device
        As for `multitask.fit`.

    Returns
    -------
    History
        `validation_loss` is the sum of the tasks' losses under the weighting, each the mean over all held-out labels
        of that task; for triplets the mean loss of fixed random ones.
    """
    where = default_device() if device is None else torch.device(device)
    if isinstance(weighting, str):
        weighting = make_weighting(WEIGHTINGS.get(weighting, weighting), network.tasks)
    weighting.to(where)
    if isinstance(weighting, TripletLoss) and network.heads is not None:
        network.heads.requires_grad_(False)  # no loss reaches them
    fixed: list[FixedTriplets] = []  # drawn at the first epoch, for all of them
    share = min(1.0, network.tasks_at_once / max(1, len(network.tasks)))  # of the tasks, in a training step

    def task_losses(model: nn.Module, batch: GalleryBatch) -> tuple[Tensor, Tensor]:
        tasks, labels = network.draw_tasks(), batch.labels
        if tasks is not None:  # for the others it is as if the labels were missing
            labels = torch.full_like(labels, torch.nan).index_copy(1, tasks, labels[:, tasks])
        return masked_losses(network.tasks, network.outputs(batch.galleries, tasks, stored=stored), labels)

    losses_of: TaskLosses[GalleryBatch] = task_losses
    if sharing is not None:
        base = base_losses(network.tasks, sharing.branches.output_bias)
        losses_of = watch_relative(sharing.watch, task_losses, base)

    def loss(model: nn.Module, batch: GalleryBatch) -> Tensor:
        if isinstance(weighting, TripletLoss):
            triplet: Tensor = weighting(network.embed_batch(batch.galleries, stored=stored), batch.labels)
            return triplet
        # Scaled to the size of all tasks' loss, behind the weighting, whose learned variances are of single tasks: so
        # training and validation losses compare, and clipping, weight decay and sgd mean what they do without drawing.
        total: Tensor = weighting(*losses_of(model, batch)) / share
        return total

    def validate(model: nn.Module) -> Mapping[str, float]:
        held_out = () if validation is None else validation()
        if isinstance(weighting, TripletLoss):
            return {VALIDATION_LOSS: _triplet_loss(network, held_out, weighting, config.seed, stored, fixed)}
        losses, counts = mean_losses(network, held_out, stored=stored)
        return {VALIDATION_LOSS: float(weighting(losses, counts))}

    return fit(
        _Trainable(network, weighting),
        loss,
        batches,
        config,
        validate=None if validation is None else validate,
        checkpoint=checkpoint,
        progress=progress,
        device=where,
        observers=[] if sharing is None else [sharing],
    )


@torch.no_grad()
def mean_losses(
    network: GalleryNetwork, batches: Iterable[GalleryBatch], *, stored: bool = False
) -> tuple[Tensor, Tensor]:
    """Each task's mean loss over all labels of it in `batches`, `(T,)`, and how many there are, `(T,)`.

    A mean of batches' means would weigh a label by how many others its batch happens to hold.
    """
    device = next(network.parameters()).device
    sums = torch.zeros(len(network.tasks), dtype=torch.float64, device=device)
    totals = torch.zeros_like(sums)
    for batch in batches:
        outputs = network.outputs(batch.galleries, stored=stored)
        losses, counts = masked_losses(network.tasks, outputs, batch.labels)
        sums += losses.double() * counts
        totals += counts
    return (sums / totals.clamp(min=1)).float(), totals.float()


@torch.no_grad()
def _triplet_loss(
    network: GalleryNetwork,
    batches: Iterable[GalleryBatch],
    loss: TripletLoss,
    seed: int,
    stored: bool,
    fixed: list[FixedTriplets],
) -> float:
    """The loss of the triplets in `fixed`; where it is empty they are drawn, from the labels and the seed."""
    vectors, classes = [], []
    for batch in batches:
        vectors.append(network.embed_batch(batch.galleries, stored=stored))
        classes.append(batch.labels)
    if not fixed:
        fixed.append(FixedTriplets.draw(torch.cat(classes).double().cpu().numpy(), seed=seed))
    return fixed[0].loss(torch.cat(vectors), loss.margin)


__all__ = ["VALIDATION_LOSS", "fit_network", "mean_losses"]
