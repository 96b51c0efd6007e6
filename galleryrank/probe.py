"""`galleryrank probe`: how much of a held-out attribute is in the vectors, beside every way to do without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from evaluation.gallery.ablation_measures import vectors_by_row
from evaluation.gallery.end_to_end import EndToEndArm, label_column
from evaluation.gallery.gallery_metrics import probe_metrics
from evaluation.gallery.label_training import LabelTraining
from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_design import BUDGETS
from evaluation.gallery.probe_result import TRUTH
from evaluation.gallery.step_time import training_step_times
from evaluation.gallery.value_probe import probe_values
from features import Fault, InputError, schema_of
from features.errors import raise_faults
from features.gallery import EncoderConfig, GalleryData, GalleryEncoder, GalleryNetwork, open_photos
from features.gallery.bars import photo_bar
from features.gallery.building import photo_size
from features.gallery.source import PhotoSource
from galleryrank.console import Log
from galleryrank.embedded import find_encoder
from galleryrank.fit import check_device
from galleryrank.gallery_run import GalleryRun, check_format
from galleryrank.holdout import held_out, holdout_name
from galleryrank.optima import optima_figures
from galleryrank.streams import print_json
from multitask import Task

OURS, RANDOM, TRANSFER, WHOLE = "the encoder", "random encoder", "pretrained transfer", "end to end"
TIMED_BATCHES = 8
SEEN = (
    "The encoder learned other attributes of the probed items, as in the article; it never saw the held-out one. What "
    "it does for items it never saw is another question, which a split by item answers."
)


@dataclass(frozen=True)
class Arm:
    """Vectors `(V, D)` in the order of the items table, zeros where there are none, and the network they are of."""

    matrix: np.ndarray
    network: GalleryNetwork | None


def probe_run(
    dataset: Path,
    encoder: Path,
    out: Path,
    holdout: str | None,
    weights: Path | None,
    truth: Sequence[str],
    end_to_end: bool,
    epochs: int,
    optima: bool,
    seeds: int,
    device: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Probe ENCODER's vectors of DATASET for its held-out attribute; write metrics.json and report.html to OUT."""
    check_format(format)
    check_device(device)
    if seeds < 1 or epochs < 1:
        raise InputError(f"--seeds and --epochs must be at least 1, got {seeds} and {epochs}")
    say = Log(quiet)
    ours = find_encoder(encoder)
    data = GalleryData.open(dataset)
    name = holdout_name(data, holdout)
    record = {
        "command": "probe", "dataset": str(Path(dataset).resolve()), "encoder": ours.fingerprint, "holdout": name,
        "weights": str(weights) if weights else None, "truth": list(truth), "end_to_end": end_to_end,
        "epochs": epochs, "optima": optima, "seeds": seeds,
    }  # fmt: skip
    run = GalleryRun.claim(out, record)
    photos = _photos(data, photo_size(ours.config), say)
    arms = _frozen_arms(data, ours, weights, truth, photos, device, say)
    training = LabelTraining.of(data, _end_to_end_config(ours.config, epochs), photos=photos, device=device)
    metrics = _probed(run, data, name, ours, arms, training, end_to_end, optima, seeds, say)
    run.finish(metrics, [], say, title=f"galleryrank: hold-out probe of {data.schema.name}")
    if format == "json":
        print_json(metrics)


def _photos(data: GalleryData, size: int, say: Log) -> PhotoSource:
    say(f"decoding {len(data.photos):,} photos of {len(data):,} items at {size} px")
    with photo_bar("decoding", False if say.quiet else None) as advance:
        return open_photos(data, size, progress=advance)


def _frozen_arms(
    data: GalleryData,
    ours: GalleryEncoder,
    weights: Path | None,
    truth: Sequence[str],
    photos: PhotoSource,
    device: str | None,
    say: Log,
) -> dict[str, Arm]:
    """The arms whose vectors are there before any label of the attribute is seen."""
    bar = False if say.quiet else None
    encoders = {OURS: (ours, photos)}
    if weights is not None:
        config = ours.config.model_copy(update={"backbone": "squeezenet1_1", "weights": weights, "pretrained": False})
        transfer = _photos(data, photo_size(config), say)
        encoders[TRANSFER] = (GalleryEncoder.untrained(data, config, photos=transfer, device=device), transfer)
    plain = ours.config.model_copy(update={"weights": None, "pretrained": False})
    encoders[RANDOM] = (GalleryEncoder.untrained(data, plain, photos=photos, device=device), photos)
    arms = {}
    for arm, (encoder, source) in encoders.items():
        say(f"embedding: {arm}")
        vectors = encoder.embed(data, photos=source, progress=bar, device=device)
        arms[arm] = Arm(vectors_by_row(vectors, data), encoder.network)
    if truth:
        arms[TRUTH] = Arm(truth_columns(data, truth), None)
    return arms


