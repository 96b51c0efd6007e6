"""Ids are 64-bit integers or strings: their stable hash, and the index from ids to rows of a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as pt

UInt64 = np.ndarray


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """The type of the values: a dictionary-encoded column counts as what its dictionary holds."""
    return dtype.value_type if pt.is_dictionary(dtype) else dtype


def is_id_type(dtype: pa.DataType) -> bool:
    """Whether a column of this type can be an id: integers and strings, also dictionary-encoded.

    Examples
    --------
    >>> is_id_type(pa.int32()), is_id_type(pa.dictionary(pa.int8(), pa.string())), is_id_type(pa.float64())
    (True, True, False)
    """
    dtype = plain_type(dtype)
    return bool(pt.is_integer(dtype) or is_string(dtype))


def is_string(dtype: pa.DataType) -> bool:
    """Whether values of this type are text, in any of Arrow's layouts."""
    return bool(pt.is_string(dtype) or pt.is_large_string(dtype) or pt.is_string_view(dtype))


def hash_ids(ids: pa.Array | pa.ChunkedArray) -> UInt64:
    """A 64-bit hash per id, the same on every machine and in every run.

    Integers of any width go through splitmix64, which is a bijection: two integers never share a hash. Strings are
    hashed once per distinct value (SipHash with a fixed key). All nulls share one hash.

    Parameters
    ----------
    ids : Arrow array (N,) of integers or strings

    Returns
    -------
    ndarray (N,) uint64

    Examples
    --------
    >>> a = hash_ids(pa.array([7, 8, 7], pa.int32())); bool(a[0] == a[2] != a[1])
    True
    >>> bool((a == hash_ids(pa.array([7, 8, 7], pa.int64()))).all())
    True
    """
    ids = _one_chunk(ids)
    if pt.is_integer(ids.type):
        hashes = mix(integers(ids))
        if ids.null_count:
            hashes[ids.is_null().to_numpy(zero_copy_only=False)] = _NULL
        return hashes
    encoded = ids.dictionary_encode()
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    table = np.append(pd.util.hash_array(distinct, categorize=False), _NULL)
    codes = encoded.indices.fill_null(len(distinct)) if ids.null_count else encoded.indices
    return table[codes.to_numpy(zero_copy_only=False)]


def hash_pairs(first: UInt64, second: UInt64) -> UInt64:
    """One hash (N,) for pairs of hashes; pairs that differ may (very rarely) share it, so a find is verified."""
    with np.errstate(over="ignore"):
        return mix(first * np.uint64(0x9E3779B97F4A7C15) + mix(second))


def mix(values: np.ndarray) -> UInt64:
    """splitmix64's finaliser: a bijection of 64-bit words whose every output bit depends on every input bit."""
    with np.errstate(over="ignore"):
        x = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def integers(ids: pa.Array) -> np.ndarray:
    """(N,) int64; nulls become 0 and unsigned values above 2^63 wrap, the same in every table."""
    filled = ids.fill_null(0) if ids.null_count else ids
    return np.asarray(filled.to_numpy(zero_copy_only=False)).astype(np.int64)


class IdIndex:
    """From ids to the rows of the table they are the key of; hashed once, asked per batch.

    Parameters
    ----------
    ids : Arrow array (V,) of distinct integers or strings, without nulls

    Examples
    --------
    >>> index = IdIndex(pa.array(["b", "a"]))
    >>> index.rows(pa.array(["a", "z", None, "b"])).tolist()
    [1, -1, -1, 0]
    """

    def __init__(self, ids: pa.Array | pa.ChunkedArray) -> None:
        ids = _one_chunk(ids)
        self.is_integer = bool(pt.is_integer(ids.type))
        values = integers(ids) if self.is_integer else ids.to_numpy(zero_copy_only=False).astype(object)
        self._index = pd.Index(values)

    def rows(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """The row (N,) int64 of each id, -1 for ids that are null or not there."""
        ids = _one_chunk(ids)
        if self.is_integer != bool(pt.is_integer(ids.type)):
            raise ValueError(f"`ids` must be of the same kind as the table's key, got {ids.type}")
        encoded = ids.dictionary_encode()  # ids repeat within a batch: look up each distinct one once
        distinct = encoded.dictionary
        values = integers(distinct) if self.is_integer else distinct.to_numpy(zero_copy_only=False).astype(object)
        found = np.append(self._index.get_indexer(values), -1).astype(np.int64)
        codes = encoded.indices.fill_null(len(distinct)) if ids.null_count else encoded.indices
        return found[codes.to_numpy(zero_copy_only=False)]


def _one_chunk(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of plain values: chunks joined, dictionaries decoded."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if pt.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    return ids.cast(pa.large_string()) if pt.is_string_view(ids.type) else ids


_NULL = np.uint64(0x6E756C6C6E756C6C)
