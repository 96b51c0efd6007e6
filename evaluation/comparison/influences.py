"""One metric of one head with its influence per request, and what of it is judged when two models are compared.

For every metric but one the value itself is judged. Of predicted / observed it is the distance from 1, |log ratio|,
which has a kink where the ratio is 1: to say that one model is nearer to 1 than another one must know on which side of
1 they lie, so the standard error of such a difference is never less than what that costs (`paired_difference`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, float_array, probability_vector, score_vector, weight_vector
from evaluation.clusters import Clusters
from evaluation.metric_kinds import MetricKind, metric_kind
from evaluation.proper_scores import machine_epsilon
from evaluation.slicing.sliced_influences import HeadScores, Influences, SlicePairs


def metric_influences(
    metric: str,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    clusters: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, FloatArray]:
    """Any metric of one head, and its influence summed per request.

    To first order the metric's error is the sum of the influences, so SE^2 = sum over requests of influence^2, and the
    difference of two models over the same rows has the difference of their influences.

    Args:
        metric: Its name (`evaluation.metric_kinds`): "ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio",
            "ndcg@10", "mrr", "mean_ap", "recall@10", "hit_rate@10", "gauc".
        labels: `(N,)` 0, 1 or NaN (missing: the row weighs 0).
        scores: `(N,)`; within [0, 1] for log_loss, normalised_entropy, brier and ratio.
        clusters: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.

    Returns:
        The value, and the influences `(R,)`, which sum to 0; a NaN value with influences 0 where it is undefined.

    Raises:
        ValueError: an unknown metric; labels other than 0, 1, NaN; NaN scores; lengths that differ.

    >>> value, influence = metric_influences("ap", [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], ["a", "a", "b", "b"])
    >>> round(value, 4), influence.round(4).tolist()
    (0.8333, [0.0278, -0.0278])
    """
    kind = metric_kind(metric)
    y = float_array("labels", labels)
    wrong = ~(np.isnan(y) | (y == 0.0) | (y == 1.0))
    if wrong.any():
        raise ValueError(f"`labels` must be 0, 1 or NaN (missing), got {y[wrong][0]:g} at row {int(wrong.argmax())}")
    check = probability_vector if kind.of_probabilities else score_vector
    scored = HeadScores(
        y, check("scores", scores, len(y)), weight_vector(weights, len(y)), epsilon=machine_epsilon(scores)
    )
    requests = Clusters.of(clusters, len(y))
    values, influence = scored.influences([metric], SlicePairs.whole(requests))[metric]
    return float(values[0]), influence


# A difference of less than this share of the metric, known to within as little, is nobody's: the same model's scores
# rounded to float32 (6e-8 of each) move PR-AUC by up to 1e-6 of itself, where rows of a narrow band become equal (a
# million rows), and every other metric by less.
ROUNDING = 1e-5


class Judged(NamedTuple):
    """What is judged of a metric in S slices.

    values: `(S,)` the metric, or |log ratio|; influences: `(P,)` of these. signed: `(S,)` log ratio, None for every
    other metric.
    """

    values: FloatArray
    influences: FloatArray
    signed: FloatArray | None


def judged(kind: MetricKind, found: Influences, pairs: SlicePairs) -> Judged:
    """The metric's values `(S,)` and influences `(P,)` as what is judged of them; a ratio of 0 is undefined."""
    values, influences = found
    if kind.name != "ratio":
        return Judged(values, influences, None)
    positive = np.where(values > 0.0, values, np.nan)
    logs = np.log(positive)
    slope = np.nan_to_num(_side(logs) / positive)  # of |log|, times d log / d ratio
    return Judged(np.abs(logs), influences * pairs.each(slope), logs)


def paired_difference(
    ours: Judged, theirs: Judged, pairs: SlicePairs, factor: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """ours - factor x theirs in every slice, and its standard error.

    Of two log ratios a and b, |a| - c |b| is one of the two contrasts a - c b and a + c b up to its sign. To say that
    it is above 0 both must be above 0, or both below (an intersection-union test [Berger 1982]): its t is the smaller
    of the two. So SE = max(SE of the contrast that it is, SE of the other x |d| / |the other|).

    What rounding alone explains (`ROUNDING`) is 0 with an error of 0: the difference of any metric, or, of two ratios,
    that of their logarithms, which are then equally far from 0 wherever that is.

    Args:
        ours, theirs: What `judged` says of two models over the same rows.
        pairs: The slices, and the requests within them.
        factor: What theirs is multiplied by, c.

    Returns:
        `(S,)` and `(S,)`; NaN where a value is NaN.
    """
    difference = ours.values - factor * theirs.values
    errors = pairs.errors(ours.influences - factor * theirs.influences)
    if ours.signed is None or theirs.signed is None:
        small = ROUNDING * np.abs(theirs.values)
        rounded = (np.abs(difference) <= small) & (errors <= small)
        difference, errors = np.where(rounded, 0.0, difference), np.where(rounded, 0.0, errors)
    else:
        apart = pairs.errors(_of_log(ours, pairs) - _of_log(theirs, pairs))
        same = (np.abs(ours.signed - theirs.signed) <= ROUNDING) & (apart <= ROUNDING)
        wide = ours.values + factor * theirs.values
        other = pairs.errors(ours.influences + factor * theirs.influences)
        share = np.divide(np.abs(difference), wide, out=np.zeros_like(wide), where=wide > 0.0)
        difference = np.where(same, (1.0 - factor) * theirs.values, difference)
        errors = np.where(same, 0.0, np.maximum(errors, other * share))
    return difference, np.where(np.isnan(difference), np.nan, errors)


def _of_log(ratio: Judged, pairs: SlicePairs) -> FloatArray:
    """Influences `(P,)` of a log ratio, whose size has them with the sign of its side of 0."""
    return ratio.influences if ratio.signed is None else ratio.influences * pairs.each(_side(ratio.signed))


def _side(logs: FloatArray) -> FloatArray:
    """-1 below 0, else 1."""
    return np.where(logs < 0.0, -1.0, 1.0)
