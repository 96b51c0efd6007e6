"""Making a gallery encoder: open, decode, fit the tasks, train, standardise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from features.errors import InputError
from features.gallery.augmentation import Augmentation
from features.gallery.bars import photo_bar
from features.gallery.batches import GalleryBatches, sequential_batches
from features.gallery.building import build_network
from features.gallery.cached_batches import CachedBatches
from features.gallery.claim import claim_checkpoint
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.embedding import check_source, network_vectors, standardisation
from features.gallery.fitting import WEIGHTINGS, fit_network
from features.gallery.inference import inference_network
from features.gallery.network import GalleryNetwork
from features.gallery.prefix_cache import PrefixCache
from features.gallery.rows import chosen_rows
from features.gallery.source import PhotoSource, open_photos
from features.gallery.tasks import GalleryTasks
from features.gallery.triplets import FixedTriplets, TripletLoss, triplet_classes
from features.gallery.view import task_standardisation
from multitask import History, Uncertainty, default_device, make_weighting, rank
from multitask.distributed import copy_from_first
from multitask.progress import Reporter
from multitask.sharing.branches import Branches
from multitask.sharing.record import groups_text, sharing_record
from multitask.sharing.selective_sharing import SelectiveSharing

if TYPE_CHECKING:
    from features.gallery.encoder import GalleryEncoder

Log = Callable[[str], None]
OF_TASKS = 1000  # galleries that a task's own mean and spread are taken over
SHOWN = 5  # tasks of a line of the log; the report has them all


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A data set split, with its tasks fitted and its photos open, and a network for them."""

    data: GalleryData
    config: EncoderConfig
    train: np.ndarray
    validation: np.ndarray
    tasks: GalleryTasks
    network: GalleryNetwork
    photos: PhotoSource
    device: torch.device
    log: Log


def fit_encoder(
    cls: type[GalleryEncoder],
    data: GalleryData | Path | str,
    config: EncoderConfig,
    *,
    rows: np.ndarray | None,
    photos: PhotoSource | None,
    folder: Path | None,
    checkpoint: Path | None,
    progress: bool | Reporter | None,
    device: torch.device | str | None,
    log: Log | None,
) -> GalleryEncoder:
    """See `GalleryEncoder.fit`."""
    made = _prepare(data, config, rows, photos, folder, progress, device, log)
    labels, weighting = made.tasks.labels(made.data), _weighting(made)
    if isinstance(weighting, TripletLoss):
        labels = triplet_classes(made.tasks.tasks, labels, made.train)
        _check_triplets(labels[torch.from_numpy(made.validation)])
    if checkpoint is not None and rank() == 0:
        parts = {"train": made.train, "validation": made.validation}
        claim_checkpoint(Path(checkpoint), config, made.tasks, made.photos, labels, parts)
    cache = _cache(made, folder, progress) if config.cache == "prefix" else None
    batches = _batches(made, cache, labels)
    source = made.photos if cache is None else cache
    budget, index = config.photo_budget, made.data.photos
    made.log(f"{batches.rows:,} galleries to train on, {len(batches)} steps per epoch")
    sharing = _sharing(made)
    history = fit_network(
        made.network,
        batches,
        lambda: sequential_batches(source, index, made.validation, budget, labels=labels, device=made.device),
        weighting,
        config.training,
        stored=cache is not None,
        sharing=sharing,
        checkpoint=checkpoint,
        progress=progress,
        device=made.device,
    )
    best = f"the best of them number {history.best_epoch + 1}" if history.best_epoch is not None else "none validated"
    made.log(f"{len(history.epochs)} epochs, {best}: validation loss {history.best_value:.5f}")
    report = _report(made)
    if isinstance(weighting, Uncertainty):
        report["log_variance"] = dict(zip(made.tasks.names, weighting.log_variance.tolist()))
    if sharing is not None:
        report["sharing"] = sharing_record(sharing)
        made.log(f"hidden layers of the heads: {groups_text(report['sharing']['groups'])}")
    if distances := made.network.mask_distances():
        report["modulation"] = dict(zip(made.tasks.names, distances))
    return _finished(cls, made, history, not isinstance(weighting, TripletLoss), report, cache)


