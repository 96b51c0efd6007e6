"""The exact CORP decomposition of the Brier score: miscalibration - discrimination + uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import label_vector, probability_vector, weight_vector
from evaluation.ordering import ScoreOrder


@dataclass(frozen=True)
class BrierDecomposition:
    """S = MCB - DSC + UNC.

    Attributes:
        brier: S, the weighted mean of (p - y)^2.
        miscalibration: MCB >= 0, what recalibrating by the best monotone map would gain; 0 is calibrated.
        discrimination: DSC >= 0, what that recalibrated forecast gains over the base rate.
        uncertainty: UNC = b (1 - b), the score of the base rate b.
    """

    brier: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def brier_decomposition(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> BrierDecomposition:
    """Brier score, split by isotonic regression of y on p [Dimitriadis, Gneiting & Jordan 2021].

    With c the isotonic (pool-adjacent-violators) fit and b the base rate: MCB = S(p) - S(c), DSC = S(b) - S(c),
    UNC = S(b). Exact, no bins to choose: uniform bins at low base rates err by many times the true term.

    The terms have no interval on purpose: c is fitted to the same rows, so MCB is above 0 for a calibrated model too,
    and an interval around it never covers the truth. Whether MCB is more than chance is what `calibration_test` says.

    Args:
        labels: `(N,)` 0 or 1.
        probabilities: `(N,)` within [0, 1].
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.

    Returns:
        The four terms; NaN when no row carries weight.

    >>> brier_decomposition([0, 1, 0, 1], [0.25, 0.25, 0.25, 0.25])
    BrierDecomposition(brier=0.3125, miscalibration=0.0625, discrimination=0.0, uncertainty=0.25)
    """
    from scipy.optimize import isotonic_regression  # 0.3 s that the other metrics need not pay

    y = label_vector("labels", labels)
    p = probability_vector("probabilities", probabilities, len(y))
    w = weight_vector(weights, len(y))
    counted = w > 0.0
    y, p, w = y[counted], p[counted], w[counted]
    if not len(w):
        return BrierDecomposition(float("nan"), float("nan"), float("nan"), float("nan"))
    order = ScoreOrder.of(p)
    mass = np.diff(order.cumulative(w), prepend=0.0)  # equal forecasts must stay equal: one point per forecast
    observed = np.clip(np.diff(order.cumulative(w * y), prepend=0.0) / mass, 0.0, 1.0)
    fitted = isotonic_regression(observed, weights=mass, increasing=False).x[order.group]
    total = float(w.sum())
    base = float(w @ y) / total
    score = float(w @ (p - y) ** 2) / total
    recalibrated = float(w @ (fitted - y) ** 2) / total
    uncertainty = float(w @ (base - y) ** 2) / total
    # the fit is at least as good as p and as b; rounding alone could say otherwise
    recalibrated = min(recalibrated, score, uncertainty)
    return BrierDecomposition(score, score - recalibrated, uncertainty - recalibrated, uncertainty)
