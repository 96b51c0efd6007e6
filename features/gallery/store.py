"""The embedding store: one vector per item as Parquet, and the same rows as a memory-mapped matrix beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.artifact import fsync
from features.errors import Fault, InputError, raise_faults
from features.ids import is_id_type, is_string
from features.reading import open_parquet, unreadable
from features.vector_reading import METADATA, VERSION, embedding_head
from features.vectors import ItemVectors

VECTOR = "vector"
ROWS = 16_384  # per row group: 32 MB of 512 float32 numbers


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of items, with the fingerprints of the encoder that made them and of the photos it saw.

    Parameters
    ----------
    ids : array `(V,)`
        Distinct item ids: int64, or strings.
    matrix : array `(V, D)` float32
        Row i is the vector of `ids[i]`. It may be a read-only memory map.
    encoder : str
        `GalleryEncoder.fingerprint`: vectors of two encoders do not mix.
    photos : str
        sha256 of the photos that were embedded, in the order of the ids.
    item : str
        The id column's name in a file.
    task : str, optional
        Whose masks they were made under, by an encoder with modulation; None = the encoder's own vectors.

    Raises
    ------
    ValueError
        Shapes or types do not fit, or an id is repeated.

    Examples
    --------
    >>> vectors = Embeddings(np.array([30, 10]), np.eye(2, dtype=np.float32), "e" * 64, "p" * 64)
    >>> len(vectors), vectors.dim, vectors.item_vectors().rows(np.array([10, 99])).tolist()
    (2, 2, [2, 0])
    """

    ids: np.ndarray
    matrix: np.ndarray
    encoder: str
    photos: str
    item: str = "item_id"
    task: str | None = None

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.dtype != np.float32 or len(self.matrix) != len(self.ids):
            found = f"{self.matrix.shape} {self.matrix.dtype}"
            raise ValueError(f"`matrix` must be ({len(self.ids)}, D) float32, got {found}")
        if len(np.unique(self.ids)) != len(self.ids):
            raise ValueError(f"`ids` must be distinct, got {len(self.ids) - len(np.unique(self.ids))} repeated")

    def __len__(self) -> int:
        """How many items have a vector."""
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Numbers per vector, D."""
        return int(self.matrix.shape[1])

    def item_vectors(self) -> ItemVectors:
        """The vectors as the ranker takes them; row 0 is the zero vector of items without one."""
        ids = self.ids if self.ids.dtype.kind in "iu" else self.ids.tolist()
        return ItemVectors.from_arrays(self.item, ids, self.matrix, encoder=self.encoder)

    def write(self, path: Path | str) -> Path:
        """Write `path` (Parquet) and its sibling `<stem>.npy`; earlier files are replaced once the new ones are whole.

        The Parquet file is complete by itself; its metadata under `galleryrank.embedding` is JSON: encoder, photos,
        dim, version, the task where there is one, and the sha256 of the matrix, which ties the two files together.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        matrix = np.ascontiguousarray(self.matrix)
        head = {"encoder": self.encoder, "photos": self.photos, "dim": self.dim, "version": VERSION}
        head |= {} if self.task is None else {"task": self.task}
        ids = pa.array(self.ids if self.ids.dtype.kind in "iu" else self.ids.tolist())
        schema = pa.schema(
            [pa.field(self.item, ids.type), pa.field(VECTOR, pa.list_(pa.float32(), self.dim))],
            metadata={METADATA: json.dumps(head | {"sha256": _sha256(matrix)})},
        )
        with _replaced(_matrix_path(path)) as part, part.open("wb") as file:
            np.save(file, matrix, allow_pickle=False)
        with _replaced(path) as part, pq.ParquetWriter(part, schema) as writer:
            for start in range(0, max(len(ids), 1), ROWS):
                block = pa.array(matrix[start : start + ROWS].reshape(-1))
                vectors = pa.FixedSizeListArray.from_arrays(block, self.dim)
                writer.write_table(pa.table([ids[start : start + ROWS], vectors], schema=schema))
        fsync(path.parent)
        return path

    @classmethod
    def open(cls, path: Path | str, mmap: bool = True) -> Embeddings:
        """The vectors that `write` wrote.

        Parameters
        ----------
        path : Path
            The Parquet file.
        mmap : bool
            Map the sibling `<stem>.npy` into memory instead of reading the vectors from the Parquet file.

        Raises
        ------
        InputError
            A file is missing, damaged, or not of the other one's writing; the file was not made by an encoder.
        """
        path = Path(path)
        head, item = _head(path)
        try:
            table = pq.read_table(path, columns=[item] if mmap else [item, VECTOR])
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, error) from error
        column = table.column(item).combine_chunks()
        ids = column.to_numpy(zero_copy_only=False) if not is_string(column.type) else np.array(column.to_pylist(), str)
        if mmap:
            source, matrix = _matrix_path(path), _map(_matrix_path(path))
        else:
            values = table.column(VECTOR).combine_chunks().flatten()
            source, matrix = path, values.to_numpy(zero_copy_only=False).reshape(-1, head["dim"])
        if matrix.shape != (len(ids), head["dim"]) or matrix.dtype != np.float32:
            expected = f"must hold ({len(ids)}, {head['dim']}) float32 numbers as {path.name} says"
            raise InputError(Fault(f"{expected}, got {matrix.shape} {matrix.dtype}", source))
        if _sha256(matrix) != head["sha256"]:
            raise InputError(Fault(f"does not hold the vectors that {path.name} was written with: embed again", source))
        return cls(ids, matrix, head["encoder"], head["photos"], item, head.get("task"))


def _head(path: Path) -> tuple[dict[str, Any], str]:
    """What a file's metadata says of its vectors, and the name of its id column."""
    with open_parquet(path) as file:
        schema = file.schema_arrow
    head, key = embedding_head(path, schema), METADATA.decode()
    if head is None:
        raise InputError(Fault(f"was not made by an encoder: it has no metadata {key!r}", path))
    kinds = {"photos": str, "dim": int, "sha256": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(head.get(name), kind)]
    wrong += [] if isinstance(head.get("task"), str | None) else ["task"]
    faults = [Fault(f"metadata {key!r} must name {name!r}", path) for name in wrong]
    ids = [field.name for field in schema if field.name != VECTOR and is_id_type(field.type)]
    expected = pa.list_(pa.float32(), head["dim"]) if not wrong and head["dim"] > 0 else None
    if len(ids) != 1 or VECTOR not in schema.names or schema.field(VECTOR).type != expected:
        faults.append(Fault(f"must hold an id column and `{VECTOR}`, as `galleryrank embed` writes them", path))
    raise_faults(faults)
    return head, ids[0]


def _map(path: Path) -> np.ndarray:
    try:
        matrix: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(Fault("is missing beside its Parquet file: open that with mmap=False", path)) from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(Fault(f"cannot be read (truncated or damaged?): {error}", path)) from error
    return matrix


def _matrix_path(path: Path) -> Path:
    return path.with_suffix(".npy")


def _sha256(matrix: np.ndarray) -> str:
    return hashlib.sha256(matrix.data if matrix.size else b"").hexdigest()


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A temporary sibling to write, which takes the name `path` once it is whole and on disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        fsync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


__all__ = ["Embeddings"]
