"""`galleryrank embed`: train a gallery encoder, or take one, and write a vector per item."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.gallery.base_rates import base_rate_table
from evaluation.gallery.gallery_metrics import embed_metrics
from evaluation.gallery.gallery_page import Picture
from evaluation.gallery.task_scores import predictions_of
from features import InputError, ItemVectors
from features.gallery.bars import photo_bar
from features.gallery.building import build_network, photo_size
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.source import PhotoSource, open_photos
from features.gallery.store import Embeddings
from features.gallery.tasks import GalleryTasks
from features.gallery.view import View
from galleryrank.console import Log
from galleryrank.embed_map import vector_map
from galleryrank.embedded import ENCODER, VECTORS, find_encoder
from galleryrank.fit import check_device
from galleryrank.gallery_run import GalleryRun, check_format
from galleryrank.settings import load_config
from galleryrank.streams import print_json
from multitask.sharing.record import groups_text


def embed_run(
    dataset: Path,
    out: Path,
    encoder: Path | None,
    config: Path | None,
    overrides: Sequence[str],
    untrained: bool,
    task: str | None,
    device: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Write OUT/encoder (unless one is given), OUT/vectors.parquet, the report; fill in the data set's own vectors."""
    check_format(format)
    check_device(device)
    if encoder is not None and (config is not None or overrides or untrained):
        raise InputError("--encoder takes an encoder as it is: leave out --config, --set and --untrained")
    if task is not None and encoder is None:
        raise InputError("--task needs --encoder: train an encoder with modulation first, then embed for its tasks")
    say = Log(quiet)
    settings = load_config(config, overrides, EncoderConfig)
    given = find_encoder(encoder) if encoder is not None else None
    fingerprint = View.of(given, task).fingerprint if given else None
    data = GalleryData.open(dataset)
    if given is None:
        check_training(data, settings)
    record = {
        "command": "embed",
        "dataset": str(Path(dataset).resolve()),
        "settings": (given.config if given else settings).model_dump(mode="json"),
        "encoder": fingerprint,
        "encoder_path": str(Path(encoder).resolve()) if encoder is not None else None,
        "task": task,
        "untrained": untrained,
    }
    run = GalleryRun.claim(out, record)
    metrics, pictures = embed_into(run, data, settings, given, say, untrained=untrained, task=task, device=device)
    run.finish(metrics, pictures, say, title=f"galleryrank: gallery embeddings of {data.schema.name}")
    if format == "json":
        print_json(metrics)


def check_training(data: GalleryData, settings: EncoderConfig) -> None:
    """Refuse attributes and networks that cannot be trained, before photos are decoded and a folder is claimed."""
    try:
        train, _ = data.split(settings.validation, settings.seed)
    except ValueError as error:
        raise InputError(str(error)) from error
    build_network(settings, GalleryTasks.fit(data, train))


def embed_into(
    run: GalleryRun,
    data: GalleryData,
    settings: EncoderConfig,
    given: GalleryEncoder | None,
    say: Log,
    *,
    untrained: bool = False,
    task: str | None = None,
    device: str | None = None,
    draw_map: bool = True,
) -> tuple[dict[str, Any], list[Picture]]:
    """Train or take the encoder, embed every item, measure; the work of the command, and of the demo."""
    bar = False if say.quiet else None
    size = given.preprocessing.size if given else photo_size(settings)
    say(f"decoding {len(data.photos):,} photos of {len(data):,} items at {size} px")
    with photo_bar("decoding", bar) as advance:
        photos = open_photos(data, size, progress=advance)
    if given is None:
        run.hold_to(content_fingerprint(data, photos))
    encoder = given or _encoder(run, data, settings, photos, say, untrained, device)
    embeddings = encoder.embed(data, task=task, photos=photos, progress=bar, device=device)
    embeddings.write(run.path / VECTORS)
    say(f"{len(embeddings):,} vectors of {embeddings.dim} numbers, fingerprint {embeddings.encoder[:12]}")
    special = "untrained weights" if untrained else None if task is None else f"the one task {task!r}"
    filled = _fill_in(data, embeddings, run.path / VECTORS, special)
    say(filled)
    trained = given is None and encoder.heads_trained
    metrics = embed_metrics(
        data.report.to_dict(),
        lines=data.report.lines(),
        vectors=len(embeddings),
        dim=embeddings.dim,
        tasks=_tasks(encoder, data, photos, device) if trained else None,
        left_out=encoder.tasks.dropped,
        history=encoder.history.table() if encoder.history.epochs else None,
        best_epoch=encoder.history.best_epoch,
        meta={
            "data set": data.schema.name,
            "backbone": encoder.config.backbone,
            "pooling": encoder.config.pooling + (" and cover" if encoder.config.cover else ""),
            "loss": "none (untrained)" if untrained else encoder.config.loss,
            "tasks": len(encoder.tasks.names),
            **({} if task is None else {"task": task}),
            "seed": encoder.config.seed,
            "fingerprint": embeddings.encoder[:12],
        },
        notes=[*_of_tasks(encoder, task), filled],
    )
    drawn = vector_map(run.path, data, embeddings, encoder, say) if draw_map else None
    return metrics, [drawn] if drawn is not None else []


