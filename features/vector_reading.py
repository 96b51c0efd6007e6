"""Reading a file of item vectors: which column holds them, what is wrong with it, and which encoder made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import Fault, InputError
from features.lists import first_elements, is_list
from features.tables import primitive
from features.vocabulary import Vocabulary, key_kind, type_fault

METADATA = b"galleryrank.embedding"  # of the Parquet schema; JSON, written by the embedding store
VERSION = 1


def embedding_head(path: Path, schema: pa.Schema) -> dict[str, Any] | None:
    """What a file's metadata say of its vectors: at least `encoder`, a fingerprint, and `version`.

    None for vectors from elsewhere, whose file has no such metadata.

    Raises
    ------
    InputError
        The metadata is there and cannot be understood, or is of another version: what it says must not be lost.
    """
    raw = (schema.metadata or {}).get(METADATA)
    if raw is None:
        return None
    name = METADATA.decode()
    try:
        said = json.loads(raw)
    except ValueError as error:
        raise InputError(Fault(f"metadata {name!r} must be JSON: {error}", path)) from error
    encoder = said.get("encoder") if isinstance(said, dict) else None
    if not isinstance(encoder, str) or not encoder:
        raise InputError(Fault(f"metadata {name!r} must name its encoder's fingerprint", path, value=encoder))
    if said.get("version") != VERSION:
        expectation = f"metadata {name!r} must be of version {VERSION}, the only one that is known here"
        raise InputError(Fault(expectation, path, value=said.get("version")))
    return dict(said)


def encoder_of(path: Path, schema: pa.Schema) -> str | None:
    """The fingerprint of the encoder that made a file (`embedding_head`); None for vectors from elsewhere."""
    head = embedding_head(path, schema)
    return None if head is None else str(head["encoder"])


class FileFaults:
    """Faults of one file: the first row of each kind, and how many there are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, column: str, message: str, bad: np.ndarray, first_row: int) -> None:
        """Note rows `first_row`, ... of which `bad` (n,) says whether they have this fault."""
        if bad.any():
            row, count = self._found.get((column, message), (first_row + int(bad.argmax()), 0))
            self._found[column, message] = (row, count + int(bad.sum()))

    def collected(self) -> list[Fault]:
        """One fault per column and kind."""
        return [
            Fault(message, self.path, column, row=row, count=count)
            for (column, message), (row, count) in self._found.items()
        ]


def vector_column(path: Path, schema: pa.Schema, item: str, vector: str | None) -> str:
    """The column of vectors: `vector`, or the only list-valued one."""
    if item not in schema.names:
        raise InputError(Fault("is missing", path, item))
    if vector is None:
        candidates = [field.name for field in schema if is_list(field.type)]
        if len(candidates) != 1:
            found = ", ".join(f"`{name}`" for name in candidates) or "none"
            raise InputError(Fault(f"must hold exactly one list-valued column, got {found}", path))
        return str(candidates[0])
    if vector not in schema.names:
        raise InputError(Fault("is missing", path, vector))
    return vector


def vector_block(column: pa.Array, name: str, width: int | None, faults: FileFaults, at: int) -> np.ndarray | None:
    """The vectors `(n, D)` of one batch; None when they cannot be a matrix (which is then a fault)."""
    elements, lengths = first_elements(column, np.iinfo(np.int32).max, name)
    if not (pa.types.is_floating(elements.type) or pa.types.is_integer(elements.type)):
        raise InputError(Fault(f"must hold lists of numbers, got type {column.type}", faults.path, name))
    null = column.is_null().to_numpy(zero_copy_only=False)
    faults.add(name, "vector must not be null", null, at)
    if width is None:
        width = int(lengths[int(np.argmin(null))]) if len(lengths) else 0
    wrong = (lengths != width) & ~null
    faults.add(name, f"vector must hold {width} numbers as the first one", wrong, at)
    values, missing = primitive(elements)
    with np.errstate(over="ignore"):  # beyond float32 a number is infinite, which the next line finds
        values = values.astype(np.float32, copy=False)
    finite = np.isfinite(values) if missing is None else np.isfinite(values) & ~missing
    if not finite.all():
        bad = np.zeros(len(lengths), bool)
        bad[np.repeat(np.arange(len(lengths)), lengths)[~finite]] = True
        faults.add(name, "vector must hold finite numbers", bad, at)
    return None if null.any() or wrong.any() or width == 0 else values.reshape(-1, width)


def id_index(chunks: list[pa.Array], name: str, data_type: pa.DataType, faults: FileFaults) -> Vocabulary | None:
    """The index of the ids; None when they cannot be one (which is then a fault)."""
    plain = data_type.value_type if pa.types.is_dictionary(data_type) else data_type
    kind = key_kind(plain)
    if kind not in ("int", "string"):
        fault = type_fault(name, None, str(data_type))
        raise InputError(Fault(fault.message, faults.path, name))
    ids = pa.chunked_array(chunks, plain).combine_chunks()
    faults.add(name, "id must not be null", ids.is_null().to_numpy(zero_copy_only=False), 0)
    keys = primitive(ids)[0] if kind == "int" else ids.to_numpy(zero_copy_only=False)
    repeated = np.asarray(pd.Series(keys).duplicated(), bool)
    valid = np.asarray(ids.is_valid().to_numpy(zero_copy_only=False), bool)
    faults.add(name, "id must appear in one row only", np.logical_and(repeated, valid), 0)
    if ids.null_count or repeated.any():
        return None
    return Vocabulary(name, kind, keys)


__all__ = [
    "METADATA",
    "VERSION",
    "FileFaults",
    "embedding_head",
    "encoder_of",
    "id_index",
    "vector_block",
    "vector_column",
]
