"""Numbers on a common scale that one outlier cannot stretch: (x - median) / interquartile range, clipped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from features.errors import Fault, InputError
from features.tables import Block, primitive

CLIP = 8.0  # interquartile ranges: beyond this a heavy tail says "large" and no more
SAMPLE_LIMIT = 1 << 20  # quantiles are exact up to this many values


@dataclass(frozen=True)
class RobustScaler:
    """x -> (x - median) / IQR, clipped to ±8; a missing value becomes 0, which is the median.

    A column whose quartiles coincide (a rare 0/1 flag) is divided by its standard deviation instead, a constant one
    by 1. Infinite values are clipped like any other (the validator reports them in a log).

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
            The column does not hold numbers.
        """
        values, missing = numbers(column, self.name)
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


def numbers(column: Block, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values `(n,)` of a numeric column and the mask of missing ones (null or NaN; None = none is missing).

    Raises
    ------
    InputError
        The column does not hold numbers.
    """
    missing: np.ndarray | None = None
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
        nan = np.isnan(values)
        if nan.any():
            missing = nan if missing is None else missing | nan
    return values, missing


__all__ = ["CLIP", "RobustScaler", "ValueSample", "numbers"]
