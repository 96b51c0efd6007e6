"""The utility sum_t w_t p_t as a score: how it ranks each head's positives, and whether it comes true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array
from evaluation.clusters import Clusters, clustered_error
from evaluation.comparison.paired import RANKING_METRICS, RankingInfluences
from evaluation.estimate import Estimate
from evaluation.metrics import make_estimate, undefined_reasons
from evaluation.metrics_json import jsonable
from evaluation.proper_scores import mean_influence
from evaluation.reliability import reliability_table, score_histogram


@dataclass(frozen=True)
class UtilityEvaluation:
    """A utility, evaluated.

    Attributes:
        weights: Head -> weight, in the heads' order.
        influences: AP and AUC of the score on every head, for paired comparisons.
        heads: Table, one row per head and metric: head, metric, value, se, low, high, reason.
        reliability: `reliability_table` of the realised engagement sum_t w_t y_t against the score; empty when no row
            has all the labels it needs.
        histogram: `score_histogram` of the score, on the log scale unless a weight is negative.
        predicted, realised: Weighted means of the score and of what came of it, over the rows with all labels.
        rows: Those rows.
    """

    weights: dict[str, float]
    influences: RankingInfluences
    heads: pd.DataFrame
    reliability: pd.DataFrame
    histogram: pd.DataFrame
    predicted: Estimate
    realised: Estimate
    rows: int

    @property
    def scale(self) -> str:
        """ "log", or "linear" where the score may be negative."""
        return "linear" if min(self.weights.values()) < 0.0 else "log"

    def to_dict(self) -> dict[str, Any]:
        """As it stands in metrics.json."""
        return {
            "weights": self.weights,
            "scale": self.scale,
            "rows": self.rows,
            "predicted": self.predicted.to_dict(),
            "realised": self.realised.to_dict(),
            "heads": jsonable(self.heads),
            "reliability": jsonable(self.reliability),
            "histogram": jsonable(self.histogram),
        }


def evaluate_utility(
    labels: FloatArray,
    probabilities: npt.ArrayLike,
    utility: Mapping[str, float],
    clusters: Clusters,
    weights: FloatArray,
    heads: Sequence[str],
) -> UtilityEvaluation:
    """Evaluate the score sum_t w_t p_t.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing).
        probabilities: `(N, T)` calibrated.
        utility: Head -> weight; heads it does not name weigh 0.
        clusters: The rows' requests.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        heads: The heads' names in column order.

    Raises:
        ValueError: a head that does not exist, a weight that is no finite number, all weights 0.
    """
    mix = _weights(utility, heads)
    p = float_array("probabilities", probabilities, ndim=2)
    score = p @ mix
    influences = RankingInfluences(labels, score, weights, "utility")
    records = []
    for column, head in enumerate(heads):
        known = ~np.isnan(labels[:, column])
        counted = weights * known
        why_not = undefined_reasons(np.where(known, labels[:, column], 0.0), counted)
        for metric in RANKING_METRICS:
            value, influence = influences.of(column, metric)
            error = clustered_error(influence, clusters, counted)
            estimate = make_estimate(metric, value, error, why_not.get(metric))
            records.append({"head": head, "metric": metric, **estimate.to_dict()})
    named = np.flatnonzero(mix)
    realised = labels[:, named] @ mix[named]  # NaN where a label that counts is missing
    complete = ~np.isnan(realised) & (weights > 0.0)
    part = Clusters(clusters.codes[complete], clusters.count)
    y, s, w = realised[complete], score[complete], weights[complete]
    bins = reliability_table(y, s, w, groups=part) if len(y) else pd.DataFrame()
    return UtilityEvaluation(
        weights={head: float(weight) for head, weight in zip(heads, mix)},
        influences=influences,
        heads=pd.DataFrame(records),
        reliability=bins,
        histogram=score_histogram(s, w, scale="linear" if mix.min() < 0.0 else "log") if len(y) else pd.DataFrame(),
        predicted=_mean(s, w, part),
        realised=_mean(y, w, part),
        rows=len(y),
    )


def _weights(utility: Mapping[str, float], heads: Sequence[str]) -> FloatArray:
    unknown = [head for head in utility if head not in heads]
    if unknown:
        raise ValueError(f"`utility` must name heads among {list(heads)}, got {unknown}")
    mix = np.array([float(utility.get(head, 0.0)) for head in heads])
    if not np.isfinite(mix).all() or not mix.any():
        raise ValueError(f"`utility` must have finite weights, not all 0, got {dict(utility)}")
    return mix


def _mean(values: FloatArray, weights: FloatArray, clusters: Clusters) -> Estimate:
    if not len(values):
        return Estimate.missing("no row has every label the utility weighs")
    value, influence = mean_influence(values, weights)
    error = clustered_error(influence, clusters, weights)
    reason = "fewer than two requests: no interval" if np.isnan(error.standard_error) else None
    return Estimate.linear(value, *error, reason=reason)