def _encoder(
    run: GalleryRun,
    data: GalleryData,
    settings: EncoderConfig,
    photos: PhotoSource,
    say: Log,
    untrained: bool,
    device: str | None,
) -> GalleryEncoder:
    folder, checkpoint, cache = run.path / ENCODER, run.path / "checkpoint", run.path / "cache"
    bar = False if say.quiet else None
    if folder.is_dir():  # a killed run had come this far
        encoder = GalleryEncoder.load(folder)
    elif untrained:
        encoder = GalleryEncoder.untrained(data, settings, photos=photos, progress=bar, device=device, log=say)
    else:
        say("training the encoder")
        encoder = GalleryEncoder.fit(
            data, settings, photos=photos, folder=cache, checkpoint=checkpoint, progress=bar, device=device, log=say
        )
    if not folder.is_dir():
        encoder.save(folder)
    for done in (checkpoint, cache):
        shutil.rmtree(done, ignore_errors=True)
    return encoder


def content_fingerprint(data: GalleryData, photos: PhotoSource) -> str:
    """sha256 of all that an encoder is learned from: photos, whose they are, and the attributes and groups of items."""
    digest = hashlib.sha256(photos.fingerprint.encode())
    names = [data.schema.item, *data.schema.task_columns, *filter(None, [data.schema.table.group])]
    for name in names:
        digest.update(name.encode())
        digest.update(pd.util.hash_pandas_object(data.items.column(name).to_pandas(), index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _fill_in(data: GalleryData, embeddings: Embeddings, written: Path, special: str | None) -> str:
    """Where dataset.toml names a table of vectors that is not there yet, this is it; what was done, in a sentence.

    `special` says of what these are vectors if not of the encoder that was trained on the data.
    """
    named, use = data.schema.vectors, f"use --vectors {written}"
    if named is None:
        return f"To rank with the vectors, name them in dataset.toml ([files] vectors = ...), or {use}."
    if special is not None:
        return f"{named} was left as it is: vectors of {special} are never the data set's own; {use}."
    try:
        if not named.exists():
            embeddings.write(named)
            return f"The vectors were also written to {named}, which dataset.toml names as the data set's own."
        if ItemVectors.from_parquet(named, data.schema.item).encoder == embeddings.encoder:
            return f"{named}, the data set's own vectors, is of this encoder already and was left as it is."
        return f"{named} holds vectors of another encoder and was left as it is: {use}."
    except (InputError, OSError) as error:  # the vectors are written, and a report is still to be
        return f"{named} was left as it is ({error}): {use}."


def _of_tasks(encoder: GalleryEncoder, task: str | None) -> list[str]:
    """What the tasks have apart and what they share, in sentences: whose masks, and which heads."""
    sharing, masks = encoder.report.get("sharing"), encoder.report.get("modulation")
    notes = [] if task is None else [f"These are the vectors under the masks of the one task {task!r}."]
    if masks:
        order = sorted(masks, key=lambda name: -masks[name])
        shown = ", ".join(f"{name} {masks[name]:.3f}" for name in order)
        notes.append(f"Modulation: how far each task's masks are from 1, root mean square: {shown}.")
    if sharing:
        notes.append(f"Hidden layers of the heads ({sharing['directive']}): {groups_text(sharing['groups'])}.")
    return notes


def _tasks(encoder: GalleryEncoder, data: GalleryData, photos: PhotoSource, device: str | None) -> pd.DataFrame:
    """Every task against its base rate, on the items that training stopped on."""
    train, held = data.split(encoder.config.validation, encoder.config.seed)
    ids, outputs = encoder.outputs(data, held, photos=photos, device=device)
    known = held[pd.Index(data.item_ids.to_numpy(zero_copy_only=False)[held]).get_indexer(ids)]
    return base_rate_table(
        encoder.tasks.tasks,
        predictions_of(encoder.tasks.tasks, outputs.numpy()),
        encoder.tasks.labels(data, known).numpy(),
        encoder.tasks.labels(data, train).numpy(),
        data.groups[known],
    )
