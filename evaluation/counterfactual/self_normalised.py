"""SNIPS: IPS position by position, divided by what its weights add up to instead of what they should."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.checks import FloatArray, IntArray
from evaluation.counterfactual.pooled_positions import pool_positions
from evaluation.counterfactual.reranking import Reranking
from evaluation.counterfactual.valued import Valued
from evaluation.counterfactual.weights import match_weights

__all__ = ["MatchedMeans", "matched_means", "self_normalised"]


def self_normalised(reranking: Reranking, labels: FloatArray, clip: float = 0.0) -> Valued:
    """The self-normalised estimator [Swaminathan & Joachims 2015, eq. 8] at every position, summed over positions.

        V = sum_k n_k (sum_{i at k} w_i y_i) / (sum_{i at k} w_i),    w_i = 1[new_i = logged_i] / p_i

    n_k is the mean number of candidates per request at position k (1, where every request fills it). Normalising over
    all positions at once would mix the top, where engagements are frequent, with the bottom by how many matches each
    happened to get. Neighbouring positions with fewer than 20 matches are taken together. What is clipped or was never
    shown is assumed to be worth what the other placements of its position are.

    Args:
        reranking: N rows of R requests.
        labels: `(N,)` 0 or 1, without missing ones.
        clip: The smallest propensity that is divided by.

    >>> two = Reranking.of([1, 0, 0, 1], list("abab"), [1, 1, 2, 2], [1, 2, 1, 2], [0.5] * 4)
    >>> self_normalised(two, np.array([1.0, 0.0, 1.0, 1.0])).value
    1.0
    """
    weights = match_weights(reranking, clip)
    means = matched_means(reranking, labels, weights)
    if means is None:
        return Valued.missing(reranking.clusters.count, "no candidate stands in the log where the new ranking puts it")
    group = means.group
    expected = np.where(reranking.counted, means.mean[group], 0.0)
    parts = reranking.per_request(expected)
    value = float(parts.sum())
    # dV / d(mean of a position) is n_k; a mean's own influence is w (y - mean) / sum w
    deviation = weights * (labels - means.mean[group]) / means.covered[group]
    influence = parts - value * reranking.weights / reranking.total + reranking.per_request(deviation)
    return Valued(value, influence)


@dataclass(frozen=True, eq=False)
class MatchedMeans:
    """Weighted means over the shared placements, by position or by runs of positions (G groups).

    Attributes:
        group: `(N,)` the group of each row's new position.
        mean: `(G,)` sum w v / sum w.
        covered: `(G,)` sum w over the number of rows: 1 in expectation where nothing is clipped or unsupported.
        places: `(G,)` mean number of candidates per request.
    """

    group: IntArray
    mean: FloatArray
    covered: FloatArray
    places: FloatArray


def matched_means(reranking: Reranking, values: FloatArray, weights: FloatArray) -> MatchedMeans | None:
    """The means of `values` `(N,)` with match weights `(N,)`; None where no placement is shared."""
    if not reranking.matched.any():
        return None
    new = reranking.new - 1
    groups = pool_positions(np.bincount(new, weights=reranking.matched))
    group = groups[new]
    request_weight = reranking.weights[reranking.clusters.codes]
    size = int(groups[-1]) + 1

    def sums(rows: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(group, weights=request_weight * rows, minlength=size))

    mass, rows = sums(weights), sums(reranking.counted.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):  # a group beyond the cutoff holds no row that counts
        mean = np.where(mass > 0, sums(weights * values) / mass, 0.0)
        covered = np.where(rows > 0, mass / rows, 1.0)
    return MatchedMeans(group, mean, covered, rows / reranking.total)
