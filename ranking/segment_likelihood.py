"""The spread of random intercepts between segments and their posterior modes, by Laplace's approximation.

Of `ranking.segment_refit`, whose formulas and letters these are: l_s the weighted log likelihood of segment s as a
function of its offset delta, d the design effect, tau the spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.log_space import log_sigmoid

__all__ = ["Fit", "Segments"]

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

CELL = 0.02  # logits this close are one: an offset moves by less than 1e-4, and a million rows become thousands
SPREADS = np.geomspace(0.005, 3.0, 33)  # of tau, in logits: from half a per cent to a factor of twenty
_STEPS = 100
_SECTIONS = 20  # of the bracket around the best of SPREADS: tau to 1e-4 of itself
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Fit:
    """Offsets at one tau: posterior modes (K,), their standard deviations (K,) and the gain in log likelihood."""

    tau: float
    delta: Vector
    errors: Vector
    gain: float


@dataclass(frozen=True)
class Segments:
    """The likelihoods of K segments: cells of nearly equal logits, C of them instead of N rows.

    `eta`, `w`, `s` (C,): mean logit, weight and segment of a cell; `events` (K,) sum of w y; `d` the design effect.
    """

    eta: Vector
    w: Vector
    s: Codes
    events: Vector
    d: float

    @classmethod
    def of(cls, eta: Vector, y: Vector, w: Vector, s: Codes, n_codes: int, d: float) -> Segments:
        """From the rows of known segments; code 0 keeps an empty one, whose mode is 0 at every tau."""
        known = s > 0
        eta, y, w, s = eta[known], y[known], w[known], s[known]
        level = np.floor(eta / CELL).astype(np.int64)
        level -= level.min(initial=0)
        _, first, cell = np.unique(s * (level.max(initial=0) + 1) + level, return_index=True, return_inverse=True)
        total = np.bincount(cell, w)
        mean, events = np.bincount(cell, w * eta) / total, np.bincount(s, w * y, n_codes)
        return cls(mean, total.astype(np.float64), s[first], events.astype(np.float64), d)

    def best(self) -> Fit | None:
        """The most likely tau; None where it is 0."""
        path: list[Fit] = []
        for tau in SPREADS:
            path.append(self.at(tau, path[-1].delta if path else np.zeros_like(self.events)))
        top = max(range(len(path)), key=lambda i: path[i].gain)
        if path[top].gain <= 0.0:
            return None
        low, high = np.log(SPREADS[max(top - 1, 0)]), np.log(SPREADS[min(top + 1, len(path) - 1)])
        found = path[top]
        for _ in range(_SECTIONS):
            step = _GOLDEN * (high - low)
            inner, outer = (self.at(float(np.exp(x)), found.delta) for x in (high - step, low + step))
            low, high = (low, low + step) if inner.gain > outer.gain else (high - step, high)
            found = max(found, inner, outer, key=lambda fit: fit.gain)
        return found

    def at(self, tau: float, start: Vector) -> Fit:
        """Posterior modes by Newton steps kept within a bracket: the gradient falls monotonically in delta."""
        k, d = len(self.events), self.d
        high = tau**2 * np.bincount(self.s, self.w, k) / d  # |delta| = tau^2 |gradient of l / d| <= this
        low = -high
        delta = np.clip(start, low, high)
        for _ in range(_STEPS):
            p = np.exp(log_sigmoid(self.eta + delta[self.s]))
            gradient = (self.events - np.bincount(self.s, self.w * p, k)) / d - delta / tau**2
            information = np.bincount(self.s, self.w * p * (1.0 - p), k) / d
            low, high = np.where(gradient >= 0, delta, low), np.where(gradient <= 0, delta, high)
            step = delta + gradient / (information + 1.0 / tau**2)
            step = np.where((step >= low) & (step <= high), step, (low + high) / 2)
            moved, delta = float(np.abs(step - delta).max(initial=0.0)), step
            if moved < 1e-9:
                break
        gained = self.events * delta - np.bincount(self.s, self.w * self._grown(delta), k)  # (K,) l(delta) - l(0)
        gain = gained / d - delta**2 / (2 * tau**2) - 0.5 * np.log1p(tau**2 * information)
        return Fit(float(tau), delta, np.sqrt(1.0 / (information + 1.0 / tau**2)), float(gain.sum()))

    def _grown(self, delta: Vector) -> Vector:
        """softplus(eta + delta) - softplus(eta) per cell."""
        result: Vector = log_sigmoid(-self.eta) - log_sigmoid(-(self.eta + delta[self.s]))
        return result
