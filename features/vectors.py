"""Item vectors: stored once per item and gathered by row, never copied into the log."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import Fault, InputError, raise_faults
from features.lists import first_elements, is_list
from features.reading import open_parquet, read_batches
from features.tables import Block, primitive
from features.vocabulary import Vocabulary, key_kind, type_fault

BATCH_ROWS = 1024  # 2 MB of 512 float32 numbers; the decoder holds several times that


class ItemVectors:
    """One vector per item; row 0 is the zero vector of items without one.

    Parameters
    ----------
    key : Vocabulary
        From item ids to rows 1..V.
    matrix : array `(V + 1, D)` float32
        The vectors, row 0 all zeros.

    Examples
    --------
    >>> vectors = ItemVectors.from_arrays("item", np.array([30, 10]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> vectors.rows(np.array([10, 99])).tolist(), vectors.matrix[2].tolist(), vectors.dim
    ([2, 0], [3.0, 4.0], 2)
    """

    def __init__(self, key: Vocabulary, matrix: np.ndarray) -> None:
        if matrix.ndim != 2 or matrix.dtype != np.float32 or len(matrix) != len(key) + 1:
            raise ValueError(f"`matrix` must be ({len(key) + 1}, D) float32, got {matrix.shape} {matrix.dtype}")
        if matrix[0].any():
            raise ValueError("row 0 of `matrix` must be zeros, got other numbers")
        self.key, self.matrix = key, matrix

    @classmethod
    def from_arrays(cls, name: str, ids: np.ndarray | list[str], vectors: np.ndarray) -> ItemVectors:
        """From distinct `ids` `(V,)` of the column `name` and their `vectors` `(V, D)`."""
        matrix = _zeros(len(vectors) + 1, vectors.shape[1])
        matrix[1:] = vectors
        integer = isinstance(ids, np.ndarray) and ids.dtype.kind in "iu"
        return cls(Vocabulary(name, "int" if integer else "string", ids), matrix)

    @classmethod
    def from_parquet(cls, path: Path | str, item: str, vector: str | None = None) -> ItemVectors:
        """Read a file batch by batch into one preallocated matrix.

        Parameters
        ----------
        path : Path
            A Parquet file with one row per item.
        item : str
            Its id column.
        vector : str, optional
            Its list-valued column; the only one if not given.

        Raises
        ------
        InputError
            The file cannot be read; a column is missing or of another type; an id is null or repeated; a vector is
            null, holds NaN or an infinite number, or is longer or shorter than the first. Every fault at once.
        """
        path = Path(path)
        with open_parquet(path) as file:
            rows, schema = int(file.metadata.num_rows), file.schema_arrow
        vector = _vector_column(path, schema, item, vector)
        matrix: np.ndarray | None = None
        keys: list[pa.Array] = []
        faults = _Faults(path)
        at = 0
        for batch in read_batches(path, [item, vector], BATCH_ROWS):
            ids, column = batch.column(item), batch.column(vector)
            keys.append(ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids)
            width = None if matrix is None else matrix.shape[1]
            block = _vector_block(column, vector, width, faults, at)
            if block is not None:
                if matrix is None:
                    matrix = _zeros(rows + 1, block.shape[1])
                matrix[at + 1 : at + 1 + len(block)] = block
            at += len(ids)
        key = _key(keys, item, schema.field(item).type, faults)
        raise_faults(faults.collected())
        if matrix is None or key is None:
            raise InputError(Fault("holds no vectors", path, vector))
        return cls(key, matrix)

    def __len__(self) -> int:
        """How many items have a vector."""
        return len(self.key)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.matrix.shape[1])

    def rows(self, ids: Block) -> np.ndarray:
        """The row `(n,)` int32 of each id, 0 where there is no vector."""
        return self.key.encode(ids)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of ids and numbers: two files with the same fingerprint hold the same vectors in the same order."""
        digest = hashlib.sha256(repr((self.key.kind, self.matrix.shape)).encode())
        keys = self.key.keys
        digest.update(keys.tobytes() if isinstance(keys, np.ndarray) else "\0".join(keys).encode())
        digest.update(np.ascontiguousarray(self.matrix).data)
        return digest.hexdigest()

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able metadata and arrays for `from_state`; the matrix is not copied."""
        meta, arrays = self.key.state()
        return {"key": meta, "fingerprint": self.fingerprint}, {**arrays, "matrix": self.matrix}

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> ItemVectors:
        """The vectors that `state` described.

        Raises
        ------
        InputError
            Ids or numbers are not those that the fingerprint was taken of.
        """
        vectors = cls(Vocabulary.from_state(meta["key"], arrays), arrays["matrix"])
        if vectors.fingerprint != meta["fingerprint"]:
            wanted, found = meta["fingerprint"][:12], vectors.fingerprint[:12]
            raise InputError(f"item vectors must have the fingerprint {wanted}..., got {found}...")
        return vectors


def _zeros(rows: int, width: int) -> np.ndarray:
    """Memory where torch would take it, on a 64-byte boundary: its products depend on that in their last bits."""
    import torch

    matrix: np.ndarray = torch.zeros(rows, width).numpy()
    return matrix


class _Faults:
    """Faults of one file: the first row of each kind, and how many there are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, column: str, message: str, bad: np.ndarray, first_row: int) -> None:
        if bad.any():
            row, count = self._found.get((column, message), (first_row + int(bad.argmax()), 0))
            self._found[column, message] = (row, count + int(bad.sum()))

    def collected(self) -> list[Fault]:
        return [
            Fault(message, self.path, column, row=row, count=count)
            for (column, message), (row, count) in self._found.items()
        ]


def _vector_column(path: Path, schema: pa.Schema, item: str, vector: str | None) -> str:
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


def _vector_block(column: pa.Array, name: str, width: int | None, faults: _Faults, at: int) -> np.ndarray | None:
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
    values = values.astype(np.float32, copy=False)
    finite = np.isfinite(values) if missing is None else np.isfinite(values) & ~missing
    if not finite.all():
        bad = np.zeros(len(lengths), bool)
        bad[np.repeat(np.arange(len(lengths)), lengths)[~finite]] = True
        faults.add(name, "vector must hold finite numbers", bad, at)
    return None if null.any() or wrong.any() or width == 0 else values.reshape(-1, width)


def _key(chunks: list[pa.Array], name: str, data_type: pa.DataType, faults: _Faults) -> Vocabulary | None:
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


__all__ = ["ItemVectors"]
