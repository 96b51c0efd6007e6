"""The importance-weighted single score that the multi-head model replaced, kept as a comparison: its rows and weights.

[Pinterest 2020], eq. (1), for a batch of n rows with y_i = 1 for an impression with any engagement, s_i the score:

    loss = -(1 / n) sum_i ImportanceWeight(i) * (y_i log s_i + (1 - y_i) log(1 - s_i))

ImportanceWeight(i) is set by the engagement type of row i. The score is no probability: its meaning is the weights'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ImportanceRows", "importance_rows"]


class ImportanceRows(NamedTuple):
    """The training rows of the single score: M rows made of N."""

    row: NDArray[np.int64]  # (M,) index into the log's rows, ascending
    label: NDArray[np.float32]  # (M,) 1 = engaged in any way, 0 = not
    weight: NDArray[np.float32]  # (M,) ImportanceWeight


def importance_rows(labels: ArrayLike, importance: Sequence[float] | ArrayLike, expand: bool = False) -> ImportanceRows:
    """Binary labels and importance weights of eq. (1) from the labels of T engagements.

    A row with several engagements has room for one type only: it takes the one of the largest weight, or, with
    `expand`, is repeated once per engagement with that engagement's weight ("duplicate the training data using a
    different engagement per sample"). A row without engagement has weight 1. A missing label counts as no engagement as
    long as another label of the row is observed (leaving such rows out would drop negatives only); a row with no label
    at all is left out.

    Args:
        labels: (N, T) 0/1, NaN = missing. A negative head (hide) is no engagement: leave its column out.
        importance: (T,) weight of each engagement type, finite and >= 0, not all 0.
        expand: repeat a row once per engagement.

    Raises:
        ValueError: shapes that do not fit, a label outside {0, 1, NaN}, an importance that is negative or not finite.

    >>> rows = importance_rows([[1, 1], [0, 0], [0, 1]], [1.0, 5.0])
    >>> rows.row.tolist(), rows.label.tolist(), rows.weight.tolist()
    ([0, 1, 2], [1.0, 0.0, 1.0], [5.0, 1.0, 5.0])
    >>> importance_rows([[1, 1], [0, 0]], [1.0, 5.0], expand=True).row.tolist()
    [0, 0, 1]
    """
    y = np.asarray(labels)
    if y.dtype.kind != "f":
        y = y.astype(np.float64)
    value = np.asarray(importance, dtype=np.float64)
    if y.ndim != 2 or value.shape != y.shape[1:]:
        raise ValueError(f"`labels` must have shape (N, T) and `importance` (T,), got {y.shape} and {value.shape}")
    if not (np.isfinite(value) & (value >= 0)).all() or not value.any():
        raise ValueError(f"`importance` must be finite, >= 0 and not all 0, got {value.tolist()}")
    missing = np.isnan(y)
    bad = ~missing & (y != 0) & (y != 1)
    if bad.any():
        row, head = divmod(int(bad.argmax()), y.shape[1])
        raise ValueError(
            f"`labels` must be 0, 1 or NaN, got {y[row, head]} in row {row}, head {head} ({int(bad.sum())} such labels)"
        )
    engaged = y == 1  # (N, T)
    count = engaged.sum(axis=1)  # (N,)
    copies = np.maximum(count, 1) if expand else np.ones(len(y), dtype=np.int64)
    copies = np.where(missing.all(axis=1), 0, copies)
    row_index = np.repeat(np.arange(len(y)), copies)  # (M,)
    label = count[row_index] > 0
    weight = np.ones(len(row_index))
    if expand:
        weight[label] = value[np.nonzero(engaged)[1]]  # both run through the engagements row by row
    else:
        weight[label] = np.where(engaged, value, 0.0).max(axis=1)[row_index[label]]
    return ImportanceRows(row_index, label.astype(np.float32), weight.astype(np.float32))
