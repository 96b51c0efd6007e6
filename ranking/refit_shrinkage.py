"""How much of the nodes' shifts is chance: shrinking them towards 0 by empirical Bayes over the nodes.

A refit on 56 positives moves a right correction by what 56 positives happen to be (trivago `deals`: predicted /
observed .72 after it, about 1 before). The closed form of `ranking.correction` is exact for a good model, so that the
identity is what to expect of a refit, and the nodes together tell how far a model of this log strays from it:

    shift_t = b_t + (a_t - 1) c_t,   c_t = sum w p (1 - p) z / sum w p (1 - p)      the refit's shift where it is known
    shift_t ~ N(delta_t, v_t),   delta_t ~ N(0, tau^2),   tau = argmax sum_t log N(shift_t; 0, v_t + tau^2)
    kept_t = shift_t tau^2 / (tau^2 + v_t)                                          [Efron and Morris 1975]

v_t is clustered by request. What is not kept, shift_t - kept_t, is a chance of the calibrate rows' outcomes, which are
the same whatever position the rows are scored at: it is estimated at the logged position, where the identity is what to
expect, and taken off the refits of both positions. Slopes stay as they are.

Notation: a, b, z, w as in `ranking.refit`; t a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ranking.log_space import log_sigmoid
from ranking.refit import AffineRefit

__all__ = ["Shift", "kept_shifts"]

SPREADS = np.geomspace(0.001, 3.0, 200)  # of tau, in logits; a finer one changes `kept` by less than a hundredth
LEAST_VARIANCE = SPREADS[0] ** 2  # where residuals happen to cancel: one node at 0 would count without bound


@dataclass(frozen=True)
class Shift:
    """The shift of one node's refit in logits and its variance; infinite where nothing is known of it.

    That is where nothing was fitted, and where the rows are of a single request: after a refit their residuals add up
    to 0, whatever the outcomes, and nothing says how another request would have moved it.
    """

    value: float
    variance: float

    @classmethod
    def of(
        cls, refit: AffineRefit, logits: ArrayLike, labels: ArrayLike, weights: ArrayLike, groups: ArrayLike
    ) -> Shift:
        """Of a refit and the rows it was fitted on.

        Args:
            refit: fitted on these rows.
            logits: (N,) z; read on labelled rows only.
            labels: (N,) 0, 1 or NaN (missing, left out).
            weights: (N,) 1 / pi.
            groups: (N,) request of each row.
        """
        if not (refit.positives and refit.negatives):
            return cls(0.0, float("inf"))
        y = np.asarray(labels, dtype=np.float64)
        w = np.asarray(weights, dtype=np.float64)
        keep = ~np.isnan(y) & (w > 0.0)
        z, y, w = np.asarray(logits, dtype=np.float64)[keep], y[keep], w[keep]
        p = np.exp(log_sigmoid(refit.apply(z)))
        information = w * p * (1.0 - p)
        total = float(information.sum())
        ids, requests = np.unique(np.asarray(groups)[keep], return_inverse=True)
        scores = np.bincount(requests, w * (y - p))
        centre = float(information @ z) / total if total > 0.0 else 0.0
        known = len(ids) > 1 and total**2 > 0.0  # no information where every p is 0 or 1
        variance = float(scores @ scores) / total**2 if known else float("inf")
        return cls(refit.intercept + (refit.slope - 1.0) * centre, variance)


def kept_shifts(shifts: Sequence[Shift]) -> tuple[NDArray[np.float64], float]:
    """(what is kept of each node's shift (K,), tau), both in logits.

    A node of infinite variance keeps 0 and says nothing about tau. A variance counts as 1e-6, a thousandth of a logit
    squared, at least.

    >>> kept, tau = kept_shifts([Shift(0.01, 0.001), Shift(-0.02, 0.001), Shift(0.35, 0.03)])  # one of few positives
    >>> kept.round(3).tolist(), tau
    ([0.0, -0.0, 0.0], 0.0)
    >>> kept, tau = kept_shifts([Shift(-0.2, 0.001), Shift(-0.25, 0.001), Shift(-0.3, 0.03)])  # a model that is off
    >>> kept.round(2).tolist(), round(tau, 2)
    ([-0.2, -0.25, -0.19], 0.23)
    """
    value, variance = np.array([s.value for s in shifts]), np.array([s.variance for s in shifts])
    known = np.isfinite(variance)
    variance = np.maximum(variance, LEAST_VARIANCE)
    taus = np.concatenate([[0.0], SPREADS])
    total = variance[known] + taus[:, None] ** 2  # (taus, known nodes)
    likelihood = -0.5 * (np.log(total) + value[known] ** 2 / total).sum(1)
    tau = float(taus[int(likelihood.argmax())])
    share = np.where(known, tau**2 / (tau**2 + np.where(known, variance, 1.0)), 0.0)
    return value * share, tau