def untrained_encoder(
    cls: type[GalleryEncoder],
    data: GalleryData | Path | str,
    config: EncoderConfig,
    *,
    rows: np.ndarray | None,
    photos: PhotoSource | None,
    progress: bool | None,
    device: torch.device | str | None,
    log: Log | None,
) -> GalleryEncoder:
    """See `GalleryEncoder.untrained`."""
    made = _prepare(data, config, rows, photos, None, progress, device, log)
    return _finished(cls, made, History(), False, _report(made), None)


def _prepare(
    data: GalleryData | Path | str,
    config: EncoderConfig,
    rows: np.ndarray | None,
    photos: PhotoSource | None,
    folder: Path | None,
    progress: bool | Reporter | None,
    device: torch.device | str | None,
    log: Log | None,
) -> _Prepared:
    """What can fail fast fails before the photos are decoded."""
    say: Log = log if log is not None and rank() == 0 else lambda _: None
    data = data if isinstance(data, GalleryData) else GalleryData.open(data)
    try:
        train, validation = data.split(config.validation, config.seed)
    except ValueError as error:
        raise InputError(str(error)) from error
    if rows is not None:
        chosen = chosen_rows(rows, len(data), repeats=True)
        train, validation = (side[np.isin(side, chosen)] for side in (train, validation))
    tasks = GalleryTasks.fit(data, train)
    network = build_network(config, tasks)
    size = network.backbone.preprocessing.size
    if photos is None:
        with photo_bar("decoding", progress if rank() == 0 else False) as advance:
            photos = open_photos(data, size, progress=advance, folder=folder)
    check_source(photos, data, size)
    _, offsets = data.photos.galleries(photos.sound)
    seen = np.diff(offsets) > 0
    train, validation = train[seen[train]], validation[seen[validation]]
    if not len(train) or not len(validation):
        raise InputError(
            "galleries with sound photos are needed on both sides of the split, "
            f"got {len(train)} to train on and {len(validation)} to stop on"
        )
    for line in [*data.report.lines(), *tasks.lines()]:
        say(line)
    where = torch.device(device) if device is not None else default_device()
    return _Prepared(data, config, train, validation, tasks, network, photos, where, say)


def _weighting(made: _Prepared) -> Any:
    config = made.config
    if config.loss == "triplet":
        return TripletLoss(config.mining, config.margin)
    return make_weighting(WEIGHTINGS[config.loss], made.tasks.tasks)


def _sharing(made: _Prepared) -> SelectiveSharing | None:
    heads, directive = made.network.heads, made.config.sharing
    if directive == "none" or not isinstance(heads, Branches):
        return None
    return SelectiveSharing(heads, made.tasks.names, directive=directive, seed=made.config.training.seed)


def _check_triplets(classes: Tensor) -> None:
    """Refuse galleries `(n, T)` to stop on that have no triplet: their loss would be the mean of nothing."""
    if not len(FixedTriplets.draw(classes.double().numpy(), per_attribute=1)):
        raise InputError(
            f'loss = "triplet": none of {classes.shape[1]} attributes has two galleries of one class and one of '
            f"another among the {len(classes)} galleries to stop on; give more items or a larger `validation`"
        )


def _augmentation(config: EncoderConfig) -> Augmentation | None:
    chosen = config.augmentation
    return Augmentation(**chosen.model_dump(), seed=config.training.seed) if chosen.any else None


