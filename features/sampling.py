"""Dropping negatives on purpose, in a way that can be undone: who is kept, with what probability, reproducibly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import Fault, InputError, raise_faults
from features.ids import hash_ids, mix
from features.scaling import numbers
from features.tables import Columns, as_arrow, one_chunk

TableLike = TypeVar("TableLike", pa.Table, pd.DataFrame)

_LOG = 0x6C6F67  # a log's rows and an encoded log's rows draw from different streams, so that one after the other
_ENCODED = 0x656E63  # with the same seed thins twice instead of keeping the same rows again


def downsample_negatives(
    table: TableLike,
    negative_rate: float | str,
    protected_by: Sequence[str],
    *,
    unit: str = "row",
    request: str | None = None,
    seed: int = 0,
    keep_prob: str = "keep_prob",
    first_row: int = 0,
) -> TableLike:
    """Keep every protected row (or request) and the others with probability `negative_rate`; write `keep_prob`.

    Weights 1 / keep_prob recover the full log in expectation: E[sum of kept y / keep_prob] = sum of y. Whether a row
    is kept depends on the seed and its number (or its request's id) alone, so a log may be thinned batch by batch.
    Thinning a log a second time needs another seed: with the same one, requests that were kept are kept again.

    Parameters
    ----------
    table : pa.Table or pandas.DataFrame
        N rows.
    negative_rate : float in (0, 1], or str
        The rate, or the column that holds one per row (known before the outcome; one value per request if those are
        the unit).
    protected_by : sequence of str
        0/1 columns; a row with any 1 is protected. A missing value protects nothing.
    unit : "row" or "request"
        What is kept or dropped as a whole; a request with one protected row is protected.
    request : str
        The request column, for unit "request".
    seed : int
    keep_prob : str
        The column to write, float64; multiplied into it where it exists.
    first_row : int
        The number of the first row, for unit "row", when `table` is a batch of a longer log. Requests must be whole.

    Raises
    ------
    InputError
        Lists missing columns; or a rate outside (0, 1]; or a rate that differs within a request.

    Examples
    --------
    >>> log = pd.DataFrame({"click": [1, 0, 0, 0, 0]})
    >>> downsample_negatives(log, 0.5, ["click"], seed=1)
       click  keep_prob
    0      1        1.0
    2      0        0.5
    3      0        0.5
    """
    if unit not in ("row", "request"):
        raise ValueError(f'`unit` must be "row" or "request", got {unit!r}')
    if unit == "request" and request is None:
        raise ValueError('`request` must name a column when `unit` is "request", got None')
    if not protected_by:
        raise ValueError("`protected_by` must name at least one column, got none")
    columns = Columns(table)
    rate_column: list[str] = [negative_rate] if isinstance(negative_rate, str) else []
    columns.require([*protected_by, *rate_column, *([request] if unit == "request" and request else [])])
    rows = len(columns)
    protected = np.zeros(rows, bool)
    for name in protected_by:
        protected |= np.nan_to_num(_values(columns, name), nan=0.0) > 0
    if isinstance(negative_rate, str):
        rates = negative_rates(columns, negative_rate)
    else:
        rates = np.full(rows, float(negative_rate))
        _check_rates(rates)
    if unit == "request" and request is not None:
        hashes = hash_ids(one_chunk(as_arrow({"id": columns[request]})["id"]))
        protected, codes = _any_of_request(protected, hashes)
        _check_constant(rates, codes, str(negative_rate))
    else:
        hashes = mix(np.arange(first_row, first_row + rows, dtype=np.uint64))
    kept = protected | (_uniform(hashes, seed, _LOG) < rates)
    probability = np.where(protected, 1.0, rates)
    if keep_prob in columns:
        probability = probability * _values(columns, keep_prob)
    return _write(table, kept, keep_prob, probability[kept])


def negative_sample_mask(
    protected: Any, rate: float | np.ndarray, seed: int, requests: Any = None, rows: Any = None
) -> np.ndarray:
    """Which rows of an encoded log to keep: all protected ones, the others with probability `rate`.

    Parameters
    ----------
    protected : array or tensor `(N,)`
        Non-zero = protected. NaN (unknown, because protecting labels are missing) is refused.
    rate : float in (0, 1], or array `(N,)`
    seed : int
    requests : array or tensor `(N,)` of int64, optional
        Keep or drop whole requests; one with a protected row is protected. None: rows are the unit.
    rows : array or tensor `(N,)` of int64, optional
        Row numbers (`EncodedLog.row`), so that a row's fate does not depend on which others are there.
        None: 0, 1, ..., N - 1.

    Returns
    -------
    array `(N,)` bool

    Raises
    ------
    ValueError
        A NaN in `protected`, or a rate outside (0, 1].
    InputError
        Rates that differ within a request.

    Examples
    --------
    >>> negative_sample_mask(np.array([1, 0, 0, 0]), 0.5, seed=3).tolist()
    [True, False, True, False]
    """
    known = np.asarray(protected)
    _check_known(known)
    guarded = known != 0
    rates = np.broadcast_to(np.asarray(rate, np.float64), guarded.shape)
    _check_rates(rates)
    if requests is not None:
        hashes = mix(np.asarray(requests).astype(np.uint64))
        guarded, codes = _any_of_request(guarded, hashes)
        _check_constant(rates, codes, "rate")
    else:
        number = np.arange(len(guarded), dtype=np.uint64) if rows is None else np.asarray(rows).astype(np.uint64)
        hashes = mix(number)
    return np.asarray(guarded | (_uniform(hashes, seed, _ENCODED) < rates), bool)


def negative_rates(table: Any, column: str) -> np.ndarray:
    """The rates `(N,)` float64 that a column of `table` (any kind that `Columns` reads) declares, one per row.

    Raises
    ------
    InputError
        The column is missing or holds no numbers; or some rates are missing or outside (0, 1]: both kinds at once,
        each with its first row, value and count.

    Examples
    --------
    >>> negative_rates({"rate": np.array([0.1, 0.5])}, "rate").tolist()
    [0.1, 0.5]
    """
    columns = table if isinstance(table, Columns) else Columns(table)
    columns.require([column])
    rates = _values(columns, column)
    missing = np.isnan(rates)
    wrong = ~missing & ~((rates > 0) & (rates <= 1))
    faults = []
    if missing.any():
        message = "must not be missing: it is the rate at which the row's negatives were kept"
        faults.append(Fault(message, column=column, row=int(missing.argmax()), count=int(missing.sum())))
    if wrong.any():
        row = int(wrong.argmax())
        message = "must satisfy 0 < rate <= 1"
        faults.append(Fault(message, column=column, row=row, value=float(rates[row]), count=int(wrong.sum())))
    raise_faults(faults)
    return rates


def _uniform(hashes: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """Numbers `(n,)` in [0, 1) by hashing (stream, seed, unit): the same for a unit wherever it stands."""
    salt = mix(np.array([seed, stream], np.int64).astype(np.uint64))
    word = mix(mix(hashes ^ salt[0]) ^ salt[1])
    uniform: np.ndarray = (word >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def _any_of_request(protected: np.ndarray, requests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether any row of the row's request is protected `(n,)`, and codes `(n,)` of the requests."""
    codes, distinct = pd.factorize(requests)
    engaged = np.bincount(codes, weights=protected, minlength=len(distinct)) > 0
    return engaged[codes], codes


def _values(columns: Columns, name: str) -> np.ndarray:
    values, missing = numbers(columns.block(name, 0, len(columns)), name)
    values = values.astype(np.float64)
    if missing is not None:
        values[missing] = np.nan
    return values


def _check_known(protected: np.ndarray) -> None:
    unknown = np.isnan(protected) if protected.dtype.kind == "f" else np.zeros(protected.shape, bool)
    if unknown.any():
        raise ValueError(
            f"`protected` must be 0 or 1 in every row, got NaN in {int(unknown.sum())} rows (the first is row "
            f"{int(unknown.argmax())}): their protecting labels are missing, so which of them may be dropped is "
            "unknown; keep every row (a rate of 1), leave these rows out, or let [sampling].protected_by name columns "
            "that are always labelled"
        )


def _check_rates(rates: np.ndarray) -> None:
    wrong = ~((rates > 0) & (rates <= 1))
    if wrong.any():
        raise ValueError(f"the negative rate must satisfy 0 < rate <= 1, got {rates[int(wrong.argmax())]}")


def _check_constant(rates: np.ndarray, codes: np.ndarray, name: str) -> None:
    first = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    wrong = rates != rates[first[codes]]
    if wrong.any():
        row = int(wrong.argmax())
        message = "must be one rate per request when requests are sampled"
        raise InputError(Fault(message, column=name, row=row, value=float(rates[row]), count=int(wrong.sum())))


def _write(table: TableLike, kept: np.ndarray, name: str, probability: np.ndarray) -> TableLike:
    if isinstance(table, pd.DataFrame):
        frame = table.loc[kept].copy()
        frame[name] = probability
        return frame
    thinned = table.filter(pa.array(kept))
    column = pa.array(probability, pa.float64())
    if name in thinned.schema.names:
        return thinned.set_column(thinned.schema.get_field_index(name), name, column)
    return thinned.append_column(name, column)


__all__ = ["downsample_negatives", "negative_rates", "negative_sample_mask"]
