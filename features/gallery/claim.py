"""Whose checkpoint a folder holds: one of another encoder, or of other photos, is refused even where it would fit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from features.gallery.artifact import read_json, write_json
from features.gallery.config import EncoderConfig
from features.gallery.source import PhotoSource
from features.gallery.tasks import GalleryTasks
from multitask import CheckpointError

CLAIM = "encoder.json"


def claim_checkpoint(folder: Path, config: EncoderConfig, tasks: GalleryTasks, photos: PhotoSource) -> None:
    """Mark an empty folder as this run's, and refuse one that is another's.

    Two networks may have the same tensors and differ in how they pool or batch. The settings of the training itself
    are compared by `multitask.fit`.

    Raises
    ------
    CheckpointError
        Naming what differs.
    """
    own: dict[str, Any] = {
        "config": config.model_dump(mode="json", exclude={"training"}),
        "tasks": hashlib.sha256(json.dumps(tasks.to_state()).encode()).hexdigest(),
        "photos": photos.fingerprint,
    }
    path = folder / CLAIM
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, own)
        return
    found = read_json(path)
    found = found if isinstance(found, dict) else {}
    settings = found.get("config")
    theirs = settings if isinstance(settings, dict) else {}
    differing = [name for name in ("tasks", "photos") if found.get(name) != own[name]]
    differing += [f"config.{name}" for name, value in own["config"].items() if theirs.get(name) != value]
    if differing:
        raise CheckpointError(
            f"`checkpoint` {folder} must belong to this run, got another one's (other {', '.join(differing)}); "
            "delete the folder or choose another to start anew"
        )
