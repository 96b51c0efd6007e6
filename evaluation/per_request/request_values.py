"""Every request's own value of a metric, and how much the request counts in the mean."""

from __future__ import annotations

import numpy as np

from evaluation.checks import FloatArray
from evaluation.per_request.gains import (
    DiscountArea,
    expected_found,
    expected_hit,
    expected_precisions,
    expected_reciprocal_rank,
)
from evaluation.per_request.metric_names import MetricName
from evaluation.per_request.ranked_requests import GradedRows, RankedRequests

__all__ = ["request_values"]


def request_values(metric: MetricName, ranked: RankedRequests) -> tuple[FloatArray, FloatArray]:
    """The metric of every request.

    Args:
        metric: Any; all but ndcg need labels of 0 and 1.
        ranked: The requests.

    Returns:
        m `(R,)`, and the weight W `(R,)` of each request in the mean; both 0 for the requests that are left out.
    """
    counted = ranked.positives > 0.0
    weight = ranked.weight
    if metric.kind == "gauc":
        negatives = ranked.rows - ranked.positives
        counted &= negatives > 0.0
        weight = weight * ranked.rows
        won, whole = _pairs(ranked, negatives), ranked.positives * negatives
    else:
        won, whole = _sums(metric, ranked)
    values = np.divide(won, whole, out=np.zeros(len(won)), where=counted)
    return values, np.where(counted, weight, 0.0)


def _sums(metric: MetricName, ranked: RankedRequests) -> tuple[FloatArray, FloatArray]:
    """What every request got `(R,)`, and the most that it could `(R,)`."""
    groups, cutoff = ranked.groups, np.inf if metric.cutoff is None else metric.cutoff
    if metric.kind == "ndcg":
        area = DiscountArea(min(np.ceil(ranked.rows.max(initial=0.0)), cutoff))
        ideal = area(ranked.positives) if ranked.best is None else _ideal(ranked.best, area, len(ranked.rows))
        return _by_request(area.gain(groups), ranked), ideal
    if metric.kind == "mrr":
        return _by_request(expected_reciprocal_rank(groups, cutoff), ranked), np.ones(len(ranked.rows))
    if metric.kind == "mean_ap":
        return _by_request(expected_precisions(groups, cutoff), ranked), ranked.positives
    if metric.kind == "recall":
        return _by_request(expected_found(groups, cutoff), ranked), ranked.positives
    return _by_request(expected_hit(groups, cutoff), ranked), np.ones(len(ranked.rows))


def _pairs(ranked: RankedRequests, negatives: FloatArray) -> FloatArray:
    """Pairs `(R,)` of a positive and a negative row in the right order, ties as one half."""
    groups = ranked.groups
    tied = groups.size - groups.positives
    at_or_above = groups.above - groups.before + tied
    return _by_request(groups.positives * (negatives[groups.request] - at_or_above + tied / 2.0), ranked)


def _ideal(best: GradedRows, area: DiscountArea, requests: int) -> FloatArray:
    gains = best.gain * (area(best.above + best.weight) - area(best.above))
    return np.asarray(np.bincount(best.request, gains, requests), dtype=np.float64)


def _by_request(values: FloatArray, ranked: RankedRequests) -> FloatArray:
    # of no groups, bincount counts in integers
    return np.asarray(np.bincount(ranked.groups.request, values, len(ranked.rows)), dtype=np.float64)
