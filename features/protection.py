"""Which rows were safe from being dropped: the log's own record where rows were dropped, the labels elsewhere.

With missing labels the two differ. A dropped row's labels are gone, but a row that is still there carries its keep
probability: 1 says that it was protected, also where the label that protected it is null. Where nothing was dropped
only the labels tell, and one missing label leaves the event open. Such a row is unknown even when another label is 1:
known positives beside unknown negatives would overstate how often the event takes place.

This takes the labels to have gone missing after the sampling. Where they were null before it, they protected nothing;
validation tells the two apart (`missing_before_sampling`), and the closed-form corrections are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from features.errors import InputError
from features.scaling import numbers
from features.tables import Columns

TOLERANCE = 1e-6  # of a keep probability: it is often float32


def request_codes(chunks: list[pa.Array]) -> np.ndarray:
    """Codes `(N,)` int64 of dictionary-encoded request ids: 0, 1, 2, ... in the order of their first appearance.

    Examples
    --------
    >>> chunks = [pa.array(["b", "b", "a"]), pa.array(["a", "c"])]
    >>> request_codes([chunk.dictionary_encode() for chunk in chunks]).tolist()
    [0, 0, 1, 1, 2]
    """
    if not chunks:
        return np.empty(0, np.int64)
    if any(chunk.indices.null_count for chunk in chunks):
        raise InputError("a request id must not be null: its row belongs to no request")
    unified = pa.chunked_array(chunks).unify_dictionaries()
    return np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in unified.chunks]).astype(np.int64)


def row_event(labels: Sequence[np.ndarray]) -> np.ndarray:
    """The event `(n,)` float32 "any of these labels is 1": 0 or 1, NaN where a label is missing (also beside a 1).

    Parameters
    ----------
    labels : sequence of arrays `(n,)`
        0, 1 or NaN, one array per protecting column; at least one.

    Examples
    --------
    >>> row_event([np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.0, np.nan])]).tolist()
    [0.0, 1.0, nan]
    """
    event = np.zeros(len(labels[0]), np.float32)
    for label in labels:
        event[label > 0] = 1.0
    for label in labels:
        event[np.isnan(label)] = np.nan
    return event


def request_event(event: np.ndarray, requests: np.ndarray) -> np.ndarray:
    """The event `(N,)` float32 of the row's whole request: any of its rows' is 1; NaN where any of them is unknown.

    Parameters
    ----------
    event : array `(N,)`
        Of each row: 0, 1 or NaN.
    requests : array `(N,)` of int64
        Codes 0, 1, 2, ...

    Examples
    --------
    >>> request_event(np.array([0.0, 1.0, 0.0, 1.0, np.nan]), np.array([0, 0, 1, 2, 2])).tolist()
    [1.0, 1.0, 0.0, nan, nan]
    """
    unknown = np.isnan(event)
    result = (np.bincount(requests, weights=event > 0) > 0).astype(np.float32)
    result[np.bincount(requests, weights=unknown) > 0] = np.nan
    spread: np.ndarray = result[requests]
    return spread


def label_values(columns: Columns, name: str) -> np.ndarray:
    """Numbers `(n,)` of a column, NaN where missing."""
    values, missing = numbers(columns.block(name, 0, len(columns)), name)
    if missing is None:
        return values
    values = values.astype(np.float64)
    values[missing] = np.nan
    return values


__all__ = ["TOLERANCE", "label_values", "request_codes", "request_event", "row_event"]
