"""`galleryrank ablate`: which backbone, width and way of training gives the better gallery vector, as one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.formatting import format_interval, format_number
from evaluation.gallery.ablation import COLUMNS, AblationProbe, Variant, ablation_table
from evaluation.gallery.ablation_measures import FEWEST_JUDGED, judged_items
from evaluation.gallery.gallery_metrics import ablation_metrics
from evaluation.gallery.probe import HoldoutProbe
from features import Fault, InputError
from features.errors import raise_faults
from features.gallery import EncoderConfig, GalleryData, open_photos
from features.gallery.bars import photo_bar
from features.gallery.building import photo_size
from features.gallery.config import HEADS_ONLY, TRIPLET_ONLY
from features.gallery.source import PhotoSource
from galleryrank.console import Log
from galleryrank.embed import check_training
from galleryrank.fit import check_device
from galleryrank.gallery_run import GalleryRun, check_format
from galleryrank.holdout import held_out, holdout_name
from galleryrank.review_photos import read_reviews
from galleryrank.settings import load_config
from galleryrank.streams import print_json

NATIVE = "native"
PARADIGMS: dict[str, dict[str, Any]] = {
    "multitask": {"loss": "pseudo_uniform"},
    "kendall": {"loss": "kendall"},
    "triplet-random": {"loss": "triplet", "mining": "random"},
    "triplet-semihard": {"loss": "triplet", "mining": "semihard"},
    "triplet-hard": {"loss": "triplet", "mining": "hard"},
    "frozen": {"loss": "pseudo_uniform"},  # pretrained weights as they come
    "random": {"loss": "pseudo_uniform", "pretrained": False},  # random weights as they come
}
UNTRAINED = ("frozen", "random")
VARIED = {
    "backbone": "--backbone", "weights": "--backbone", "embed_dim": "--width", "loss": "--paradigm",
    "mining": "--paradigm",
}  # fmt: skip
BACKBONES, WIDTHS, DEFAULT_PARADIGMS = (
    ("small",),
    (NATIVE, "64"),
    ("multitask", "kendall", "triplet-semihard", "random"),
)


@dataclass(frozen=True)
class Row:
    """A row of the table before it is measured: a variant, or the reason why there is none."""

    name: str
    backbone: str
    paradigm: str
    width: str
    variant: Variant | None
    reason: str | None


def ablate_run(
    dataset: Path,
    out: Path,
    backbones: Sequence[str],
    widths: Sequence[str],
    paradigms: Sequence[str],
    holdout: str | None,
    reviews: Path | None,
    config: Path | None,
    overrides: Sequence[str],
    seeds: int,
    device: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Fit and measure every combination of backbone, width and paradigm; write metrics.json and report.html to OUT."""
    check_format(format)
    check_device(device)
    raise_faults(_option_faults(widths, paradigms, seeds))
    say = Log(quiet)
    settings = load_config(config, overrides, EncoderConfig)
    raise_faults(
        Fault(f"is what {option} varies: leave it out of the settings", key=f"`{name}`")
        for name, option in VARIED.items()
        if name in settings.model_fields_set
    )
    rows = list(_rows(backbones, widths, paradigms, config, overrides))
    variants = [row.variant for row in rows if row.variant is not None]
    if not variants:
        raise InputError([Fault(f"{row.name}: {row.reason}") for row in rows])
    data = GalleryData.open(dataset)
    check_training(data, settings)  # what is wrong with the data would be wrong in every row
    name = holdout_name(data, holdout) if holdout is not None or data.schema.item_holdout else None
    review = read_reviews(reviews, data) if reviews is not None else None
    record = {
        "command": "ablate", "dataset": str(Path(dataset).resolve()), "settings": settings.model_dump(mode="json"),
        "backbones": list(backbones), "rows": [row.name for row in rows], "holdout": name, "seeds": seeds,
        "reviews": str(reviews.resolve()) if reviews else None,
    }  # fmt: skip
    run = GalleryRun.claim(out, record)
    photos = _photos(data, variants[0].config, say)
    has_vector = np.diff(data.photos.galleries(photos.sound)[1]) > 0
    probe, notes = _probe(data, name, holdout is not None, has_vector, seeds)
    judged = len(judged_items(data, has_vector, settings))
    if judged < FEWEST_JUDGED:
        notes.append(
            f"There is no same-attribute column: {judged:,} items with a vector stopped training, at least "
            f"{FEWEST_JUDGED} are needed (more items, or a larger `validation`)."
        )
    table = ablation_table(
        data,
        variants,
        probe=probe,
        review=review.photos if review is not None else None,
        attributes=[name for name in data.schema.task_columns if name != "mean"],
        folder=run.path / "fits",
        photos={photos.size: photos},
        device=device,
        progress=say,
    )
    if table["reason"].notna().all():
        raise InputError([Fault(f"{name}: {why}") for name, why in zip(table["variant"], table["reason"])])
    metrics = ablation_metrics(
        _whole(table, rows),
        attribute=name if probe is not None else None,
        meta={"data set": data.schema.name, "items": len(data), "seed": settings.seed},
        notes=[*notes, *data.report.lines(), *(review.notes if review is not None else [])],
    )
    run.finish(metrics, [], say, title=f"galleryrank: encoders of {data.schema.name}")
    _print(metrics, say)
    if format == "json":
        print_json(metrics)


