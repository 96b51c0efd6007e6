"""Probabilities judged as they are: log loss, normalised entropy, Brier, predicted / observed, with influences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, label_vector, probability_vector, weight_vector

Influenced = tuple[float, FloatArray]


def log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Weighted mean of -[y log p + (1 - y) log(1 - p)], in nats.

    Probabilities are clipped to [eps, 1 - eps] with eps the machine epsilon of their type (float32 1.2e-7, float64
    2.2e-16), as scikit-learn does: a float32 cannot tell 1 - 1e-9 from 1, and one such row must not cost infinity.

    >>> round(log_loss([1, 0], [0.5, 0.5]), 4)
    0.6931
    """
    return log_loss_influence(labels, probabilities, weights)[0]


def brier(labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Weighted mean of (p - y)^2.

    >>> brier([1, 0], [0.75, 0.25])
    0.0625
    """
    return brier_influence(labels, probabilities, weights)[0]


def normalised_entropy(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Log loss over the entropy of the base rate: 1 is what the base rate itself scores, lower is better.

    NE = log loss / H(b), H(b) = -b log b - (1 - b) log(1 - b) [He et al. 2014]. NaN where b is 0 or 1.

    >>> normalised_entropy([1, 0], [0.5, 0.5])
    1.0
    """
    return normalised_entropy_influence(labels, probabilities, weights)[0]


def ratio(labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Predicted over observed, sum w p / sum w y: 1 is calibrated in the mean. NaN where nothing was observed.

    >>> ratio([1, 0, 0, 0], [0.2, 0.1, 0.1, 0.1])
    0.5
    """
    return ratio_influence(labels, probabilities, weights)[0]


def log_loss_influence(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Influenced:
    """`log_loss` and its influence per row `(N,)`, w_j dM/dw_j."""
    y, p, w = _arrays(labels, probabilities, weights)
    return mean_influence(row_log_losses(y, p, machine_epsilon(probabilities)), w)


def brier_influence(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Influenced:
    """`brier` and its influence per row `(N,)`, w_j dM/dw_j."""
    y, p, w = _arrays(labels, probabilities, weights)
    return mean_influence((p - y) ** 2, w)


def normalised_entropy_influence(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Influenced:
    """`normalised_entropy` and its influence per row `(N,)`: dL / H - L H'(b) db / H^2, H'(b) = log((1 - b) / b)."""
    y, p, w = _arrays(labels, probabilities, weights)
    loss, of_loss = mean_influence(row_log_losses(y, p, machine_epsilon(probabilities)), w)
    base, of_base = mean_influence(y, w)
    if not 0.0 < base < 1.0:
        return float("nan"), np.full(len(y), np.nan)
    entropy = -base * np.log(base) - (1.0 - base) * np.log1p(-base)
    slope = np.log1p(-base) - np.log(base)
    return float(loss / entropy), np.asarray(of_loss / entropy - loss * slope / entropy**2 * of_base)


def ratio_influence(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Influenced:
    """`ratio` R and its influence per row `(N,)`, w (p - R y) / sum w y."""
    y, p, w = _arrays(labels, probabilities, weights)
    return ratio_of_sums(p, y, w)


def ratio_of_sums(predicted: FloatArray, observed: FloatArray, weights: FloatArray) -> Influenced:
    """R = sum w predicted / sum w observed and its influence per row `(N,)`; `observed` may be true probabilities."""
    total = float(weights @ observed)
    if total <= 0.0:
        return float("nan"), np.full(len(weights), np.nan)
    value = float(weights @ predicted) / total
    return value, np.asarray(weights * (predicted - value * observed) / total)


def mean_influence(values: FloatArray, weights: FloatArray) -> Influenced:
    """The weighted mean of `values` `(N,)` and its influence per row, w (v - mean) / sum w; NaN without weight."""
    total = float(weights.sum())
    if total <= 0.0:
        return float("nan"), np.full(len(weights), np.nan)
    value = float(weights @ values) / total
    return value, np.asarray(weights * (values - value) / total)


def row_log_losses(labels: FloatArray, probabilities: FloatArray, epsilon: float) -> FloatArray:
    """Log loss of every row `(N,)`, probabilities clipped to [epsilon, 1 - epsilon]."""
    p = np.clip(probabilities, epsilon, 1.0 - epsilon)
    return np.asarray(-np.where(labels > 0.0, np.log(p), np.log1p(-p)))


def machine_epsilon(probabilities: npt.ArrayLike) -> float:
    """The machine epsilon of the type in which `probabilities` came; float64's for anything that is no float array."""
    kind = np.asarray(probabilities).dtype
    return float(np.finfo(kind).eps) if np.issubdtype(kind, np.floating) else float(np.finfo(np.float64).eps)


def _arrays(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    y = label_vector("labels", labels)
    return y, probability_vector("probabilities", probabilities, len(y)), weight_vector(weights, len(y))