def truth_columns(data: GalleryData, patterns: Sequence[str]) -> np.ndarray:
    """Columns that are known to decide the attribute (of a generated world), `(V, D)`; missing numbers are the mean.

    A held-out column is left out where a pattern happens to match it, and refused where it is named.
    """
    names = list(dict.fromkeys(name for file, _ in data.items_at for name in schema_of(file).names))
    held = set(data.schema.item_holdout) - set(patterns)
    chosen = [name for name in names if name not in held and any(fnmatch(name, pattern) for pattern in patterns)]
    if not chosen:
        message = f"matches no column of the items table ({', '.join(names)})"
        raise InputError(Fault(message, key="--truth", value=" ".join(patterns)))
    columns = data.attributes(chosen).to_pandas()
    words = [name for name in chosen if not pd.api.types.is_numeric_dtype(columns[name])]
    if words:
        raise InputError(Fault("must match columns of numbers", key="--truth", value=", ".join(words)))
    columns = columns.astype(float)
    columns = columns.fillna(columns.mean())
    raise_faults(
        Fault("must be finite and known for some item to be the truth", data.items_at[0][0], name, key="--truth")
        for name in chosen
        if not np.isfinite(columns[name]).all()
    )
    return np.asarray(columns)


def _probed(
    run: GalleryRun,
    data: GalleryData,
    name: str,
    ours: GalleryEncoder,
    arms: Mapping[str, Arm],
    training: LabelTraining,
    end_to_end: bool,
    optima: bool,
    seeds: int,
    say: Log,
) -> dict[str, Any]:
    """Table 2: accuracies by label budget, times, paired differences, the control; figures 5 and 6 if asked for."""
    asked = held_out(data, name, np.asarray(arms[OURS].matrix.any(axis=1)))
    rows, labels, design, number = asked.rows, asked.labels, asked.design, asked.number
    say(f"probing `{name}`, known for {len(rows):,} items{', in five equal parts' if number else ''}")
    folder = run.path / "fits"
    probe = HoldoutProbe(labels, design, budgets=BUDGETS, seeds=range(seeds))
    matrices = {arm: given.matrix[rows] for arm, given in arms.items()}
    result = probe.run(matrices, folder=folder, progress=say)
    if end_to_end:
        once = HoldoutProbe(labels, design, budgets=BUDGETS, seeds=[0])
        result = result.joined(
            once.run({WHOLE: EndToEndArm(training, rows)}, control=False, folder=folder, progress=say)
        )
    notes = [SEEN] if ours.history.epochs else []
    notes += [] if end_to_end else ["The network trained end to end was left out (--no-end-to-end)."]
    figures = optima_figures(run, data, ours.config, training, say) if optima else {}
    return probe_metrics(
        result,
        attribute=name,
        reference=OURS,
        times=_times(arms, training, rows, probe, len(data), say),
        values={name: probe_values(asked.values, matrices, design, seeds=range(seeds))} if number else None,
        meta={"data set": data.schema.name, "fingerprint": ours.fingerprint[:12]},
        notes=notes,
        **figures,
    )


def _times(
    arms: Mapping[str, Arm], training: LabelTraining, rows: np.ndarray, probe: HoldoutProbe, items: int, say: Log
) -> pd.DataFrame:
    """What a training iteration costs, of every arm that takes photos of the same size."""
    say("timing a training iteration")
    task = Task("held-out attribute", "multiclass", n_classes=len(probe.names))
    column = label_column(rows, items, probe.labels)
    batches = training.batches(rows, torch.from_numpy(column).float())[:TIMED_BATCHES]
    size = training.photos.size
    networks = {arm: given.network for arm, given in arms.items() if given.network is not None}
    networks = {arm: n for arm, n in networks.items() if n.backbone.preprocessing.size == size}
    whole = training.network([task], column[rows], 0)
    return training_step_times(networks, whole, batches, len(probe.names))


def _end_to_end_config(config: EncoderConfig, epochs: int) -> EncoderConfig:
    """The encoder's own architecture and augmentation, trained as a whole, with `epochs` to be tuned in."""
    patience = max(config.training.patience, epochs // 4)
    training = config.training.model_copy(update={"epochs": epochs, "patience": patience})
    update = {"train": "all", "cache": "none", "cache_augmentations": 0, "training": training}
    return config.model_copy(update=update)
