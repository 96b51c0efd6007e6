"""Numbers on a common scale that one outlier cannot stretch: (x - median) / interquartile range, clipped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from features.errors import Fault, InputError
from features.tables import Block, Columns, primitive

CLIP = 8.0  # interquartile ranges: beyond this a heavy tail says "large" and no more
SAMPLE_LIMIT = 1 << 20  # quantiles are exact up to this many values


@dataclass(frozen=True)
class RobustScaler:
    """x -> (x - median) / IQR, clipped to ±8; a missing value becomes 0, which is the median.

    A column whose quartiles coincide (a rare 0/1 flag) is divided by its standard deviation instead, a constant one
    by 1. Infinite values are refused, as in a log: they are no measurement that could be large.

    Parameters
    ----------
    name : str
        The column, for messages.
    center, scale : float
        The median and the interquartile range in training, in the column's own unit.
    indicator : bool
        Whether training had missing values, so that a second column says "is missing" (1) or not (0).

    Examples
    --------
    >>> scaler = RobustScaler.fit("price", np.array([100.0, 120.0, 140.0, 160.0, 9000.0]))
    >>> scaler.center, scaler.scale
    (140.0, 40.0)
    >>> scaler.transform(np.array([100.0, np.nan, 9000.0])).tolist()
    [-1.0, 0.0, 8.0]
    """

    name: str
    center: float = 0.0
    scale: float = 1.0
    indicator: bool = False

    @classmethod
    def fit(
        cls, name: str, values: np.ndarray, weights: np.ndarray | None = None, *, indicator: bool = False
    ) -> RobustScaler:
        """Fit to finite values `(n,)`, each counted `weights` `(n,)` times; no values give the identity."""
        if weights is not None:
            values, weights = values[weights > 0], weights[weights > 0]
        if not len(values):
            return cls(name, indicator=indicator)
        values = values.astype(np.float64, copy=False)
        low, center, high = np.quantile(values, [0.25, 0.5, 0.75], weights=weights, method="inverted_cdf")
        scale = float(high - low)
        if scale <= 0:
            mean = np.average(values, weights=weights)
            scale = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
        usable = np.isfinite(scale) and scale > abs(float(center)) * 1e-12  # below that it is rounding, not spread
        return cls(name, float(center), scale if usable and scale > 0 else 1.0, indicator)

    def transform(
        self, column: Block, out: np.ndarray | None = None, missing_out: np.ndarray | None = None
    ) -> np.ndarray:
        """Scale a column.

        Parameters
        ----------
        column : array `(n,)` of numbers or booleans
        out : array `(n,)` float32, optional
            Where to write; may be a strided column of a matrix.
        missing_out : array `(n,)` float32, optional
            Where to write 1 for a missing value and 0 otherwise.

        Raises
        ------
        InputError
            The column does not hold numbers, or an infinite one.
        """
        values, missing, infinite = examined_numbers(column, self.name)
        if infinite:
            raise InputError(infinite_faults(self.name, values))
        if out is None:
            out = np.empty(len(values), np.float32)
        # float64 for one block of rows at a time: a large number minus a large median is nothing in float32
        scaled = np.subtract(values, self.center, dtype=np.float64)
        scaled /= self.scale
        np.clip(scaled, -CLIP, CLIP, out=scaled)
        if missing is not None:
            scaled[missing] = 0.0
        out[...] = scaled
        if missing_out is not None:
            missing_out[...] = 0.0 if missing is None else missing
        return out

    def state(self) -> dict[str, Any]:
        """JSON-able; `RobustScaler(**state)` gives the scaler back."""
        return asdict(self)


class ValueSample:
    """The finite values of a stream: all of them up to a limit, then every 2nd, 4th, 8th, ...

    Which values stay depends on their number in the stream alone, so neither on the batch size nor on a seed.

    Parameters
    ----------
    limit : int
        The most values to hold.

    Examples
    --------
    >>> sample = ValueSample(limit=4)
    >>> for start in (0, 3, 6):
    ...     sample.add(np.arange(start, start + 3.0))
    >>> sample.values().tolist()
    [0.0, 4.0, 8.0]
    """

    def __init__(self, limit: int = SAMPLE_LIMIT) -> None:
        self.limit, self.stride, self.seen = limit, 1, 0
        self._parts: list[np.ndarray] = []
        self._held = 0

    def add(self, values: np.ndarray) -> None:
        """Take the next values of the stream; NaN and infinite ones do not count."""
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            values = values if finite.all() else values[finite]
        kept = values[-self.seen % self.stride :: self.stride].copy()
        self.seen += len(values)
        self._parts.append(kept)
        self._held += len(kept)
        while self._held > self.limit:
            thinned = self.values()[::2].copy()
            self.stride *= 2
            self._parts, self._held = [thinned], len(thinned)

    def values(self) -> np.ndarray:
        """The values held, in the order of the stream."""
        if not self._parts:
            return np.empty(0)
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0]


def infinite_faults(name: str, values: np.ndarray) -> list[Fault]:
    """One fault, with the first row, its value and the count, if any of `values` `(n,)` is plus or minus infinity.

    Examples
    --------
    >>> print(infinite_faults("price", np.array([1.0, -np.inf, np.inf]))[0])
    column `price`, row 1: must be finite (null or NaN for a missing number), got -inf (2 rows)
    """
    if values.dtype.kind != "f":
        return []
    infinite = np.isinf(values)
    if not infinite.any():
        return []
    row = int(infinite.argmax())
    message = "must be finite (null or NaN for a missing number)"
    return [Fault(message, column=name, row=row, value=float(values[row]), count=int(infinite.sum()))]


def raise_infinite(columns: Columns, names: Iterable[str], error: InputError) -> NoReturn:
    """Raise `error`, which one block of a table gave, with rows and counts of the whole table.

    Parameters
    ----------
    columns : Columns
        The table.
    names : iterable of str
        Its numeric columns that were being read; every one with an infinite value is named.
    error : InputError
        Raised as it is unless it is about a row.
    """
    if any(fault.row is None for fault in error.faults):
        raise error
    whole = ((name, numbers(columns.block(name, 0, len(columns)), name)[0]) for name in names)
    raise InputError([fault for name, values in whole for fault in infinite_faults(name, values)]) from error


def numbers(column: Block, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values `(n,)` of a numeric column and the mask of missing ones (null or NaN; None = none is missing).

    Raises
    ------
    InputError
        The column does not hold numbers.
    """
    return examined_numbers(column, name)[:2]


def examined_numbers(column: Block, name: str) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """As `numbers`, and whether any value is infinite: the look at NaN tells both, which costs nothing more."""
    missing: np.ndarray | None = None
    infinite = False
    if isinstance(column, np.ndarray):
        values = column
    else:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_null(column.type) or pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        types = pa.types
        if not (types.is_integer(column.type) or types.is_floating(column.type) or types.is_boolean(column.type)):
            raise InputError(Fault(f"must hold numbers, got type {column.type}", column=name))
        values, missing = primitive(column)
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    if values.dtype.kind not in "iuf":
        raise InputError(Fault(f"must hold numbers, got type {values.dtype}", column=name))
    if values.dtype.kind == "f":
        finite = np.count_nonzero(np.isfinite(values))
        if finite < len(values):
            nan = np.isnan(values)
            known = len(values) - np.count_nonzero(nan)
            infinite = bool(finite < known)
            if known < len(values):
                missing = nan if missing is None else missing | nan
    return values, missing, infinite


__all__ = ["CLIP", "RobustScaler", "ValueSample", "examined_numbers", "infinite_faults", "numbers", "raise_infinite"]
