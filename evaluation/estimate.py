"""A number with its uncertainty, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evaluation.freedom import t_quantile

Z95 = 1.959963984540054  # standard normal quantile at .975


@dataclass(frozen=True)
class Estimate:
    """One metric of one head.

    Attributes:
        value: The metric; NaN where it is undefined.
        standard_error: Clustered by request; NaN where it is undefined.
        low, high: The 95 % interval: 1.96 standard errors each way, more where the error itself is poorly known.
        reason: Why the value or its interval is missing, in words; None where nothing is missing.

    >>> Estimate.linear(0.5, 0.1).to_dict()["low"]
    0.3040036015459946
    """

    value: float
    standard_error: float
    low: float
    high: float
    reason: str | None = None

    @classmethod
    def linear(
        cls,
        value: float,
        standard_error: float,
        freedom: float = math.inf,
        *,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        reason: str | None = None,
    ) -> Estimate:
        """value +- t standard errors, cut at `bounds` (a probability-like metric cannot leave [0, 1])."""
        low, high = normal_interval(value, standard_error, freedom)
        return cls(value, standard_error, _cut(low, bounds), _cut(high, bounds), reason)

    @classmethod
    def log(
        cls, value: float, standard_error: float, freedom: float = math.inf, *, reason: str | None = None
    ) -> Estimate:
        """value x exp(+- t standard errors / value): for ratios, which are positive and symmetric in the log."""
        low, high = log_interval(value, standard_error, freedom)
        return cls(value, standard_error, low, high, reason)

    @classmethod
    def missing(cls, reason: str) -> Estimate:
        """An undefined metric."""
        return cls(math.nan, math.nan, math.nan, math.nan, reason)

    def to_dict(self) -> dict[str, float | str | None]:
        """value, se, low, high, reason, ready for JSON: None instead of NaN."""
        numbers = (self.value, self.standard_error, self.low, self.high)
        value, se, low, high = (number if math.isfinite(number) else None for number in numbers)
        return {"value": value, "se": se, "low": low, "high": high, "reason": self.reason}


def normal_interval(value: float, standard_error: float, freedom: float = math.inf) -> tuple[float, float]:
    """value -+ t standard errors, t = 1.96 for endless degrees of freedom.

    >>> normal_interval(0.0, 1.0)
    (-1.959963984540054, 1.959963984540054)
    >>> round(normal_interval(0.0, 1.0, freedom=10.0)[1], 2)
    2.23
    """
    half = _quantile(freedom) * standard_error
    return value - half, value + half


def log_interval(value: float, standard_error: float, freedom: float = math.inf) -> tuple[float, float]:
    """value x exp(-+ t standard errors / value); (0, 0) for a value of 0 whose error is 0.

    >>> low, high = log_interval(2.0, 0.5)
    >>> round(low * high, 6)
    4.0
    """
    if value == 0.0:
        return (0.0, 0.0) if standard_error == 0.0 else (math.nan, math.nan)
    half = _quantile(freedom) * standard_error / value
    return value * math.exp(-half), value * math.exp(half)


def _quantile(freedom: float) -> float:
    return Z95 if math.isinf(freedom) else t_quantile(freedom)


def _cut(number: float, bounds: tuple[float, float]) -> float:
    return number if math.isnan(number) else min(max(number, bounds[0]), bounds[1])
