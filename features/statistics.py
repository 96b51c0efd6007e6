"""What was known of an item or a user before a row's time: counts and sums over strictly earlier rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa


def earlier_statistics(keys: Any, time: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """For every row, over the rows of the same key with a strictly earlier time: how many, and the sum of `values`.

        counts_i = #{j: key_j = key_i, time_j < time_i}        sums_i = sum of values_j over the same j

    Rows of the same time (one request's rows, or the row itself) never enter: rates formed over the training rows
    themselves hand the label to the feature, which drove predicted / observed down to .53 on a real log.

    Parameters
    ----------
    keys : array `(N,)` of integers or strings
        Item or user ids. A missing key has no history: count 0, sums 0.
    time : array `(N,)` of numbers or datetimes
    values : array `(N, K)` or `(N,)` of numbers
        Labels or prices, say. A NaN adds nothing to the sum but its row is counted; to count only labelled rows,
        pass the mask of labelled ones as a further column.

    Returns
    -------
    counts : array `(N,)` int64
    sums : array `(N, K)` float64 (or `(N,)`, as `values`)

    Raises
    ------
    ValueError
        The lengths differ, or a time is missing.

    Examples
    --------
    >>> counts, clicks = earlier_statistics(["a", "a", "a", "b"], [1, 2, 2, 3], [1.0, 1.0, 0.0, 1.0])
    >>> counts.tolist(), clicks.tolist()
    ([0, 1, 1, 0], [0.0, 1.0, 1.0, 0.0])
    """
    codes, _ = pd.factorize(_array(keys))
    moments, table = _array(time), np.asarray(_array(values))
    flat = table.ndim == 1
    table = table[:, None] if flat else table
    if not len(codes) == len(moments) == len(table):
        raise ValueError(
            f"`keys`, `time` and `values` must be equally long, got {len(codes)}, {len(moments)} and {len(table)}"
        )
    ranks, _ = pd.factorize(moments, sort=True)
    if (ranks < 0).any():
        raise ValueError(f"`time` must not be missing, got {int((ranks < 0).sum())} missing")
    order = np.lexsort((ranks, codes))
    key, rank = codes[order], ranks[order]
    new_key = np.ones(len(key), bool)
    new_key[1:] = key[1:] != key[:-1]
    new_time = new_key.copy()
    new_time[1:] |= rank[1:] != rank[:-1]
    place = np.arange(len(key))
    first_of_key = np.maximum.accumulate(np.where(new_key, place, 0))  # (N,) where the row's key begins
    first_of_time = np.maximum.accumulate(np.where(new_time, place, 0))  # (N,) where its rows of the same time begin
    counts = np.empty(len(key), np.int64)
    counts[order] = first_of_time - first_of_key
    sums = np.empty(table.shape, np.float64)
    for k in range(table.shape[1]):  # one column at a time bounds the memory
        running = np.concatenate([[0.0], np.cumsum(np.nan_to_num(table[order, k].astype(np.float64), nan=0.0))])
        sums[order, k] = running[first_of_time] - running[first_of_key]
    counts[codes < 0] = 0
    sums[codes < 0] = 0.0
    return counts, sums[:, 0] if flat else sums


def _array(values: Any) -> Any:
    """A NumPy or pandas array; Arrow integers with nulls stay integers."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        if pa.types.is_integer(values.type) and values.null_count:
            return values.to_pandas(integer_object_nulls=True).to_numpy()
        return values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
    if isinstance(values, (pd.Series, np.ndarray)):
        return values.to_numpy() if isinstance(values, pd.Series) else values
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else array


__all__ = ["earlier_statistics"]
