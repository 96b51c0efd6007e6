"""Vectors at unit length and the similarity of one pair: what all indexes share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float32]

ITEM_BLOCK = 4096  # vectors read at a time


class UnitVectors:
    """A matrix `(V, D)` read at unit length, block by block: only the lengths are kept.

    >>> UnitVectors([[3.0, 4.0], [0.0, 0.0]]).rows(slice(0, 2)).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """

    def __init__(self, matrix: npt.ArrayLike, name: str = "matrix") -> None:
        self.matrix = np.asarray(matrix)
        if self.matrix.ndim != 2 or 0 in self.matrix.shape:
            raise ValueError(f"`{name}` must be (rows, D) with at least one of each, got shape {self.matrix.shape}")
        self._lengths = np.empty((len(self.matrix), 1))
        for start in range(0, len(self.matrix), ITEM_BLOCK):
            block = np.asarray(self.matrix[start : start + ITEM_BLOCK], np.float64)
            lengths = np.linalg.norm(block, axis=1, keepdims=True)
            if not np.isfinite(lengths).all():
                row = start + int(np.isfinite(lengths).argmin())
                raise ValueError(f"`{name}` must hold finite numbers, got others in row {row}")
            self._lengths[start : start + ITEM_BLOCK] = lengths
        self._lengths[self._lengths == 0.0] = 1.0

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.matrix.shape[1])

    def rows(self, rows: slice | Rows) -> Similarities:
        """The vectors `(n, D)` of `rows`, float32, of length 1 (or 0)."""
        return np.ascontiguousarray(np.divide(self.matrix[rows], self._lengths[rows], dtype=np.float64), np.float32)


def closest(items: UnitVectors, units: Similarities, query: Rows, rows: Rows, k: int) -> tuple[Rows, Similarities]:
    """The k best of each query's candidates, by their similarity computed pair by pair.

    A product of two vectors taken alone has the same bits wherever they stand, so ties are ties; blocks of a matrix
    product promise no such thing. Every index ends here, and the same pair has one similarity in all of them.

    Args:
        items: The collection.
        units: `(Q, D)` the queries at unit length.
        query: `(N,)` the query of each candidate, ascending.
        rows: `(N,)` the candidates, ascending within a query, at least k of them.
        k: How many are kept.

    Returns:
        rows `(Q, k)` and similarities `(Q, k)`, best first, ties by the lower row.
    """
    similarity = np.empty(len(rows), np.float32)
    step = max(1, 2**21 // items.dim)  # 16 MB of vectors
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        similarity[part] = np.einsum("nd,nd->n", items.rows(rows[part]), units[query[part]])
    np.clip(similarity, -1.0, 1.0, out=similarity)
    key = (query << 32) - _ordered(similarity)
    order = np.argsort(key, kind="stable")
    first = np.searchsorted(query, np.arange(len(units)))
    chosen = order[first[:, None] + np.arange(k)]
    return rows[chosen], similarity[chosen]


def query_units(queries: npt.ArrayLike, dim: int) -> Similarities:
    """The queries `(Q, D)` at unit length; a ValueError says what is wrong with them."""
    array = np.asarray(queries)
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"`queries` must be (Q, {dim}) as the items, got shape {array.shape}")
    return UnitVectors(array, "queries").rows(slice(None)) if len(array) else np.empty((0, dim), np.float32)


def exclusions(exclude: npt.ArrayLike | None, queries: int, items: int) -> Rows | None:
    """`exclude` as int64 rows `(Q,)`, or None where nothing is excluded."""
    if exclude is None:
        return None
    rows = row_vector("exclude", exclude, queries, items, lowest=-1)
    return rows if (rows >= 0).any() else None


def row_vector(name: str, rows: npt.ArrayLike, count: int | None, items: int, *, lowest: int) -> Rows:
    """Row numbers `(count,)` within lowest..items - 1 as int64; a ValueError names the argument otherwise."""
    array = np.asarray(rows)
    if array.ndim != 1 or (count is not None and len(array) != count):
        raise ValueError(f"`{name}` must be ({'N' if count is None else count},) rows, got shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"`{name}` must hold integers, got {array.dtype}")
    array = array.astype(np.int64)
    wrong = (array < lowest) | (array >= items)
    if wrong.any():
        raise ValueError(f"`{name}` must lie within {lowest}..{items - 1}, got {array[wrong][0]}")
    return array


def check_k(k: int, items: int, left_out: Rows | None) -> None:
    """Refuse more results than there are items."""
    most = items - (left_out is not None)
    if not 1 <= k <= most:
        raise ValueError(f"`k` must lie within 1..{most} (the items that can be found), got {k}")


def _ordered(similarity: Similarities) -> Rows:
    """Integers that sort as the numbers do."""
    bits = (similarity + np.float32(0.0)).view(np.int32)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
