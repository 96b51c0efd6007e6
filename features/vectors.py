"""Item vectors: stored once per item and gathered by row, never copied into the log."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from features.errors import Fault, InputError, raise_faults
from features.reading import open_parquet, read_batches
from features.tables import Block
from features.vector_reading import FileFaults, encoder_of, id_index, vector_block, vector_column
from features.vocabulary import Vocabulary

BATCH_ROWS = 1024  # 2 MB of 512 float32 numbers; the decoder holds several times that


class ItemVectors:
    """One vector per item; row 0 is the zero vector of items without one.

    Parameters
    ----------
    key : Vocabulary
        From item ids to rows 1..V.
    matrix : array `(V + 1, D)` float32
        The vectors, row 0 all zeros.
    encoder : str, optional
        Fingerprint of the gallery encoder that made them (weights, preprocessing, pooling); None for vectors from
        elsewhere. Vectors of two encoders mean different things and must not meet in one model.

    Examples
    --------
    >>> vectors = ItemVectors.from_arrays("item", np.array([30, 10]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> vectors.rows(np.array([10, 99])).tolist(), vectors.matrix[2].tolist(), vectors.dim
    ([2, 0], [3.0, 4.0], 2)
    """

    def __init__(self, key: Vocabulary, matrix: np.ndarray, encoder: str | None = None) -> None:
        if matrix.ndim != 2 or matrix.dtype != np.float32 or len(matrix) != len(key) + 1:
            raise ValueError(f"`matrix` must be ({len(key) + 1}, D) float32, got {matrix.shape} {matrix.dtype}")
        if matrix[0].any():
            raise ValueError("row 0 of `matrix` must be zeros, got other numbers")
        self.key, self.matrix, self.encoder = key, matrix, encoder

    @classmethod
    def from_arrays(
        cls, name: str, ids: np.ndarray | list[str], vectors: np.ndarray, encoder: str | None = None
    ) -> ItemVectors:
        """From distinct `ids` `(V,)` of the column `name` and their `vectors` `(V, D)`, made by `encoder`."""
        matrix = _zeros(len(vectors) + 1, vectors.shape[1])
        matrix[1:] = vectors
        integer = isinstance(ids, np.ndarray) and ids.dtype.kind in "iu"
        return cls(Vocabulary(name, "int" if integer else "string", ids), matrix, encoder)

    @classmethod
    def from_parquet(cls, path: Path | str, item: str, vector: str | None = None) -> ItemVectors:
        """Read a file batch by batch into one preallocated matrix, and its encoder's fingerprint if it carries one.

        The fingerprint is in the metadata `galleryrank.embedding` that `galleryrank embed` writes.

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
            null, holds NaN or an infinite number, or is longer or shorter than the first. Every fault at once. Or the
            metadata cannot be understood.
        """
        path = Path(path)
        with open_parquet(path) as file:
            rows, schema = int(file.metadata.num_rows), file.schema_arrow
        encoder = encoder_of(path, schema)
        vector = vector_column(path, schema, item, vector)
        matrix: np.ndarray | None = None
        keys: list[pa.Array] = []
        faults = FileFaults(path)
        at = 0
        for batch in read_batches(path, [item, vector], BATCH_ROWS):
            ids, column = batch.column(item), batch.column(vector)
            keys.append(ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids)
            width = None if matrix is None else matrix.shape[1]
            block = vector_block(column, vector, width, faults, at)
            if block is not None:
                if matrix is None:
                    matrix = _zeros(rows + 1, block.shape[1])
                matrix[at + 1 : at + 1 + len(block)] = block
            at += len(ids)
        key = id_index(keys, item, schema.field(item).type, faults)
        raise_faults(faults.collected())
        if matrix is None or key is None:
            raise InputError(Fault("holds no vectors", path, vector))
        return cls(key, matrix, encoder)

    def __len__(self) -> int:
        """How many items have a vector."""
        return len(self.key)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.matrix.shape[1])

    def rows(self, ids: Block) -> np.ndarray:
        """The row `(n,)` int32 of each id, 0 where there is no id or no vector of it."""
        if _all_missing(ids):  # such a column has lost its type: pandas makes floats of it, whatever the ids are
            return np.zeros(len(ids), np.int32)
        return self.key.encode(ids)

    def extends(self, other: ItemVectors) -> bool:
        """Whether every item of `other` is here too, with the same vector bit for bit.

        Examples
        --------
        >>> old = ItemVectors.from_arrays("item", np.array([30]), np.array([[1.0, 2.0]]))
        >>> new = ItemVectors.from_arrays("item", np.array([10, 30]), np.array([[3.0, 4.0], [1.0, 2.0]]))
        >>> new.extends(old), old.extends(new)
        (True, False)
        """
        if (self.dim, self.key.kind) != (other.dim, other.key.kind):
            return False
        rows = self.rows(_plain(other.key.keys))
        if not rows.all():
            return False
        ours, theirs = self.matrix.view(np.uint32), other.matrix.view(np.uint32)
        return all(
            np.array_equal(ours[rows[start : start + BATCH_ROWS]], theirs[start + 1 : start + 1 + BATCH_ROWS])
            for start in range(0, len(rows), BATCH_ROWS)
        )

    def updated(self, newer: ItemVectors) -> ItemVectors:
        """These vectors and the `newer` ones, which win where an item is in both; of one encoder, one width.

        Examples
        --------
        >>> old = ItemVectors.from_arrays("item", np.array([10, 30]), np.array([[3.0], [1.0]]))
        >>> both = old.updated(ItemVectors.from_arrays("item", np.array([30, 40]), np.array([[2.0], [5.0]])))
        >>> both.matrix[both.rows(np.array([10, 30, 40])), 0].tolist()
        [3.0, 2.0, 5.0]
        """
        if (self.dim, self.key.kind) != (newer.dim, newer.key.kind):
            found = f"{newer.dim} numbers by {newer.key.kind} ids"
            raise ValueError(f"`newer` must hold {self.dim} numbers by {self.key.kind} ids, got {found}")
        old, new = _plain(self.key.keys), _plain(newer.key.keys)
        kept = np.flatnonzero(newer.rows(old) == 0)
        encoder = newer.encoder or self.encoder
        if not len(kept):
            return ItemVectors(newer.key, newer.matrix, encoder)
        matrix = _zeros(1 + len(newer) + len(kept), self.dim)
        matrix[: len(newer) + 1] = newer.matrix
        np.take(self.matrix, kept + 1, axis=0, out=matrix[len(newer) + 1 :])
        keys = pa.concat_arrays([pa.array(new), pa.array(old).take(pa.array(kept))])
        ids = keys.to_numpy() if self.key.kind == "int" else keys.to_pylist()
        return ItemVectors(Vocabulary(newer.key.name, self.key.kind, ids), matrix, encoder)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of ids and numbers: two tables with the same fingerprint hold the same vectors in the same order.

        Of the content alone, whichever `encoder` made it.
        """
        digest = hashlib.sha256(repr((self.key.kind, self.matrix.shape)).encode())
        keys = self.key.keys
        digest.update(keys.tobytes() if isinstance(keys, np.ndarray) else "\0".join(keys).encode())
        digest.update(np.ascontiguousarray(self.matrix).data)
        return digest.hexdigest()

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able metadata and arrays for `from_state`; the matrix is not copied."""
        meta, arrays = self.key.state()
        return {"key": meta, "fingerprint": self.fingerprint, "encoder": self.encoder}, {
            **arrays,
            "matrix": self.matrix,
        }

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> ItemVectors:
        """The vectors that `state` described.

        Raises
        ------
        InputError
            Ids or numbers are not those that the fingerprint was taken of.
        """
        vectors = cls(Vocabulary.from_state(meta["key"], arrays), arrays["matrix"], meta.get("encoder"))
        if vectors.fingerprint != meta["fingerprint"]:
            wanted, found = meta["fingerprint"][:12], vectors.fingerprint[:12]
            raise InputError(f"item vectors must have the fingerprint {wanted}..., got {found}...")
        return vectors


def _plain(keys: np.ndarray | list[str]) -> Block:
    return keys if isinstance(keys, np.ndarray) else pa.array(keys, pa.large_string())


def _all_missing(ids: Block) -> bool:
    if isinstance(ids, np.ndarray):
        return bool(ids.dtype.kind == "f" and np.isnan(ids).all())
    return ids.null_count == len(ids)


def _zeros(rows: int, width: int) -> np.ndarray:
    """Memory where torch would take it, on a 64-byte boundary: its products depend on that in their last bits."""
    import torch

    matrix: np.ndarray = torch.zeros(rows, width).numpy()
    return matrix


__all__ = ["ItemVectors"]
