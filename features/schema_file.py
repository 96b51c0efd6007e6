"""dataset.toml as a file: read as TOML, its vectors replaced on demand, its photos checked by those who read them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from features.errors import Fault, InputError


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    InputError
        It cannot be read, or is no TOML (with its line).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Fault(f"cannot be read: {error.strerror}", path)) from error
    except UnicodeDecodeError as error:
        raise InputError(Fault(f"is not UTF-8 text: {error}", path)) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(Fault(f"is not valid TOML: {error}", path, key=_toml_line(str(error)))) from error


def replace_vectors(data: dict[str, Any], vectors: str | Literal[False]) -> None:
    """Put another file into [files].vectors; False takes it out, and the query item with it.

    A query item is there for its vector: without vectors its column has no part to play.

    Examples
    --------
    >>> data = {"files": {"vectors": "a.parquet"}, "columns": {"query_item": "query_id"}}
    >>> replace_vectors(data, False)
    >>> data
    {'files': {}, 'columns': {}}
    """
    files, columns = data.get("files"), data.get("columns")
    if isinstance(files, dict):
        files.pop("vectors", None)
        if vectors is not False:
            files["vectors"] = vectors
    if vectors is False and isinstance(columns, dict):
        columns.pop("query_item", None)


def gallery_faults(path: Path, data: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the photos and the [gallery] of the dataset.toml at `path`; none where it has neither."""
    files = data.get("files")
    if "gallery" not in data and not (isinstance(files, dict) and "photos" in files):
        return []
    from features.gallery.schema import GallerySchema  # most logs have no photos

    try:
        GallerySchema.from_dict(data, file=path)
    except InputError as error:
        return list(error.faults)
    return []


def _toml_line(message: str) -> str | None:
    match = re.search(r"line (\d+)", message)
    return f"line {match[1]}" if match else None


__all__ = ["gallery_faults", "read_toml", "replace_vectors"]
