"""Every head's metrics in one table: ranking, probabilities, calibration, each with a request-clustered interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.auc import auc_influence_on_order
from evaluation.average_precision import ap_influence_on_order
from evaluation.checks import FloatArray, head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import Estimate
from evaluation.ordering import ScoreOrder
from evaluation.proper_scores import (
    Influenced,
    brier_influence,
    log_loss_influence,
    machine_epsilon,
    mean_influence,
    normalised_entropy_influence,
    ratio_influence,
)

METRICS = ("base_rate", "ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio")
FEW_POSITIVES = 30  # below it the normal approximation of AP's error is rough


@dataclass(frozen=True)
class HeadMetrics:
    """One head's metrics.

    Attributes:
        head: Its name.
        rows: Rows whose label is there.
        positives: Positive rows among them (unweighted).
        requests: Requests with such a row.
        estimates: `METRICS` -> Estimate.
        caution: What a reader must know of the intervals; None where nothing.
    """

    head: str
    rows: int
    positives: int
    requests: int
    estimates: dict[str, Estimate]
    caution: str | None


def head_metrics(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Table of metrics, one row per head.

    Args:
        labels: `(N, T)` 0, 1 or NaN for a missing label, which is left out of that head alone.
        probabilities: `(N, T)` calibrated probabilities.
        groups: `(N,)` request ids: rows of one request are not independent.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        names: The heads' names in column order.

    Returns:
        Columns head, rows, positives, requests, then for each of base_rate, ap, auc, log_loss, normalised_entropy,
        brier, ratio: the value, `_se`, `_low` and `_high` (95 %), and `reason`, which says what is NaN and why.

    Raises:
        ValueError: labels other than 0, 1, NaN; probabilities outside [0, 1]; negative weights; shapes that differ.

    >>> table = head_metrics([[1], [0], [1], [0]], [[0.9], [0.8], [0.7], [0.1]], [1, 1, 2, 2], names=["click"])
    >>> table[["head", "rows", "positives", "auc"]].to_dict("records")
    [{'head': 'click', 'rows': 4, 'positives': 2, 'auc': 0.75}]
    """
    rows = []
    for head in all_heads(labels, probabilities, groups, weights, names):
        row: dict[str, object] = {
            "head": head.head,
            "rows": head.rows,
            "positives": head.positives,
            "requests": head.requests,
        }
        for metric, estimate in head.estimates.items():
            row[metric] = estimate.value
            row[f"{metric}_se"] = estimate.standard_error
            row[f"{metric}_low"] = estimate.low
            row[f"{metric}_high"] = estimate.high
        reasons = [f"{metric}: {estimate.reason}" for metric, estimate in head.estimates.items() if estimate.reason]
        row["reason"] = "; ".join(reasons)
        rows.append(row)
    return pd.DataFrame(rows)


def all_heads(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> list[HeadMetrics]:
    """`head_metrics` as objects; arguments and errors as there."""
    y = label_matrix("labels", labels)
    epsilon = machine_epsilon(probabilities)
    p = probability_matrix("probabilities", probabilities, y.shape)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    return [
        _one_head(name, y[:, column], p[:, column], w, clusters, epsilon)
        for column, name in enumerate(head_names(names, y.shape[1]))
    ]


def _one_head(
    name: str, labels: FloatArray, probabilities: FloatArray, weights: FloatArray, clusters: Clusters, epsilon: float
) -> HeadMetrics:
    observed = ~np.isnan(labels)
    # leaving rows out would need new request codes: a weight of 0 says the same to every metric
    y, w = np.where(observed, labels, 0.0), weights * observed
    requests = int(np.count_nonzero(clusters.sums(w)))
    why_not = undefined_reasons(y, w)
    order = ScoreOrder.of(probabilities)
    # the type's epsilon is lost in float64: clip here, so that log loss finds nothing left to clip
    clipped = np.clip(probabilities, epsilon, 1.0 - epsilon)
    influenced: dict[str, Influenced] = {
        "base_rate": mean_influence(y, w),
        "ap": ap_influence_on_order(order, y, w),
        "auc": auc_influence_on_order(order, y, w),
        "log_loss": log_loss_influence(y, clipped, w),
        "normalised_entropy": normalised_entropy_influence(y, clipped, w),
        "brier": brier_influence(y, probabilities, w),
        "ratio": ratio_influence(y, probabilities, w),
    }
    estimates = {
        metric: make_estimate(metric, value, clustered_standard_error(influence, clusters, w), why_not.get(metric))
        for metric, (value, influence) in influenced.items()
    }
    positives = int(np.count_nonzero(y * w))
    few = 0 < positives < FEW_POSITIVES
    caution = f"only {positives} positive row(s): the intervals are rough" if few else None
    return HeadMetrics(name, int(observed.sum()), positives, requests, estimates, caution)


def make_estimate(metric: str, value: float, standard_error: float, reason: str | None = None) -> Estimate:
    """The metric's interval on the scale that suits it, with the reason where something is undefined."""
    if reason is not None:
        return Estimate.missing(reason)
    one_request = "fewer than two requests: no interval" if np.isnan(standard_error) else None
    if metric == "ratio":
        return Estimate.log(value, standard_error, reason=one_request)
    if metric in ("log_loss", "normalised_entropy"):
        return Estimate.linear(value, standard_error, bounds=(0.0, np.inf), reason=one_request)
    return Estimate.linear(value, standard_error, bounds=(0.0, 1.0), reason=one_request)


def undefined_reasons(labels: FloatArray, weights: FloatArray) -> dict[str, str]:
    """Metric -> why it is undefined on these rows; labels `(N,)` 0 or 1, weights `(N,)` 0 where a label is missing."""
    if not np.any(weights > 0.0):
        return dict.fromkeys(METRICS, "no row with a label")
    if not np.any((labels > 0.0) & (weights > 0.0)):
        return dict.fromkeys(("ap", "auc", "normalised_entropy", "ratio"), "no positive row")
    if not np.any((labels == 0.0) & (weights > 0.0)):
        return dict.fromkeys(("auc", "normalised_entropy"), "no negative row")
    return {}
