"""Metrics with standard errors clustered by request, and paired differences of two models over the same rows.

Every metric here is a smooth function of the row weights, so its error is, to first order, the sum of the rows'
influences w_j dM/dw_j; rows of one request are summed before squaring. The difference of two models has the difference
of their influences: what both models find hard cancels, which is why a paired interval is so much narrower.
Every function returns (value, standard error); `evaluation.estimate` turns that into an interval.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evaluation.auc import auc_influence
from evaluation.average_precision import ap_influence
from evaluation.checks import FloatArray, weight_vector
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.proper_scores import brier_influence, log_loss_influence, normalised_entropy_influence, ratio_influence

Influence = Callable[[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike | None], tuple[float, FloatArray]]


def ap_interval(
    labels: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Average precision and its standard error clustered by `groups`.

    Args:
        labels: `(N,)` 0 or 1.
        scores: `(N,)` higher is ranked first.
        groups: `(N,)` request ids, integers or strings.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.

    Returns:
        (value, standard error); both NaN without a positive row, the error alone with fewer than two requests.

    Raises:
        ValueError: as `average_precision`; a missing id in `groups`.

    >>> value, error = ap_interval([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], ["a", "a", "b", "b"])
    >>> round(value, 4), round(error, 4)
    (0.8333, 0.0393)
    """
    return _interval(ap_influence, labels, scores, groups, weights)


def auc_interval(
    labels: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """AUC and its standard error clustered by `groups`; arguments as `ap_interval`.

    >>> auc_interval([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], [1, 1, 2, 2])
    (0.75, 0.0)
    """
    return _interval(auc_influence, labels, scores, groups, weights)


def ratio_interval(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, groups: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Predicted / observed and its standard error clustered by `groups` (delta method).

    A ratio is skewed: make its interval in the log, `log_interval(value, standard_error)`.

    >>> value, error = ratio_interval([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.25], ["a", "a", "b", "b"])
    >>> round(value, 4), round(error, 4)
    (0.75, 0.1768)
    """
    return _interval(ratio_influence, labels, probabilities, groups, weights)


def log_loss_interval(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, groups: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Log loss and its standard error clustered by `groups`; arguments as `ap_interval`, with probabilities."""
    return _interval(log_loss_influence, labels, probabilities, groups, weights)


def normalised_entropy_interval(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, groups: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Normalised entropy and its standard error clustered by `groups`; arguments as `log_loss_interval`."""
    return _interval(normalised_entropy_influence, labels, probabilities, groups, weights)


def brier_interval(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, groups: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Brier score and its standard error clustered by `groups`; arguments as `ap_interval`, with probabilities."""
    return _interval(brier_influence, labels, probabilities, groups, weights)


def paired_ap_difference(
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """AP(a) - AP(b) over the same rows and its standard error clustered by `groups`.

    >>> paired_ap_difference([1, 0, 1, 0], [4, 3, 2, 1], [8, 6, 4, 2], [1, 1, 2, 2])
    (0.0, 0.0)
    """
    return _paired(ap_influence, labels, scores_a, scores_b, groups, weights)


def paired_auc_difference(
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """AUC(a) - AUC(b) over the same rows and its standard error clustered by `groups`.

    >>> paired_auc_difference([1, 0, 1, 0], [4, 3, 2, 1], [8, 6, 4, 2], [1, 1, 2, 2])
    (0.0, 0.0)
    """
    return _paired(auc_influence, labels, scores_a, scores_b, groups, weights)


def paired_log_loss_difference(
    labels: npt.ArrayLike,
    probabilities_a: npt.ArrayLike,
    probabilities_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """Log loss(a) - log loss(b) over the same rows and its standard error clustered by `groups`; below 0, a is better.

    >>> paired_log_loss_difference([1, 0], [0.5, 0.5], [0.5, 0.5], [1, 2])
    (0.0, 0.0)
    """
    return _paired(log_loss_influence, labels, probabilities_a, probabilities_b, groups, weights)


def paired_brier_difference(
    labels: npt.ArrayLike,
    probabilities_a: npt.ArrayLike,
    probabilities_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """Brier(a) - Brier(b) over the same rows and its standard error clustered by `groups`; below 0, a is better.

    >>> difference, error = paired_brier_difference([1, 0], [0.5, 0.5], [0.75, 0.25], [1, 2])
    >>> difference, error
    (0.1875, 0.0)
    """
    return _paired(brier_influence, labels, probabilities_a, probabilities_b, groups, weights)


def paired_ratio_difference(
    labels: npt.ArrayLike,
    probabilities_a: npt.ArrayLike,
    probabilities_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """Predicted / observed of a less that of b over the same rows, and its standard error clustered by `groups`.

    Which of the two is nearer to 1 is another question: `evaluation.comparison.compare` answers it.

    >>> paired_ratio_difference([1, 0], [0.5, 0.5], [0.25, 0.25], [1, 2])
    (0.5, 0.3535533905932738)
    """
    return _paired(ratio_influence, labels, probabilities_a, probabilities_b, groups, weights)


def paired_request_difference(
    metric: str,
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """A per-request metric ("ndcg@10", "mrr", "gauc", ...) of a less that of b over the same rows, and its error.

    The error is NaN where fewer than two requests have a positive row.

    >>> difference, error = paired_request_difference("mrr", [1, 0, 0, 1], [2, 1, 2, 1], [1, 2, 2, 1], [7, 7, 8, 8])
    >>> difference, round(error, 4)
    (0.25, 0.1768)
    """
    from evaluation.per_request import request_influences  # it has intervals of its own, made of this package's parts

    clusters = Clusters.of(groups)
    value_a, influence_a = request_influences(metric, labels, scores_a, clusters, weights)
    value_b, influence_b = request_influences(metric, labels, scores_b, clusters, weights)
    engaged = clusters.sums(np.nan_to_num(np.asarray(labels, np.float64)) * weight_vector(weights, len(clusters.codes)))
    return value_a - value_b, clustered_standard_error(influence_a - influence_b, np.arange(clusters.count), engaged)


def _interval(
    metric: Influence,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None,
) -> tuple[float, float]:
    value, influence = metric(labels, scores, weights)
    return value, clustered_standard_error(influence, groups, weight_vector(weights, len(influence)))


def _paired(
    metric: Influence,
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None,
) -> tuple[float, float]:
    value_a, influence_a = metric(labels, scores_a, weights)
    value_b, influence_b = metric(labels, scores_b, weights)
    error = clustered_standard_error(influence_a - influence_b, groups, weight_vector(weights, len(influence_a)))
    return value_a - value_b, error
