"""Which items, or places, are meant by an argument `rows`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def chosen_rows(
    rows: np.ndarray | Sequence[int] | Sequence[bool] | None, count: int, *, repeats: bool = False
) -> np.ndarray:
    """The rows `(n,)` int64 that are meant by numbers, by a mask `(count,)` of bools, or by None: all.

    Raises
    ------
    ValueError
        Neither whole numbers nor a mask of that length, a number outside 0 .. count - 1, or (unless `repeats`) twice
        the same.

    Examples
    --------
    >>> chosen_rows([2, 0], 3).tolist(), chosen_rows([True, False, True], 3).tolist(), chosen_rows(None, 2).tolist()
    ([2, 0], [0, 2], [0, 1])
    """
    if rows is None:
        return np.arange(count)
    given = np.asarray(rows)
    if given.dtype == bool:
        if given.shape != (count,):
            raise ValueError(f"`rows` as a mask must be ({count},) bool, got {given.shape}")
        return np.flatnonzero(given)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and len(given)):
        raise ValueError(f"`rows` must be (n,) integers or a mask ({count},) bool, got {given.shape} {given.dtype}")
    outside = given[(given < 0) | (given >= count)]
    if len(outside):
        raise ValueError(f"`rows` must satisfy 0 <= row < {count}, got {outside[0]}")
    if not repeats:
        values, found = np.unique(given, return_counts=True)
        if len(values) < len(given):
            raise ValueError(f"`rows` must not repeat a row, got {values[found > 1][0]} {found.max()} times")
    return given.astype(np.int64)


__all__ = ["chosen_rows"]
