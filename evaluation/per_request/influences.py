"""A mean over requests, and what each request contributes to its error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, float_array, score_vector, weight_vector
from evaluation.clusters import Clusters
from evaluation.per_request.metric_names import MetricName
from evaluation.per_request.ranked_requests import RankedRequests, check_ties
from evaluation.per_request.request_values import request_values

__all__ = ["label_faults", "mean_influences", "request_influences"]


def request_influences(
    metric: str,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    clusters: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    ties: str = "average",
) -> tuple[float, FloatArray]:
    """A per-request metric and the influence of each request on it.

    m = sum_r W_r m_r / sum_r W_r over the requests that have a value, and influence_r = W_r (m_r - m) / sum W, 0 for
    those left out. The standard error of m is sqrt(sum_r influence_r^2); that of the difference of two models has the
    difference of their influences. The metrics and their conventions: `evaluation.per_request.request_metrics`.

    Args:
        metric: A name such as "ndcg@10", "mrr", "recall@10", "hit_rate@10", "mean_ap", "gauc".
        labels: `(N,)` 0, 1 or NaN (missing: the row is left out); any numbers >= 0 for ndcg.
        scores: `(N,)` higher is ranked first.
        clusters: `(N,)` request ids, or `Clusters`.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        ties: "average" or "order".

    Returns:
        The value and the influences `(R,)`; NaN throughout where no request has a value.

    Raises:
        ValueError: an unknown metric, NaN scores, labels or weights that are negative, lengths that differ.

    >>> value, influence = request_influences("mrr", [1, 0, 0, 1], [0.9, 0.2, 0.7, 0.4], ["a", "a", "b", "b"])
    >>> value, influence.tolist()
    (0.75, [0.125, -0.125])
    """
    name = MetricName.of(metric)
    check_ties(ties)
    y = float_array("labels", labels)
    s = score_vector("scores", scores, len(y))
    w = None if weights is None else weight_vector(weights, len(y))
    requests = Clusters.of(clusters, len(y))
    if faults := label_faults(y, [name]):
        raise ValueError("; ".join(faults))
    value, influence, _ = mean_influences(name, RankedRequests.of(y, s, requests, w, ties))
    return value, influence


def mean_influences(metric: MetricName, ranked: RankedRequests) -> tuple[float, FloatArray, int]:
    """The mean, its influences `(R,)`, and the number of requests that it is over."""
    values, weight = request_values(metric, ranked)
    total = float(weight.sum())
    if total <= 0.0:
        return float("nan"), np.full(len(weight), np.nan), 0
    mean = float(weight @ values / total)
    return mean, weight * (values - mean) / total, int(np.count_nonzero(weight))


def label_faults(labels: FloatArray, metrics: list[MetricName]) -> list[str]:
    """What is wrong with `labels` of any shape for these metrics: only ndcg takes other numbers than 0 and 1."""
    bad = (labels < 0.0) | np.isinf(labels)
    if bad.any():
        return [f"`labels` must be finite and >= 0, got {labels[bad][0]:g} ({int(bad.sum())} value(s) in all)"]
    binary = [str(metric) for metric in metrics if metric.kind != "ndcg"]
    graded = (labels > 0.0) & (labels != 1.0)
    if binary and graded.any():
        count = int(graded.sum())
        return [
            f"`labels` must be 0, 1 or NaN for {', '.join(binary)}, got {labels[graded][0]:g} ({count} value(s) in all)"
        ]
    return []
