"""A directory on disk that is whole or not there: written beside its place, checksummed, synced, renamed; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from features.errors import Fault, InputError

MANIFEST = "manifest.json"
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}  # safetensors' names


@contextmanager
def new_directory(directory: Path, head: Mapping[str, Any]) -> Iterator[Path]:
    """A temporary sibling to fill, which gets a manifest and takes the name `directory` at the end of the block.

    Parameters
    ----------
    directory : Path
        An older directory of that name is replaced only once the new one is whole.
    head : mapping
        What the manifest says beside the checksums: `format`, the version; `kind`, where the directory names its own.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield part
        sums = {path.name: sha256(path) for path in sorted(part.iterdir())}
        write_json(part / MANIFEST, {**head, "sha256": sums})
        for path in [*part.iterdir(), part]:
            fsync(path)
        part.chmod(0o755)  # mkdtemp makes it private
        _replace(part, directory)
        fsync(directory.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def check_directory(
    directory: Path, kind: str, head: Mapping[str, Any], names: Sequence[str], *, more: bool = False
) -> None:
    """Refuse a directory that is not whole: every missing and every changed file at once.

    Parameters
    ----------
    directory, head
        As for `new_directory`.
    kind : str
        What the directory should be, for the messages: "gallery encoder".
    names : sequence of str
        The files that such a directory holds.
    more : bool
        It may hold others beside them, under a checksum too.

    Raises
    ------
    InputError
        Naming every file at fault.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise InputError(Fault(f"is not a {kind}: it has no {MANIFEST}", directory))
    manifest = content if isinstance(content := read_json(path), dict) else {}
    if manifest.get("kind") != head.get("kind"):
        raise InputError(Fault(f"does not describe a {kind}", path))
    if (found := manifest.get("format")) != head["format"]:
        raise InputError(Fault(f"this version reads format {head['format']} only", path, value=found))
    sums = manifest.get("sha256")
    if not isinstance(sums, dict) or not set(names) <= set(sums) or (set(sums) != set(names) and not more):
        raise InputError(Fault(f"does not list the files of a {kind}: it has been changed", path))
    faults = []
    for name, expected in sums.items():
        if not (directory / name).is_file():
            faults.append(Fault("is missing", directory / name))
        elif sha256(directory / name) != expected:
            faults.append(Fault("has been changed since it was saved: its checksum does not fit", directory / name))
    if faults:
        raise InputError(faults)


def read_format(directory: Path, kind: str | None, formats: Sequence[int]) -> int:
    """The format of a directory of this `kind`; the last of `formats` for one that `check_directory` will refuse.

    Raises
    ------
    InputError
        It is none of `formats`: a newer version's, say.
    """
    path = directory / MANIFEST
    content = read_json(path) if path.is_file() else {"kind": "none"}
    manifest = content if isinstance(content, dict) else {}
    if manifest.get("kind") != kind:
        return formats[-1]
    found = manifest.get("format")
    if not isinstance(found, int) or found not in formats:
        known = f"{', '.join(map(str, formats[:-1]))} and {formats[-1]}"
        raise InputError(Fault(f"this version reads formats {known} only", path, value=found))
    return found


def check_tensors(path: Path, expected: Mapping[str, torch.Tensor], prefix: str = "") -> None:
    """Refuse tensors whose names, shapes or types are not those of `expected`, from the file's header alone.

    Only tensors whose names begin with `prefix` are looked at; `expected` has their whole names.

    Raises
    ------
    InputError
        One fault per tensor; or the file is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            parts = {key: file.get_slice(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
            found = {key: (tuple(part.get_shape()), part.get_dtype()) for key, part in parts.items()}
    except (SafetensorError, OSError) as error:
        raise InputError(Fault(f"cannot be read as safetensors: {error}", path)) from error
    wanted = {name: (tuple(tensor.shape), DTYPES[tensor.dtype]) for name, tensor in expected.items()}
    messages = [f"tensor `{name}` is missing" for name in wanted.keys() - found.keys()]
    messages += [f"tensor `{name}` is not part of this network" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        if wanted[name] != found[name]:
            (shape, kind), (other, other_kind) = wanted[name], found[name]
            messages.append(f"tensor `{name}` must be {shape} {kind}, got {other} {other_kind}")
    if messages:
        raise InputError([Fault(message, path) for message in sorted(messages)])


def read_tensors(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a checked file whose names begin with `prefix`, under the rest of the name.

    Copy them into a network rather than put them there: a product's last bits depend on where its operands lie and in
    which order of dimensions, and tensors read from a file lie wherever they lay in it.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 (no mapping: it has no `in`)
        return {key.removeprefix(prefix): file.get_tensor(key) for key in keys}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as safetensors; copies, as it refuses tensors that share memory."""
    from safetensors.torch import save_file

    save_file({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that any reader takes: no NaN, no infinities."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file; `InputError` naming it where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Fault(f"cannot be read: {error}", path)) from error


def sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Wait until a file or a folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(part: Path, directory: Path) -> None:
    """Rename `part` to `directory`; a directory cannot be renamed over a full one, so the old one steps aside first."""
    if not directory.exists():
        part.rename(directory)
        return
    old = part.with_name(part.name + ".old")
    directory.rename(old)
    part.rename(directory)
    shutil.rmtree(old)
