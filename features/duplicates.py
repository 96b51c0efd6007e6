"""Duplicate impressions: rows that show the same item in the same request as an earlier row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.ids import hash_ids, hash_pairs

if TYPE_CHECKING:
    from features.log import Log


def pair_hashes(request: pa.ChunkedArray, item: pa.ChunkedArray) -> np.ndarray:
    """One hash (N,) uint64 per (request, item); two pairs may share one, so what it finds is verified."""
    return hash_pairs(hash_ids(request), hash_ids(item))


def repeated(hashes: np.ndarray) -> np.ndarray:
    """Row numbers (ascending) whose hash occurs more than once; one sorted copy of memory.

    Examples
    --------
    >>> repeated(np.array([5, 3, 5, 4], np.uint64)).tolist()
    [0, 2]
    """
    ordered = np.sort(hashes)
    shared = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered  # eight bytes per row
    if not len(shared):
        return np.empty(0, np.int64)
    place = np.minimum(np.searchsorted(shared, hashes), len(shared) - 1)
    return np.flatnonzero(shared[place] == hashes)


def duplicate_rows(dataset: Log, hashes: np.ndarray | None = None) -> np.ndarray:
    """The rows (ascending row numbers in the log) that repeat the request and item of an earlier row.

    A pass over the two ids keeps 8 bytes per row; a second reads the ids of suspects only and compares them exactly,
    so that a shared hash accuses nobody. Rows with a null id repeat nothing.

    Parameters
    ----------
    dataset : Log
    hashes : ndarray (num_rows,) uint64, optional
        `pair_hashes` of every row, when a pass has computed them already.
    """
    request, item = dataset.schema.columns.request, dataset.schema.columns.item
    if hashes is None:
        hashes = np.empty(dataset.num_rows, np.uint64)
        for batch in dataset.raw([request, item]):
            pair = pair_hashes(batch.table.column(request), batch.table.column(item))
            hashes[batch.start : batch.start + len(pair)] = pair
    suspects = repeated(hashes)
    if not len(suspects):
        return suspects
    found = pick_rows(dataset, [request, item], suspects)
    codes = [_codes(found.column(name)) for name in (request, item)]
    known = (codes[0] >= 0) & (codes[1] >= 0)
    pairs = codes[0][known] * (codes[1].max() + 1) + codes[1][known]
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return suspects[known][~first]


def pick_rows(dataset: Log, columns: Sequence[str], rows: np.ndarray) -> pa.Table:
    """The `rows` (ascending row numbers in the log, at least one) of `columns`, in one table."""
    picked = []
    for batch in dataset.raw(columns):
        lo, hi = np.searchsorted(rows, [batch.start, batch.start + batch.table.num_rows])
        if hi > lo:
            picked.append(batch.table.take(rows[lo:hi] - batch.start))
    return pa.concat_tables(picked).combine_chunks()


def _codes(ids: pa.ChunkedArray) -> np.ndarray:
    """Ids (N,) as consecutive int64 codes, -1 for null."""
    encoded = ids.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
