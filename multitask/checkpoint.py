"""A checkpoint on disk: tensors in one safetensors file, everything else in one JSON file, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

_STATE = "checkpoint.json"
_START_ANEW = "delete the folder, or choose another, to start anew"


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed: it is damaged, or another run's. Says what is wrong and what to do."""


def write_checkpoint(folder: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    """Writes a checkpoint into `folder`, so that a crash at any moment leaves the old one or the new one.

    The tensors go to a file named by their SHA-256; the JSON file, which names it, is renamed into place last and is
    the moment at which the new checkpoint counts. Both are synced to disk before they are renamed.

    Args:
        folder: made if missing.
        tensors: by name; copied to the CPU.
        state: what JSON can hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Copies, as safetensors refuses tensors that share memory (tied weights).
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    data = save_tensors(copies)
    digest = hashlib.sha256(data).hexdigest()
    name = f"checkpoint-{digest[:16]}.safetensors"
    _write(folder / name, data)
    text = json.dumps({"tensors": name, "sha256": digest, "state": state}, indent=1)
    _write(folder / _STATE, text.encode())
    for other in folder.glob("checkpoint-*.safetensors*"):
        if other.name != name:
            other.unlink(missing_ok=True)


def read_checkpoint(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The tensors and the state in `folder`; None if it holds no checkpoint.

    Raises:
        CheckpointError: naming the file that is missing, changed or unreadable.
    """
    path = folder / _STATE
    if not path.exists():
        return None
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        name, digest, state = head["tensors"], head["sha256"], head["state"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: must be a checkpoint's JSON file, got {found}; {_START_ANEW}") from error
    file = folder / Path(name).name
    if not file.exists():
        raise CheckpointError(f"{file}: named by {path.name} but missing; {_START_ANEW}")
    data = file.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != digest:
        raise CheckpointError(f"{file}: must have the SHA-256 {digest}, got {found}; {_START_ANEW}")
    try:
        return load_tensors(data), state
    except SafetensorError as error:
        raise CheckpointError(f"{file}: must be a safetensors file: {error}; {_START_ANEW}") from error


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)