def _option_faults(widths: Sequence[str], paradigms: Sequence[str], seeds: int) -> list[Fault]:
    faults = [
        Fault(f"must be {NATIVE} or a number of at least 1", key="--width", value=width)
        for width in widths
        if width != NATIVE and not (width.isascii() and width.isdigit() and int(width) > 0)
    ]
    faults += [
        Fault(f"must be one of {', '.join(PARADIGMS)}", key="--paradigm", value=paradigm)
        for paradigm in paradigms
        if paradigm not in PARADIGMS
    ]
    return faults if seeds >= 1 else [*faults, Fault("must be at least 1", key="--seeds", value=seeds)]


def _rows(
    backbones: Sequence[str],
    widths: Sequence[str],
    paradigms: Sequence[str],
    config: Path | None,
    overrides: Sequence[str],
) -> Iterator[Row]:
    """The cross product; a combination that settings cannot describe is a row with the reason.

    Each row's settings are read anew, because their defaults depend on them: pretrained weights are trained as
    [Booking] did, random ones longer and faster.
    """
    names = set[str]()
    for backbone, width, paradigm in product(*(dict.fromkeys(names) for names in (backbones, widths, paradigms))):
        kind, equals, file = backbone.partition("=")
        weights = Path(file) if equals and paradigm != "random" else None
        label = f"{kind} ({weights.name})" if weights is not None else kind
        name = f"{label} {width} {paradigm}"
        if name in names:  # random weights are the same with and without a file of others
            continue
        names.add(name)
        chosen: dict[str, Any] = {"backbone": kind, **PARADIGMS[paradigm]}
        fields = EncoderConfig.model_fields  # what the config says for the other paradigms is not read by this one
        unread = HEADS_ONLY if chosen["loss"] == "triplet" else TRIPLET_ONLY
        chosen |= {name: fields[name].default for name in unread}
        chosen |= {"weights": str(weights)} if weights is not None else {}
        chosen |= {"embed_dim": int(width)} if width != NATIVE else {}
        texts = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in chosen.items()]
        variant, reason = None, None
        try:
            found = load_config(config, [*overrides, *texts], EncoderConfig)
            if paradigm == "frozen" and not (found.weights or found.pretrained):
                reason = f"pretrained weights are needed: --backbone {kind}=FILE, or --set pretrained=true"
            else:
                variant = Variant(name, found, trained=paradigm not in UNTRAINED)
        except InputError as error:
            reason = str(error)
        yield Row(name, kind, paradigm, width, variant, reason)


def _photos(data: GalleryData, config: EncoderConfig, say: Log) -> PhotoSource:
    size = photo_size(config)
    say(f"decoding {len(data.photos):,} photos of {len(data):,} items at {size} px")
    with photo_bar("decoding", False if say.quiet else None) as advance:
        photos = open_photos(data, size, progress=advance)
    for line in data.report.lines():
        say(line)
    return photos


def _probe(
    data: GalleryData, name: str | None, asked: bool, has_vector: np.ndarray, seeds: int
) -> tuple[AblationProbe | None, list[str]]:
    """The probe of the held-out attribute, with notes; None, and why, where there is none or too little of it."""
    if name is None:
        return None, ["There is no probe column: dataset.toml names no held-out attribute."]
    try:
        found = held_out(data, name, has_vector)
    except InputError as error:
        if asked:
            raise
        return None, [f"There is no probe column: {error}."]
    notes = [f"`{name}` is probed as five equal parts of its range of values."] if found.number else []
    return AblationProbe(HoldoutProbe(found.labels, found.design, seeds=range(seeds)), found.rows), notes


def _whole(table: pd.DataFrame, rows: Sequence[Row]) -> pd.DataFrame:
    """The table with the combinations that are impossible, in the order of the cross product."""
    measured = {record["variant"]: record for record in table.astype(object).to_dict("records")}
    records = [
        measured.get(row.name)
        or {"variant": row.name, "backbone": row.backbone, "paradigm": row.paradigm, "reason": row.reason}
        for row in rows
    ]
    whole = pd.DataFrame(records, columns=COLUMNS)
    words = ("variant", "backbone", "paradigm", "pooling", "reason")
    numbers = {name: pd.to_numeric(whole[name]) for name in COLUMNS if name not in words}
    return whole.assign(**numbers)


def _print(metrics: dict[str, Any], say: Log) -> None:
    """The table on stderr."""
    shown = {"probe": "probe", "same_item": "same item, MRR", "same_attribute": "same attribute"}
    shown = {key: words for key, words in shown.items() if metrics["has"][key]}
    rows = []
    for row in metrics["rows"]:
        cells = [row["variant"], "-" if row["dim"] is None else f"{row['dim']:,}"]
        for key in shown:
            low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
            interval = "" if low is None else f"\n{format_interval(low, high)}"
            cells.append("-" if row[key] is None else format_number(row[key]) + interval)
        rows.append([*cells, "-" if row["gallery_ms"] is None else format_number(row["gallery_ms"])])
    say.table("Every variant", ("variant", "numbers", *shown.values(), "ms per gallery"), rows)
