"""Whose checkpoint a folder holds: one of another encoder, or of other photos, is refused even where it would fit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from features.artifact import fsync, read_json, write_json
from features.errors import InputError
from features.gallery.config import EncoderConfig
from features.gallery.source import PhotoSource
from features.gallery.tasks import GalleryTasks
from multitask import CheckpointError

CLAIM = "encoder.json"


def claim_checkpoint(
    folder: Path,
    config: EncoderConfig,
    tasks: GalleryTasks,
    photos: PhotoSource,
    labels: Tensor,
    rows: Mapping[str, np.ndarray],
) -> None:
    """Mark an empty folder as this run's, and refuse one that is another's.

    Two networks may have the same tensors and differ in how they pool or batch. The settings of the training itself
    are compared by `multitask.fit`.

    Parameters
    ----------
    labels : Tensor `(V, T)`
        Of all items; those of `rows` are compared.
    rows : mapping from name to array `(n,)`
        The items of each part of the training, such as "train" and "validation".

    Raises
    ------
    CheckpointError
        Naming what differs, or that the mark cannot be read.
    """
    own: dict[str, Any] = {
        "config": config.model_dump(mode="json", exclude={"training"}),
        "tasks": hashlib.sha256(json.dumps(tasks.to_state()).encode()).hexdigest(),
        "photos": photos.fingerprint,
    }
    for part, numbers in rows.items():
        own[f"{part} rows"] = hashlib.sha256(numbers.astype(np.int64).tobytes()).hexdigest()
        own[f"{part} labels"] = hashlib.sha256(labels[torch.from_numpy(numbers)].numpy().tobytes()).hexdigest()
    path = folder / CLAIM
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        write_json(unfinished, own)
        fsync(unfinished)
        os.replace(unfinished, path)
        return
    try:
        found = read_json(path)
    except InputError as error:
        raise CheckpointError(f"{error}; delete the folder {folder} or choose another to start anew") from error
    found = found if isinstance(found, dict) else {}
    theirs = _filled_in(found.get("config"))
    differing = [name for name in own if name != "config" and found.get(name) != own[name]]
    differing += [f"config.{name}" for name, value in own["config"].items() if theirs.get(name) != value]
    if differing:
        raise CheckpointError(
            f"`checkpoint` {folder} must belong to this run, got another one's (other {', '.join(differing)}); "
            "delete the folder or choose another to start anew"
        )


def _filled_in(settings: Any) -> dict[str, Any]:
    """Settings that an earlier version wrote, with the defaults of what it did not know yet."""
    try:
        return EncoderConfig.model_validate(settings).model_dump(mode="json")
    except ValidationError:
        return settings if isinstance(settings, dict) else {}
