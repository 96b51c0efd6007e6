"""Figures 5 and 6 of [Booking]: many tasks at once against one network per task."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.gallery.class_balance import class_balance
from evaluation.gallery.label_training import LabelTraining
from evaluation.gallery.single_tasks import train_single_tasks
from evaluation.gallery.task_optima import KENDALL, PSEUDO, task_optima_table
from evaluation.gallery.task_scores import predictions_of
from features.gallery import EncoderConfig, GalleryData, GalleryEncoder
from galleryrank.console import Log
from galleryrank.gallery_run import GalleryRun

TESTED = 4  # one fold of so many is tested
LOSSES = {PSEUDO: "pseudo_uniform", KENDALL: "kendall"}


def optima_figures(
    run: GalleryRun, data: GalleryData, config: EncoderConfig, training: LabelTraining, say: Log
) -> dict[str, Any]:
    """Train with both losses and once per task, all on the same three quarters of the items; test on the fourth.

    Returns `optima` and `balance` as `probe_metrics` takes them. Every fit is kept in the run's folder, so that a
    killed run goes on with the next one.
    """
    # Another seed than that of the encoder's own split: under the same one, items are in the same order by hash for
    # both, and the tested fold, the first quarter, would hold every validation item.
    rest = data.folds(TESTED, config.seed + 1) != 0
    rows, photos = np.flatnonzero(rest), training.photos
    test = np.flatnonzero(~rest & (np.diff(data.photos.galleries(photos.sound)[1]) > 0))
    encoders = {name: _fitted(run, data, config, training, loss, rows, say) for name, loss in LOSSES.items()}
    tasks = encoders[PSEUDO].tasks
    labels = tasks.labels(data).double().numpy()
    train, validation = (side[np.isin(side, rows)] for side in data.split(config.validation, config.seed))
    predictions = {}
    for name, encoder in encoders.items():
        _, outputs = encoder.outputs(data, test, photos=photos, device=training.device)
        predictions[name] = predictions_of(tasks.tasks, outputs.numpy())
    say(f"training one network per task, {len(tasks.names)} of them")
    optimum = train_single_tasks(
        training, tasks.tasks, labels, train, validation, test, folder=run.path / "fits" / "single", progress=say
    )
    table = task_optima_table(tasks.tasks, predictions, optimum, labels[test], labels[train], data.groups[test])
    return {"optima": table, "balance": class_balance(tasks.tasks, labels[train], table)}


def _fitted(
    run: GalleryRun,
    data: GalleryData,
    config: EncoderConfig,
    training: LabelTraining,
    loss: str,
    rows: np.ndarray,
    say: Log,
) -> GalleryEncoder:
    folder = run.path / "fits" / loss
    if (folder / "encoder").is_dir():
        return GalleryEncoder.load(folder / "encoder")
    say(f"training on all tasks at once, {loss.replace('_', '-')} loss")
    encoder = GalleryEncoder.fit(
        data,
        config.with_loss(loss),
        rows=rows,
        photos=training.photos,
        checkpoint=folder / "checkpoint",
        progress=False if say.quiet else None,
        device=training.device,
    )
    encoder.save(folder / "encoder")
    return encoder
