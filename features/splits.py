"""Splits: every row of a log plays one of four roles, train / calibrate / tune / test, the same in every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import Fault, InputError
from features.ids import hash_ids, mix
from features.reading import time_ticks
from features.schema import ROLES

if TYPE_CHECKING:
    from features.log import Log

__all__ = ["NO_ROLE", "ROLES", "roles_by_hash", "roles_by_name", "roles_by_time", "row_roles"]

SALT = np.uint64(0x73706C697473)  # decouples the split's hash from every other use of the id's hash
NO_ROLE = -1


def roles_by_time(first_time: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The role of requests by their first time: train holds the earliest, test the latest.

    The request of rank r (0-based, of R) plays role k when the shares before k sum to at most r / R. Requests that
    start at the same time share the role of the first of them, so that no role starts before another has ended.

    Parameters
    ----------
    first_time : ndarray (R,)
        Time of each request's first row.
    shares : sequence of 4 floats summing to 1
        The share of requests of each of `ROLES`.

    Returns
    -------
    ndarray (R,) int8

    Examples
    --------
    >>> roles_by_time(np.array([30, 10, 20, 40]), (0.5, 0.25, 0.0, 0.25)).tolist()
    [1, 0, 0, 3]
    """
    ordered = np.sort(first_time)
    rank = np.searchsorted(ordered, first_time, side="left")
    cuts = np.round(np.cumsum(shares)[:-1] * len(first_time))
    return np.searchsorted(cuts, rank, side="right").astype(np.int8)


def roles_by_hash(hashes: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The role (N,) int8 of ids by their hash (N,) uint64: the first whose summed share exceeds hash / 2^64.

    It depends on the id alone, so an id keeps its role when the log grows or is shuffled.
    """
    uniform = (mix(hashes ^ SALT) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(np.cumsum(shares)[:-1], uniform, side="right").astype(np.int8)


def roles_by_name(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The role (N,) int8 that a column names; -1 where it is null or names none.

    Examples
    --------
    >>> roles_by_name(pa.array(["test", "train", None, "prod"])).tolist()
    [3, 0, -1, -1]
    """
    found = pc.index_in(values.cast(pa.string()), pa.array(ROLES))
    return found.fill_null(NO_ROLE).to_numpy(zero_copy_only=False).astype(np.int8)


def row_roles(dataset: Log) -> np.ndarray:
    """The role (num_rows,) int8 of every row of `dataset`, as its schema's [split] declares; streamed.

    Raises
    ------
    InputError
        A row without a time (by time), or a role that is none of the four (by column).
    """
    split, columns = dataset.schema.split, dataset.schema.columns
    if split.by == "time":
        return _by_first_time(dataset)
    roles = np.empty(dataset.num_rows, np.int8)
    key = {"request": columns.request, "item": columns.item, "column": str(split.column)}[split.by]
    for batch in dataset.raw([key]):
        values = batch.table.column(0)
        part = roles_by_name(values) if split.by == "column" else roles_by_hash(hash_ids(values), split.shares)
        if (part == NO_ROLE).any():
            i = int(np.flatnonzero(part == NO_ROLE)[0])
            message = f"must name a role ({', '.join(ROLES)})"
            raise InputError(Fault(message, batch.file, key, batch.first_row + i, str(values[i].as_py())))
        roles[batch.start : batch.start + len(part)] = part
    return roles


def _by_first_time(dataset: Log) -> np.ndarray:
    """One pass: each batch is reduced to its requests and their first time, plus four bytes per row."""
    request, time = dataset.schema.columns.request, str(dataset.schema.columns.time)
    hashes: list[np.ndarray] = []  # per batch: its distinct requests
    firsts: list[np.ndarray] = []  # per batch: their first time in the batch
    codes: list[np.ndarray] = []  # per batch: (rows,) index into the above
    for batch in dataset.raw([request, time]):
        times = batch.table.column(time)
        if times.null_count:
            row = batch.first_row + int(np.flatnonzero(times.is_null().to_numpy())[0])
            raise InputError(Fault("must not be null: the split goes by time", batch.file, time, row))
        distinct, code = np.unique(hash_ids(batch.table.column(request)), return_inverse=True)
        first = np.full(len(distinct), np.iinfo(np.int64).max)
        np.minimum.at(first, code, time_ticks(times))
        hashes.append(distinct)
        firsts.append(first)
        codes.append(code.astype(np.int32))
    if not codes:
        return np.empty(0, np.int8)
    requests, code = np.unique(np.concatenate(hashes), return_inverse=True)
    first = np.full(len(requests), np.iinfo(np.int64).max)
    np.minimum.at(first, code, np.concatenate(firsts))
    roles = roles_by_time(first, dataset.schema.split.shares)[code]  # per (batch, request)
    ends = np.cumsum([len(h) for h in hashes])
    return np.concatenate([part[c] for part, c in zip(np.split(roles, ends[:-1]), codes, strict=True)])
