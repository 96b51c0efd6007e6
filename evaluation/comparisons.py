"""Model against model over the same rows: paired differences of AP and AUC, and what they mean in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.auc import auc_influence_on_order
from evaluation.average_precision import ap_influence_on_order
from evaluation.checks import FloatArray, float_array, head_names, label_matrix, score_vector, weight_vector
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import normal_interval
from evaluation.metrics import undefined_reasons
from evaluation.ordering import ScoreOrder
from evaluation.proper_scores import Influenced

BETTER, WORSE, UNDECIDED = "better", "worse", "no difference shown"
RANKING_METRICS = ("ap", "auc")


class RankingInfluences:
    """AP and AUC of one set of scores for every head, with their influences, computed once for many comparisons.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing).
        scores: `(N, T)` one column per head, or `(N,)` one score that ranks every head (sorted once).
        weights: `(N,)` >= 0.
        name: What the scores are called in an error.
    """

    def __init__(self, labels: FloatArray, scores: npt.ArrayLike, weights: FloatArray, name: str = "scores") -> None:
        values = np.asarray(scores)
        shared = values.ndim == 1
        values = float_array(name, values, ndim=1 if shared else 2)
        expected = labels.shape[:1] if shared else labels.shape
        if values.shape != expected:
            raise ValueError(f"`{name}` must have shape {labels.shape} or {labels.shape[:1]}, got {values.shape}")
        self.shared = shared
        self._results: dict[tuple[int, str], Influenced] = {}
        order = ScoreOrder.of(score_vector(name, values)) if shared else None
        for column in range(labels.shape[1]):
            known = ~np.isnan(labels[:, column])
            y, w = np.where(known, labels[:, column], 0.0), weights * known
            head_order = order or ScoreOrder.of(score_vector(name, values[:, column]))
            self._results[column, "ap"] = ap_influence_on_order(head_order, y, w)
            self._results[column, "auc"] = auc_influence_on_order(head_order, y, w)

    def of(self, column: int, metric: str) -> Influenced:
        """The value and the influences `(N,)` of one head's metric ("ap" or "auc")."""
        return self._results[column, metric]


def compare(
    labels: npt.ArrayLike,
    ours: npt.ArrayLike | RankingInfluences,
    theirs: npt.ArrayLike | RankingInfluences,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Paired differences ours - theirs, one row per head and metric.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing).
        ours, theirs: `(N, T)` scores per head, or `(N,)` one score for all heads; or `RankingInfluences` of these.
        groups: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        names: The heads' names in column order.

    Returns:
        Columns head, metric ("ap", "auc"), ours, theirs, difference, se, low, high (95 %), verdict ("better" when the
        whole interval is above 0, "worse" when below, else "no difference shown"; None where undefined), reason.

    Raises:
        ValueError: NaN scores, labels other than 0, 1, NaN, shapes that differ.

    >>> table = compare([[1], [0], [1], [0]], [4, 3, 2, 1], [4, 3, 2, 1], [1, 1, 2, 2], names=["click"])
    >>> table["verdict"].tolist()
    ['no difference shown', 'no difference shown']
    """
    y = label_matrix("labels", labels)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    ours = ours if isinstance(ours, RankingInfluences) else RankingInfluences(y, ours, w, "ours")
    theirs = theirs if isinstance(theirs, RankingInfluences) else RankingInfluences(y, theirs, w, "theirs")
    records = []
    for column, head in enumerate(head_names(names, y.shape[1])):
        known = ~np.isnan(y[:, column])
        counted = w * known
        why_not = undefined_reasons(np.where(known, y[:, column], 0.0), counted)
        for metric in RANKING_METRICS:
            (value, influence), (other, other_influence) = ours.of(column, metric), theirs.of(column, metric)
            error = clustered_standard_error(influence - other_influence, clusters, counted)
            low, high = normal_interval(value - other, error)
            reason = why_not.get(metric) or ("fewer than two requests: no interval" if np.isnan(error) else None)
            records.append(
                {"head": head, "metric": metric, "ours": value, "theirs": other, "difference": value - other}
                | {"se": error, "low": low, "high": high, "verdict": verdict(low, high), "reason": reason}
            )
    return pd.DataFrame(records)


def verdict(low: float, high: float) -> str | None:
    """What a 95 % interval of a difference says; None where there is no interval.

    >>> verdict(0.01, 0.02), verdict(-0.01, 0.02)
    ('better', 'no difference shown')
    """
    if np.isnan(low) or np.isnan(high):
        return None
    if low > 0.0:
        return BETTER
    return WORSE if high < 0.0 else UNDECIDED
