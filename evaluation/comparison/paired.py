"""Model against model over the same rows: paired differences of any metric, and what they mean in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array, head_names, label_matrix, score_vector, weight_vector
from evaluation.clusters import Clusters
from evaluation.comparison.influences import judged, paired_difference
from evaluation.estimate import normal_interval
from evaluation.metric_kinds import metric_kinds
from evaluation.per_request.request_weights import ranks_are_estimates
from evaluation.proper_scores import Influenced, machine_epsilon
from evaluation.slicing.slice_counts import SliceCounts
from evaluation.slicing.sliced_influences import HeadScores, Influences, SlicePairs

BETTER, WORSE, UNDECIDED = "better", "worse", "no difference shown"
RANKING_METRICS = ("ap", "auc")


class RankingInfluences:
    """One set of scores for every head, sorted once, its metrics and their influences found once for many comparisons.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing).
        scores: `(N, T)` one column per head, or `(N,)` one score that ranks every head (sorted once).
        weights: `(N,)` >= 0.
        name: What the scores are called in an error.
        epsilon: Log losses clip probabilities to [epsilon, 1 - epsilon]; None: the machine epsilon of the scores' type.

    Raises:
        ValueError: NaN scores, another shape than the labels'.
    """

    def __init__(
        self,
        labels: FloatArray,
        scores: npt.ArrayLike,
        weights: FloatArray,
        name: str = "scores",
        *,
        epsilon: float | None = None,
    ) -> None:
        values = np.asarray(scores)
        self.name, self.shared = name, values.ndim == 1
        epsilon = machine_epsilon(values) if epsilon is None else epsilon
        values = float_array(name, values, ndim=1 if self.shared else 2)
        if len(values) != len(labels):
            apart = f"{abs(len(values) - len(labels)):,} {'more' if len(values) > len(labels) else 'fewer'}"
            rows = f"{len(labels):,} and {len(values):,} ({apart})"
            raise ValueError(f"`labels` and `{name}` must have the same rows, scored on different rows: {rows}")
        if values.shape != (labels.shape[:1] if self.shared else labels.shape):
            raise ValueError(f"`{name}` must have shape {labels.shape} or {labels.shape[:1]}, got {values.shape}")
        self.heads: list[HeadScores] = []
        order = None
        for column in range(labels.shape[1]):
            score = score_vector(name, values if self.shared else values[:, column])
            head = HeadScores(labels[:, column], score, weights, epsilon=epsilon, order=order)
            order = head.order if self.shared else None
            self.heads.append(head)
        self._rowwise: dict[tuple[int, str], Influenced] = {}
        self._summed: dict[tuple[int, str], tuple[Clusters, Influences]] = {}

    def of(self, column: int, metric: str) -> Influenced:
        """The value and the influences `(N,)` of one head's "ap" or "auc"."""
        key = column, metric
        if key not in self._rowwise:
            self._rowwise[key] = self.heads[column].rowwise(metric)
        return self._rowwise[key]

    def summed(self, column: int, metric: str, clusters: Clusters) -> Influences:
        """The value `(1,)` of one head's metric and its influences `(R,)`, summed per request."""
        known = self._summed.get((column, metric))
        if known is None or known[0] is not clusters:
            known = clusters, self.heads[column].influences([metric], SlicePairs.whole(clusters))[metric]
            self._summed[column, metric] = known
        return known[1]

    def check_probabilities(self) -> None:
        """Refuse scores outside [0, 1], for the metrics that read probabilities."""
        for column, head in enumerate(self.heads):
            bad = (head.scores < 0.0) | (head.scores > 1.0)
            if bad.any():
                row = int(bad.argmax())
                place = f"row {row}" if self.shared else f"row, column {row}, {column}"
                raise ValueError(
                    f"`{self.name}` must lie within [0, 1] where probabilities are compared, got "
                    f"{head.scores[row]:g} at {place} ({int(bad.sum())} value(s) in that column)"
                )


def compare(
    labels: npt.ArrayLike,
    ours: npt.ArrayLike | RankingInfluences,
    theirs: npt.ArrayLike | RankingInfluences,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    *,
    metrics: Sequence[str] = RANKING_METRICS,
) -> pd.DataFrame:
    """Paired differences ours - theirs, one row per head and metric, with intervals clustered by request.

    What both models find hard cancels in the difference of their influences, which is why a paired interval is so much
    narrower than two intervals side by side.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing).
        ours, theirs: `(N, T)` scores per head, or `(N,)` one score for all heads; or `RankingInfluences` of these.
        groups: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        names: The heads' names in column order.
        metrics: Among "ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio" (which read the scores as
            probabilities from log_loss on) and the per-request ones ("ndcg@10", "mrr", ...).

    Returns:
        Columns head, metric, ours, theirs, difference, se, low, high (95 %), verdict ("better" when the whole interval
        is on the better side of 0, above it or, for a loss, below; "worse" on the other; else "no difference shown";
        None where undefined), reason. For "ratio" the difference is that of |log ratio|: how much further from 1.

    Raises:
        ValueError: NaN scores, probabilities outside [0, 1], labels other than 0, 1, NaN, scores of other rows, an
            unknown metric.

    >>> table = compare([[1], [0], [1], [0]], [4, 3, 2, 1], [4, 3, 2, 1], [1, 1, 2, 2], names=["click"])
    >>> table["verdict"].tolist()
    ['no difference shown', 'no difference shown']
    """
    y = label_matrix("labels", labels)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    kinds = metric_kinds(metrics)
    ours = ours if isinstance(ours, RankingInfluences) else RankingInfluences(y, ours, w, "ours")
    theirs = theirs if isinstance(theirs, RankingInfluences) else RankingInfluences(y, theirs, w, "theirs")
    if any(kind.of_probabilities for kind in kinds):
        ours.check_probabilities()
        theirs.check_probabilities()
    whole, sampled = SlicePairs.whole(clusters), ranks_are_estimates(w, clusters)
    records = []
    for column, head in enumerate(head_names(names, y.shape[1])):
        counts = SliceCounts.of(ours.heads[column], ~np.isnan(y[:, column]), whole, sampled=sampled)
        for kind in kinds:
            own, other = ours.summed(column, kind.name, clusters), theirs.summed(column, kind.name, clusters)
            value, against = float(own[0][0]), float(other[0][0])
            first, second = judged(kind, own, whole), judged(kind, other, whole)
            found, errors = paired_difference(first, second, whole)
            freedom = float(whole.freedom(first.influences - second.influences)[0])
            difference, error = float(found[0]), counts.error(0, kind.name, float(errors[0]))
            reason = counts.reason(0, kind.name, value + against)
            if reason is None and np.isnan(difference):  # a ratio of 0 has no logarithm
                reason = f"{kind.label} is 0: one of the two predicts nothing"
            if reason is None and np.isnan(error):
                reason = "fewer than two requests: no interval"
            error = error if reason is None else float("nan")
            low, high = normal_interval(difference, error, freedom)
            word = verdict(low, high) if kind.higher_is_better else verdict(-high, -low)
            records.append(
                {"head": head, "metric": kind.name, "ours": value, "theirs": against, "difference": difference}
                | {"se": error, "low": low, "high": high, "verdict": word, "reason": reason}
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
