"""What an estimator answers: a value per request, how every request moves it, and what is known to be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.checks import FloatArray
from evaluation.estimate import Estimate

__all__ = ["Valued"]


@dataclass(frozen=True, eq=False)
class Valued:
    """Expected engagements per request by one estimator.

    Attributes:
        value: NaN where it is undefined.
        influence: `(R,)` first-order effect of each request on the value; sums to 0.
        bias: What the estimate is known to lack because weights were clipped or placements were never shown; its
            square is added to the variance.
        reason: Why the value is undefined.
    """

    value: float
    influence: FloatArray
    bias: float = 0.0
    reason: str | None = None

    @classmethod
    def missing(cls, requests: int, reason: str) -> Valued:
        """An undefined value."""
        return cls(math.nan, np.full(requests, math.nan), 0.0, reason)

    @classmethod
    def mixed(cls, parts: Mapping[str, Valued], weights: Mapping[str, float]) -> Valued:
        """sum_t w_t V_t: what a utility of several engagements is worth; undefined where one of them is."""
        terms = [(weight, parts[head]) for head, weight in weights.items()]
        undefined = [f"{head}: {parts[head].reason}" for head in weights if parts[head].reason is not None]
        if undefined:
            return cls.missing(len(terms[0][1].influence), "; ".join(undefined))
        influence = np.sum([weight * part.influence for weight, part in terms], axis=0)
        value, bias = (sum(w * part.value for w, part in terms), sum(w * part.bias for w, part in terms))
        return cls(float(value), influence, float(bias))

    def minus(self, other: Valued) -> Valued:
        """The paired difference over the same requests; what both find hard cancels."""
        reason = self.reason or other.reason
        bias = self.bias - other.bias
        return Valued(self.value - other.value, self.influence - other.influence, bias, reason)

    def estimate(self, least: float = -math.inf) -> Estimate:
        """With its 95 % interval; errors are clustered by request.

        Args:
            least: What the true value cannot be below: the interval ends there, or at an estimate that is lower yet.

        >>> round(Valued(1.0, np.array([0.3, -0.3]), bias=0.4).estimate().standard_error, 4)
        0.5831
        """
        if self.reason is not None:
            return Estimate.missing(self.reason)
        if np.count_nonzero(self.influence) < 2:
            return Estimate(self.value, math.nan, math.nan, math.nan, "an interval needs two requests that differ")
        error = math.hypot(float(np.sqrt(np.sum(self.influence**2))), self.bias)
        return Estimate.linear(self.value, error, bounds=(min(least, self.value), math.inf))

    def to_dict(self, least: float = -math.inf) -> Mapping[str, float | str | None]:
        """value, se, low, high, reason for JSON."""
        return self.estimate(least).to_dict()
