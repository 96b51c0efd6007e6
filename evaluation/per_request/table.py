"""Every head's per-request metrics in one table, each with its interval over requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array, head_names, score_vector, weight_vector
from evaluation.clusters import Clusters
from evaluation.estimate import Estimate
from evaluation.freedom import variance_freedom
from evaluation.per_request.influences import label_faults, mean_influences
from evaluation.per_request.metric_names import DEFAULT_METRICS, MetricName, metric_names
from evaluation.per_request.ranked_requests import RankedRequests, check_ties
from evaluation.per_request.request_weights import SAMPLED_ROWS

__all__ = ["request_metrics"]


def request_metrics(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    ties: str = "average",
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Metrics that are a mean over requests, one row per head and metric.

    With the rows of a request ranked by score, P of them positive, every metric is a number within [0, 1]:

    - `ndcg@K` = sum of label / log2(rank + 1) over the first K, over the same sum in the best order. Gains are linear:
      the label itself, which may be any number >= 0; for exponential gains give 2^label - 1 as the label.
    - `mrr` = 1 / rank of the first positive row; `mrr@K` is 0 where that is beyond K.
    - `recall@K` = positives among the first K, over P. `hit_rate@K` = whether there is one.
    - `mean_ap` = mean over the positive rows of the precision at their rank; with `@K`, 0 for those beyond K.
    - `gauc` = the share of pairs of a positive and a negative row that are in the right order, ties as one half; the
      mean weights requests by their rows, as [Zhou et al. 2018] "Deep interest network for click-through rate
      prediction" weights users by their impressions.

    Requests without a positive row (for `gauc`, without a row of both kinds) have no value: they are left out of the
    mean and counted. trec_eval's family does the same with queries that have no judgement, but takes one whose
    judgements are all 0 as 0, as scikit-learn's `ndcg_score` does.

    Ties: "average" is the exact expectation over random orders of equal scores ([McSherry and Najork 2008]), so the
    order of the rows never matters, and constant scores get what chance gets. "order" is deterministic: of equal
    scores, the row that was given first ranks first (trec_eval breaks ties by document id, the greatest first). Beware
    that it rewards logs whose rows stand in the order shown.

    Weights that are equal on the labelled rows of each request (whole requests were sampled) weigh the requests.
    Otherwise rows were sampled, and one of weight w counts as w rows. A rank is then 1 + the *estimated* rows above it,
    and what bends with the rank is far off however many requests there are (20 rows a request, a tenth of the negatives
    kept, simulated once: MRR .71 for .44, recall@10 .63 for .73): such a value comes with a reason and without an
    interval, for comparing models on one log at most. GAUC compares pairs of rows and has not this bias (.681 for
    .681).

    Args:
        labels: `(N,)` or `(N, T)` 0, 1 or NaN (missing: the row is left out for that head); >= 0 for ndcg.
        scores: `(N,)`, which ranks all heads, or `(N, T)`.
        groups: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        metrics: Names; K is from 1 on.
        ties: "average" or "order".
        names: The heads' names in column order.

    Returns:
        Columns head, metric, value, se, low, high (95 %), requests (that the mean is over), left_out (with a labelled
        row, but without a value), reason (why the value or its interval is missing).

    Raises:
        ValueError: all unknown metrics at once; NaN scores, labels or weights that are negative, shapes that differ.

    >>> y, s, request = [1, 0, 0, 1, 0], [3, 3, 2, 1, 0], ["a", "a", "b", "b", "c"]
    >>> table = request_metrics(y, s, request, metrics=["mrr", "recall@1"])
    >>> table[["metric", "value", "requests", "left_out"]].to_dict("list")
    {'metric': ['mrr', 'recall@1'], 'value': [0.625, 0.25], 'requests': [2, 2], 'left_out': [1, 1]}
    """
    asked = metric_names(metrics)
    check_ties(ties)
    y = _columns("labels", labels)
    one_score = np.ndim(scores) == 1
    s = score_vector("scores", scores, len(y))[:, None] if one_score else float_array("scores", scores, ndim=2)
    if not one_score and s.shape != y.shape:
        raise ValueError(f"`scores` must have shape {y.shape} or {y.shape[:1]}, got {s.shape}")
    w = None if weights is None else weight_vector(weights, len(y))
    requests = Clusters.of(groups, len(y))
    if faults := label_faults(y, list(asked)):
        raise ValueError("; ".join(faults))
    records: list[dict[str, object]] = []
    for column, head in enumerate(head_names(names, y.shape[1])):
        values = score_vector("scores", s[:, 0 if one_score else column])
        ranked = RankedRequests.of(y[:, column], values, requests, w, ties)
        labelled = int(np.count_nonzero(ranked.weight))
        for metric in asked:
            estimate, counted = _estimate(metric, ranked)
            record = {"head": head, "metric": str(metric), "value": estimate.value, "se": estimate.standard_error}
            record |= {"low": estimate.low, "high": estimate.high, "requests": counted, "left_out": labelled - counted}
            records.append(record | {"reason": estimate.reason})
    return pd.DataFrame(records)


def _estimate(metric: MetricName, ranked: RankedRequests) -> tuple[Estimate, int]:
    value, influence, counted = mean_influences(metric, ranked)
    if counted == 0:
        kind = "both a positive and a negative row" if metric.kind == "gauc" else "a positive row"
        labelled = bool(np.any(ranked.weight > 0.0))
        return Estimate.missing(f"no request with {kind}" if labelled else "no row with a label"), 0
    if ranked.sampled and metric.kind != "gauc":
        return Estimate(value, np.nan, np.nan, np.nan, SAMPLED_ROWS), counted
    if counted < 2:
        return Estimate.linear(value, np.nan, reason="fewer than two requests: no interval"), counted
    error = float(np.sqrt(influence @ influence))
    return Estimate.linear(value, error, variance_freedom(influence), bounds=(0.0, 1.0)), counted


def _columns(name: str, values: npt.ArrayLike) -> FloatArray:
    """`values` as `(N, T)`."""
    return float_array(name, values)[:, None] if np.ndim(values) == 1 else float_array(name, values, ndim=2)
