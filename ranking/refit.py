"""A two-parameter affine refit of a head's logit on held-out rows, weighted by the inverse keep probability.

Notation: z the logit of a corrected probability, a and b the slope and the intercept, pi the keep probability of a row.

    logit p' = a * z + b,   (a, b) = argmin sum_i (1 / pi_i) * log loss(y_i, sigmoid(a * z_i + b)),   a > 0

This is Platt's scaling on the logit. The closed form of `ranking.correction` is exact for a Bayes-optimal model; what a
misspecified one keeps of a bias goes here, at the cost of no ranking within a head, since a > 0. It must not be used to
hide a wrong correction: after it the *overall* ratio of predicted to observed is near 1 whatever went before (a and b
see to that), so calibration is judged in slices of p_any, before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ranking.log_space import Array, log_sigmoid, logit_from_log

__all__ = ["AffineRefit", "logit_from_log"]

Vector = NDArray[np.float64]

_STEPS = 100
_LONGEST_STEP = 20.0  # in logits: where all p saturate, the curvature vanishes and the Newton step says nothing
_TOLERANCE = 1e-14  # of the Newton decrement, in mean log loss: far below a standard error of any log


@dataclass(frozen=True)
class AffineRefit:
    """The fitted map of one head: logit p' = slope * logit p + intercept.

    Attributes:
        slope, intercept: a > 0 and b; the identity by default.
        slope_se, intercept_se: their standard errors (sandwich, clustered where groups were given); NaN where the
            parameter was not estimated.
        positives, negatives: the labelled rows that it was fitted on.
        reason: why less than two parameters were fitted; None where both were.
    """

    slope: float = 1.0
    intercept: float = 0.0
    slope_se: float = float("nan")
    intercept_se: float = float("nan")
    positives: int = 0
    negatives: int = 0
    reason: str | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope) and self.slope > 0 and np.isfinite(self.intercept)):
            raise ValueError(
                f"`slope` must be finite and > 0 and `intercept` finite, got {self.slope} and {self.intercept}"
            )

    @classmethod
    def fit(
        cls,
        logits: ArrayLike,
        labels: ArrayLike,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        *,
        min_count: int = 10,
    ) -> AffineRefit:
        """Fit by damped Newton steps in float64.

        Only the intercept is fitted, with a = 1, and `reason` says so, where two parameters are more than the rows can
        carry: fewer than `min_count` positives or negatives, constant logits, logits that separate the labels (the
        optimum lies at infinity), or an optimum with a <= 0 (the score would be turned round). Without a positive or
        without a negative the identity is kept.

        Args:
            logits: (N,) logits of the corrected probabilities; `logit_from_log` makes them from log probabilities.
            labels: (N,) 0/1; NaN = missing, left out. For an implied head: NaN where the parent is 0.
            weights: (N,) 1 / pi, so that the kept rows speak for the dropped ones; None = 1. Weight 0 leaves out.
            groups: (N,) request of each row, for the standard errors: rows of one request are not independent.
            min_count: the least number of positives and of negatives for which a slope is fitted.

        Raises:
            ValueError: differing lengths, a logit that is not finite, a label outside {0, 1}, a negative weight.

        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(-2, 1, 50_000)
        >>> y = rng.random(50_000) < 1 / (1 + np.exp(-(0.8 * z + 0.5)))
        >>> fitted = AffineRefit.fit(z, y)
        >>> abs(fitted.slope - 0.8) < 3 * fitted.slope_se, abs(fitted.intercept - 0.5) < 3 * fitted.intercept_se
        (True, True)
        """
        z, y, w, g = _rows(logits, labels, weights, groups)
        positives = int(np.count_nonzero(y))
        negatives = len(y) - positives
        if positives == 0 or negatives == 0:
            none = "positives" if positives == 0 else "negatives"
            return cls(positives=positives, negatives=negatives, reason=f"no {none}: left as it was")
        reason = _why_not_two(z, y, positives, negatives, min_count)
        if reason is None:
            centre, scale = float(np.average(z, weights=w)), float(z.std())  # a well-conditioned Newton system
            X = np.stack([(z - centre) / scale, np.ones_like(z)])  # (2, N)
            theta, covariance = _newton(X, np.zeros_like(z), y, w, g)
            slope = float(theta[0] / scale)
            if slope > 0:
                back = np.array([[1.0 / scale, 0.0], [-centre / scale, 1.0]])  # to (a, b) of the logit itself
                slope_se, intercept_se = np.sqrt(np.diag(back @ covariance @ back.T))
                intercept = float(theta[1] - slope * centre)
                return cls(slope, intercept, float(slope_se), float(intercept_se), positives, negatives)
            reason = f"the best slope, {slope:.3g}, is not > 0: intercept only"
        theta, covariance = _newton(np.ones((1, len(z))), z, y, w, g)
        error = float(np.sqrt(covariance[0, 0]))
        return cls(1.0, float(theta[0]), float("nan"), error, positives, negatives, reason)

    def apply(self, logits: Array) -> Array:
        """a * z + b of any shape, float64; arrays give arrays and tensors give tensors on the same device."""
        if isinstance(logits, torch.Tensor):
            return logits.double() * self.slope + self.intercept
        return np.asarray(logits, dtype=np.float64) * self.slope + self.intercept

    def apply_log(self, log_p: Array) -> Array:
        """log p' from log p, of any shape: the form in which `ranking.correction` hands probabilities over.

        >>> float(np.exp(AffineRefit(slope=2.0, intercept=0.0).apply_log(np.log(0.25))).round(12))  # odds (1/3)^2
        0.1
        """
        result: Array = log_sigmoid(self.apply(logit_from_log(log_p)))
        return result

    def to_dict(self) -> dict[str, float | int | str | None]:
        """Plain values for JSON; a standard error that does not exist is None, because JSON has no NaN."""
        return {name: None if value != value else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AffineRefit:
        """The inverse of `to_dict`.

        Raises:
            ValueError: unknown or missing names, all of them at once, or values outside their range.
        """
        names = {field.name for field in fields(cls)}
        if values.keys() != names:
            unknown, missing = sorted(values.keys() - names), sorted(names - values.keys())
            raise ValueError(
                f"an affine refit has the fields {sorted(names)}, got unknown {unknown}, missing {missing}"
            )
        errors = {name: float("nan") for name in ("slope_se", "intercept_se") if values[name] is None}
        return cls(**{**values, **errors})


def _rows(
    logits: ArrayLike, labels: ArrayLike, weights: ArrayLike | None, groups: ArrayLike | None
) -> tuple[Vector, Vector, Vector, NDArray[np.int64] | None]:
    """The labelled rows of positive weight, checked; groups as codes 0, 1, ..."""
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones(y.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    g = None if groups is None else np.asarray(groups)
    shapes = {"logits": z.shape, "labels": y.shape, "weights": w.shape} | ({} if g is None else {"groups": g.shape})
    if z.ndim != 1 or len(set(shapes.values())) > 1:
        raise ValueError(f"`logits`, `labels`, `weights` and `groups` must have one shape (N,), got {shapes}")
    observed = ~np.isnan(y)
    faults = (
        ("labels", "0, 1 or NaN", y, observed & (y != 0) & (y != 1)),
        ("weights", "finite and >= 0", w, ~(np.isfinite(w) & (w >= 0))),
        ("logits", "finite on labelled rows", z, observed & ~np.isfinite(z)),
    )
    for name, expected, values, bad in faults:
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"`{name}` must be {expected}, got {values[row]} in row {row} ({int(bad.sum())} such rows)"
            )
    keep = observed & (w > 0)
    codes = None if g is None else np.unique(g[keep], return_inverse=True)[1].astype(np.int64)
    return z[keep], y[keep], w[keep], codes


def _why_not_two(z: Vector, y: Vector, positives: int, negatives: int, min_count: int) -> str | None:
    """Why a slope cannot be fitted, or None. In one dimension separation is an order of extremes, so it is checked."""
    for count, name in ((positives, "positives"), (negatives, "negatives")):
        if count < min_count:
            return f"{count} {name}, fewer than {min_count}: intercept only"
    ones, zeros = z[y == 1], z[y == 0]
    if z.min() == z.max():
        return "the logits are constant: intercept only"
    if zeros.max() <= ones.min() or ones.max() <= zeros.min():
        return "the logits separate positives from negatives: intercept only"
    return None


def _newton(X: Vector, offset: Vector, y: Vector, w: Vector, groups: NDArray[np.int64] | None) -> tuple[Vector, Vector]:
    """Minimise the weighted mean log loss of sigmoid(theta X + offset): theta (K,) and its covariance (K, K).

    X is (K, N), its last row the intercept's ones. The loss is convex and its optimum finite (checked before); a step
    is halved until the loss falls by a quarter of what the gradient promises, so it converges from anywhere.
    """
    w = w / w.sum()
    theta = np.zeros(len(X))
    theta[-1] = np.log((w @ y) / (w @ (1.0 - y))) - w @ offset  # the base rate: near the optimum whatever the shift
    eta = theta @ X + offset
    value = _log_loss(eta, y, w)
    for _ in range(_STEPS):
        p = np.exp(-np.logaddexp(0.0, -eta))
        gradient = X @ (w * (p - y))
        hessian = (X * (w * p * (1.0 - p))) @ X.T
        # A trace of ridge in the step (not in the optimum): p (1 - p) may underflow far from it.
        step = np.linalg.solve(hessian + 1e-12 * max(float(np.trace(hessian)), 1e-12) * np.eye(len(X)), gradient)
        step *= _LONGEST_STEP / max(float(np.abs(step).max()), _LONGEST_STEP)
        decrement = float(gradient @ step)
        if decrement < _TOLERANCE:
            break
        damping = 1.0
        while damping > 1e-10:
            trial = theta - damping * step
            trial_eta = trial @ X + offset
            trial_value = _log_loss(trial_eta, y, w)
            if trial_value <= value - 0.25 * damping * decrement:
                break
            damping /= 2
        else:  # no float64 step improves: this is the optimum to rounding
            break
        theta, eta, value = trial, trial_eta, trial_value
    p = np.exp(-np.logaddexp(0.0, -eta))
    bread = np.linalg.inv((X * (w * p * (1.0 - p))) @ X.T)
    scores = X * (w * (p - y))  # (K, N)
    if groups is not None:
        scores = np.stack([np.bincount(groups, weights=row) for row in scores])  # (K, requests)
    return theta, bread @ (scores @ scores.T) @ bread


def _log_loss(eta: Vector, y: Vector, w: Vector) -> float:
    return float(w @ (np.logaddexp(0.0, eta) - y * eta))
