"""The cumulative difference of outcomes and predictions over the scores, and what chance alone would make of it.

    C(s) = sum over rows with p_i <= s of w_i (y_i - p_i) / sum of w_i

For a calibrated model C is a walk around 0; wherever it climbs the model predicts too little, where it falls too much.
C is a sum over requests of paths X_r(s), independent and of mean 0 where the model is calibrated, so that chance
redraws it by signs: C*(s) = sum_r g_r X_r(s), g_r = +-1 (the wild bootstrap, clustered, with the null imposed). Two
things make it honest where positives are few (a thousand requests of which thirty matter):

- the *level* of the variance is the model's own, sum w p (1 - p), not the observed one; only the design effect, what
  requests that move together and unequal weights multiply it by, is estimated. The observed level is small exactly when
  few positives came, which read as "predicts too much" more than twice as often as it should;
- each redrawn path is divided by sqrt(chi^2_nu / nu), as Student's t is, nu the degrees of freedom of the variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.calibration.variance_level import variance_level
from evaluation.checks import FloatArray
from evaluation.clusters import Clusters
from evaluation.freedom import variance_freedom
from evaluation.ordering import ScoreOrder

BINS = 512  # steps of the path: more would resolve noise
MOST_PATHS = 2048  # independent paths that are redrawn: more requests are thrown together at random
BLOCK = 1 << 18  # cells of one block of redrawn paths: they stay in the processor's cache


@dataclass(frozen=True)
class CumulativePath:
    """C at K + 1 places, the first one before the lowest score, and the weights and sums between them.

    Attributes:
        difference: `(K + 1,)` C, from 0 to the mean difference of all rows.
        score: `(K + 1,)` the highest score up to there; the first is the lowest score of all.
        share: `(K + 1,)` the share of the weight up to there, 0 to 1.
        predicted, observed: `(K + 1,)` sums of w p and of w y up to there, over the sum of w.
        paths: `(R', K)` float32, what each (group of) request(s) adds to C's steps.
        scale: The model's standard deviation over the observed one (the first correction above).
        freedom: nu, the degrees of freedom of the variance (the second one).
    """

    difference: FloatArray
    score: FloatArray
    share: FloatArray
    predicted: FloatArray
    observed: FloatArray
    paths: np.ndarray
    scale: float
    freedom: float

    @classmethod
    def of(
        cls,
        order: ScoreOrder,
        labels: FloatArray,
        probabilities: FloatArray,
        weights: FloatArray,
        clusters: Clusters,
        random: np.random.Generator,
        bins: int = BINS,
    ) -> CumulativePath:
        """The path of checked arrays; a row without a label has label 0 and weight 0, and some row has weight.

        Args:
            order: The order of `probabilities`.
            labels, probabilities, weights: `(N,)`.
            clusters: The rows' requests.
            random: Throws requests together where there are more than `MOST_PATHS`.
            bins: K at most: steps of about equal variance, for equal weight would leave the scores that matter of a
                rare head in a single step. Equal scores share a step.
        """
        total = float(weights.sum())
        residual = weights * (labels - probabilities) / total
        variance = weights**2 * probabilities * (1.0 - probabilities)
        step_of_group, steps = _steps(order, variance, weights, bins)
        step = step_of_group[order.group]
        lowest_first = order.order[order.ends][::-1]  # one row of each score
        score = probabilities[lowest_first[np.flatnonzero(np.diff(step_of_group[::-1], append=steps))]]

        def sums(values: FloatArray) -> FloatArray:
            summed = np.cumsum(np.bincount(step, weights=values, minlength=steps)) / total
            return np.concatenate([[0.0], summed])

        predicted, observed = sums(weights * probabilities), sums(weights * labels)
        group, count = _thrown_together(clusters, random)
        cells = np.bincount(group[clusters.codes] * steps + step, weights=residual, minlength=count * steps)
        return cls(
            difference=observed - predicted,
            score=np.concatenate([[probabilities[lowest_first[0]]], score]),
            share=sums(weights),
            predicted=predicted,
            observed=observed,
            paths=cells.reshape(count, steps).astype(np.float32),
            scale=float(np.sqrt(variance_level(labels, probabilities, weights)[0])),
            freedom=_freedom(clusters.sums(residual), clusters.sums(residual**2)),
        )

    @property
    def extent(self) -> float:
        """max C - min C: the largest difference over any range of scores (Kuiper's statistic)."""
        return float(np.ptp(self.difference))

    def redrawn_extents(self, replicates: int, random: np.random.Generator) -> FloatArray:
        """`extent` `(replicates,)` of paths that chance alone would make."""
        requests, steps = self.paths.shape
        extents = np.empty(replicates)
        size = max(1, BLOCK // max(requests, steps))
        for start in range(0, replicates, size):
            stop = min(start + size, replicates)
            signs = random.integers(0, 2, (stop - start, requests), dtype=np.int8).astype(np.float32) * 2.0 - 1.0
            walks = np.cumsum(signs @ self.paths, axis=1)
            extents[start:stop] = np.maximum(walks.max(axis=1), 0.0) - np.minimum(walks.min(axis=1), 0.0)
        if np.isfinite(self.freedom):
            extents *= np.sqrt(self.freedom / random.chisquare(self.freedom, replicates))
        return np.asarray(self.scale * extents)


def _steps(order: ScoreOrder, variance: FloatArray, weights: FloatArray, bins: int) -> tuple[np.ndarray, int]:
    """The step `(M,)` of every group of equal scores, 0 the lowest, and how many steps there are."""
    mass = order.cumulative(variance)  # from the highest score down
    if mass[-1] <= 0.0:  # every probability is 0 or 1: nothing may vary
        mass = order.cumulative(weights)
    middle = mass - np.diff(mass, prepend=0.0) / 2.0
    place = np.minimum(((1.0 - middle / mass[-1]) * bins).astype(np.intp), bins - 1)
    from_top = np.cumsum(np.diff(np.minimum.accumulate(place), prepend=place[0]) != 0)  # it falls, but for rounding
    return from_top[-1] - from_top, int(from_top[-1]) + 1


def _thrown_together(clusters: Clusters, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """The path `(R,)` that each request belongs to, and how many paths there are.

    Sums of independent requests are independent again; at 2,048 of them the variance is known to 3 %.
    """
    if clusters.count <= MOST_PATHS:
        return np.arange(clusters.count), clusters.count
    group = np.arange(clusters.count) % MOST_PATHS
    random.shuffle(group)
    return group, MOST_PATHS


def _freedom(sums: FloatArray, squares: FloatArray) -> float:
    """nu of the scaled variance, from each request's sum of residuals and sum of their squares, `(R,)` each.

    The harmonic mean of two: the degrees of freedom of sum of X_r^2, as if its level were estimated too (false alarms
    of 4.0-4.7 % in the study's small logs), and those of the design effect alone, sum of X_r^2 over sum of squares
    (5.0-6.5 %). Without either the small logs see 6.5-7.2 %.
    """
    whole = variance_freedom(sums)
    if not np.isfinite(whole):
        return whole
    total = float(sums @ sums)
    spread = float(np.sum((sums**2 - total / float(squares.sum()) * squares) ** 2))
    requests = float(np.count_nonzero(squares))
    effect = min(2.0 * total**2 / spread, requests) if spread > 0.0 else requests
    return 2.0 / (1.0 / whole + 1.0 / effect)
