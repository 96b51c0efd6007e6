"""Which rows an engagement saved from being dropped: the row's own, or that of any row of its request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.errors import InputError
from features.scaling import numbers
from features.tables import Columns, one_chunk

if TYPE_CHECKING:
    from features.dataset import Dataset


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


def row_protection(columns: Columns, names: list[str]) -> np.ndarray:
    """Where `(n,)` bool any of the columns `names` is 1; a missing value is no 1."""
    engaged = np.zeros(len(columns), bool)
    for name in names:
        values, missing = numbers(columns.block(name, 0, len(columns)), name)
        engaged |= values > 0 if missing is None else (values > 0) & ~missing
    return engaged


def request_protection(dataset: Dataset) -> np.ndarray:
    """Whether `(num_rows,)` bool the request of each row of the whole log, whatever its rows' roles, is protected."""
    request, names = dataset.schema.columns.request, dataset.schema.protected_by
    chunks: list[pa.Array] = []
    engaged: list[np.ndarray] = []
    for batch in dataset.raw([request, *names]):
        columns = Columns(batch.table)
        chunks.append(one_chunk(columns.block(request, 0, len(columns))).dictionary_encode())
        engaged.append(row_protection(columns, names))
    codes = request_codes(chunks)
    protected = np.bincount(codes, weights=np.concatenate(engaged)) > 0
    result: np.ndarray = protected[codes]
    return result


def label_values(columns: Columns, name: str) -> np.ndarray:
    """Numbers `(n,)` of a column, NaN where missing."""
    values, missing = numbers(columns.block(name, 0, len(columns)), name)
    if missing is None:
        return values
    values = values.astype(np.float64)
    values[missing] = np.nan
    return values


__all__ = ["label_values", "request_codes", "request_protection", "row_protection"]