def _cache(made: _Prepared, folder: Path | None, progress: bool | Reporter | None) -> PrefixCache:
    config = made.config
    with photo_bar("frozen part", progress if rank() == 0 else False) as advance:
        return PrefixCache.build(
            made.network.backbone,
            made.photos,
            folder=folder,
            precision=config.cache_precision,
            augmentation=_augmentation(config),
            versions=config.cache_augmentations,
            device=made.device,
            progress=advance,
            log=made.log,
        )


def _batches(made: _Prepared, cache: PrefixCache | None, labels: Tensor) -> GalleryBatches | CachedBatches:
    config = made.config
    settings: dict[str, Any] = {
        "photo_budget": config.photo_budget,
        "seed": config.training.seed,
        "sample_photos": config.sample_photos,
        "keep_cover": config.cover,
        "device": made.device,
    }
    try:
        if cache is not None:
            return CachedBatches(cache, made.data.photos, made.train, labels, **settings)
        settings["augment"] = _augmentation(config)
        return GalleryBatches(made.photos, made.data.photos, made.train, labels, **settings)
    except ValueError as error:
        raise InputError(str(error)) from error


def _report(made: _Prepared) -> dict[str, Any]:
    """What became of photos and labels, also as lines of the log."""
    labels = {}
    for part, rows in (("train", made.train), ("validation", made.validation)):
        counts = made.tasks.counts(made.data, rows)
        labels[part] = counts.to_dict("records")
        for what, words in (("missing", "labels missing"), ("unseen", "labels of classes that training did not see")):
            found = counts[counts[what] > 0].sort_values(what, ascending=False, kind="stable")
            if len(found):
                shown = ", ".join(f"{name} {n:,}" for name, n in zip(found["task"][:SHOWN], found[what][:SHOWN]))
                more = ", ..." if len(found) > SHOWN else ""
                made.log(f"{words}, {part}: {found[what].sum():,} of {len(rows) * len(counts):,} ({shown}{more})")
    report = {"photos": made.data.report.to_dict(), "labels": labels, "left_out": dict(made.tasks.dropped)}
    return dict(_finite(report))


def _finite(value: Any) -> Any:
    """`value` with None for NaN and infinities (an order column may hold them), which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _finished(
    cls: type[GalleryEncoder],
    made: _Prepared,
    history: History,
    heads_trained: bool,
    report: dict[str, Any],
    cache: PrefixCache | None,
) -> GalleryEncoder:
    """The encoder, its vectors standardised over the training galleries."""
    network = made.network.to(made.device).eval()
    source = made.photos if cache is None else cache
    batches = sequential_batches(source, made.data.photos, made.train, made.config.photo_budget, device=made.device)
    vectors, _ = network_vectors(network, batches, len(made.train), stored=cache is not None)
    if not bool(torch.isfinite(vectors).all()):
        raise InputError("the encoder's vectors must be finite, got NaN or infinities: are its weights sound?")
    mean, std = standardisation(vectors)
    copy_from_first([mean, std])
    task_mean, task_std = _of_tasks(made, source, stored=cache is not None)
    table = made.data.schema.table
    return cls(
        config=made.config,
        tasks=made.tasks,
        network=network,
        mean=mean,
        std=std,
        history=history,
        heads_trained=heads_trained,
        max_photos=table.max_photos,
        max_pixels=table.max_pixels,
        report=report,
        task_mean=task_mean,
        task_std=task_std,
    )


def _of_tasks(made: _Prepared, source: Any, *, stored: bool) -> tuple[Tensor | None, Tensor | None]:
    """With modulation, mean and spread `(T, D)` of every task's vectors, over at most `OF_TASKS` training galleries."""
    if not made.network.modulated:
        return None, None
    some = made.train[:: -(-len(made.train) // OF_TASKS)]
    budget, index = made.config.photo_budget, made.data.photos
    found = task_standardisation(
        inference_network(made.network),
        lambda: sequential_batches(source, index, some, budget, device=made.device),
        standardisation,
        stored=stored,
    )
    copy_from_first(list(found))
    return found
