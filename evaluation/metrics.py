"""Every head's metrics in one table: ranking, probabilities, calibration, each with a request-clustered interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import ClusteredError, Clusters
from evaluation.estimate import Estimate
from evaluation.per_request.metric_names import is_request_metric
from evaluation.proper_scores import machine_epsilon
from evaluation.slicing.sliced_influences import HeadScores, Influences, SlicePairs

METRICS = ("base_rate", "ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio")
OF_POSITIVES = ("ap", "auc", "normalised_entropy", "ratio")  # undefined without a positive row
OF_BOTH = ("auc", "normalised_entropy", "gauc")  # undefined without a negative row
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
    pairs = SlicePairs.whole(Clusters.of(groups, len(y)))
    return [
        _one_head(name, y[:, column], p[:, column], w, pairs, epsilon)
        for column, name in enumerate(head_names(names, y.shape[1]))
    ]


def _one_head(
    name: str, labels: FloatArray, probabilities: FloatArray, weights: FloatArray, pairs: SlicePairs, epsilon: float
) -> HeadMetrics:
    # leaving rows without a label out would need new request codes: their weight of 0 says the same to every metric
    scored = HeadScores(labels, probabilities, weights, epsilon=epsilon)
    y, w = scored.labels, scored.weights
    mass = pairs.sums(w)
    requests = int(np.count_nonzero(mass))
    found = {"base_rate": _base_rate(pairs.sums(w * y), mass), **scored.influences(METRICS[1:], pairs)}
    why_not = undefined_reasons(y, w)
    estimates = {}
    for metric in METRICS:
        values, influence = found[metric]
        error = float(pairs.errors(influence)[0]) if requests > 1 else float("nan")
        known = ClusteredError(error, float(pairs.freedom(influence)[0]))
        estimates[metric] = make_estimate(metric, float(values[0]), known, why_not.get(metric))
    positives = int(np.count_nonzero(y * w))
    few = 0 < positives < FEW_POSITIVES
    caution = f"only {positives} positive row(s): the intervals are rough" if few else None
    return HeadMetrics(name, int(np.count_nonzero(~np.isnan(labels))), positives, requests, estimates, caution)


def _base_rate(positives: FloatArray, mass: FloatArray) -> Influences:
    """The base rate `(1,)` and its influences `(R,)`, from the sums per request."""
    total = float(mass.sum())
    if total <= 0.0:
        return np.full(1, np.nan), np.zeros(len(mass))
    rate = float(positives.sum()) / total
    return np.full(1, rate), (positives - rate * mass) / total


def make_estimate(metric: str, value: float, error: ClusteredError, reason: str | None = None) -> Estimate:
    """The metric's interval on the scale that suits it, with the reason where something is undefined."""
    if reason is not None:
        return Estimate.missing(reason)
    if metric == "base_rate" and value in (0.0, 1.0):  # an error of 0 is no certainty: all rows agree, that is all
        none = "positive" if value == 0.0 else "negative"
        return Estimate(value, np.nan, np.nan, np.nan, f"no {none} row: no interval")
    one_request = "fewer than two requests: no interval" if np.isnan(error.standard_error) else None
    if metric == "ratio":
        return Estimate.log(value, *error, reason=one_request)
    highest = np.inf if metric in ("log_loss", "normalised_entropy") else 1.0
    return Estimate.linear(value, *error, bounds=(0.0, highest), reason=one_request)


def undefined_reasons(labels: FloatArray, weights: FloatArray) -> dict[str, str]:
    """Metric -> why it is undefined on these rows; labels `(N,)` 0 or 1, weights `(N,)` 0 where a label is missing."""
    counted = weights > 0.0
    positives, negatives = (int(np.count_nonzero(counted & (labels == kind))) for kind in (1.0, 0.0))
    reasons = {metric: undefined_reason(metric, positives, negatives) for metric in METRICS}
    return {metric: reason for metric, reason in reasons.items() if reason is not None}


def undefined_reason(metric: str, positives: int, negatives: int) -> str | None:
    """Why a metric is undefined on that many positive and negative rows with weight; None where it is defined.

    >>> undefined_reason("auc", 3, 0), undefined_reason("ap", 3, 0)
    ('no negative row', None)
    """
    if not positives + negatives:
        return "no row with a label"
    if not positives and (metric in OF_POSITIVES or is_request_metric(metric)):
        return "no positive row"
    return "no negative row" if not negatives and metric in OF_BOTH else None
