"""PBM: every engagement of the log, moved from the position where it happened to the one of the new ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.checks import FloatArray, IntArray
from evaluation.counterfactual.pooled_positions import LEAST, pool_positions
from evaluation.counterfactual.reranking import Reranking
from evaluation.counterfactual.valued import Valued

__all__ = ["PositionEffect", "position_based", "position_effect"]


@dataclass(frozen=True, eq=False)
class PositionEffect:
    """theta, how much an engagement is seen at each position, for a head.

    Attributes:
        groups: `(P,)` the run of positions to which position 1 .. P belongs.
        theta: `(G,)` of each run, up to one factor for all.
    """

    groups: IntArray
    theta: FloatArray

    def relative(self) -> FloatArray:
        """`(P,)` of each position, 1 at the top."""
        return np.asarray(self.theta[self.groups] / self.theta[self.groups[0]])


def position_effect(
    reranking: Reranking, labels: FloatArray, relevance: FloatArray | None = None, clip: float = 0.0
) -> PositionEffect | None:
    """Estimate theta from the log's own randomness.

        theta_k = sum_{i at k} y_i / p_i  /  sum_{i at k} rho_i / p_i

    Divided by its propensity, every candidate is at every position equally often, so what is left to differ is the
    position: intervention harvesting [Agarwal, Zaitsev, Wang, Li, Najork, Joachims 2019] from logged propensities. With
    rho_i the item's predicted relevance it is right as well where clipped weights are not, if the prediction is.

    Args:
        reranking: N rows of R requests.
        labels: `(N,)` 0 or 1, without missing ones.
        relevance: `(N,)` rho_i, e.g. the probability at the serving position; None: all alike.
        clip: The smallest propensity that is divided by.

    Returns:
        theta, with neighbouring positions of fewer than 20 engagements taken together; None below 20 in all, and
        where that makes one run of several positions: 1 for all of them would pass for "no change".
    """
    place = reranking.logged - 1
    used = reranking.weights[reranking.clusters.codes]
    seen = np.bincount(place, weights=labels * (used > 0))
    if seen.sum() < LEAST:
        return None
    groups = pool_positions(seen)
    if groups[-1] == 0 and np.count_nonzero(np.bincount(place, weights=used)) > 1:
        return None
    group = groups[place]
    weights = used / np.maximum(reranking.propensity, clip)
    rho = _relevance(relevance, len(labels))
    theta = np.bincount(group, weights=weights * labels) / np.bincount(group, weights=weights * rho)
    return PositionEffect(groups, theta)


def position_based(
    reranking: Reranking, labels: FloatArray, relevance: FloatArray | None = None, clip: float = 0.0
) -> Valued:
    """The position-based estimator [Li et al. 2018, section 4; Craswell et al. 2008 for the model].

        V = 1/R sum_r sum_i y_i theta(new_i) / theta(logged_i)

    Assumes P(engagement) = theta(position) x relevance(item): seeing depends on the position alone and multiplies. It
    uses every row, so its error is a fraction of IPS's, and what it gets wrong no number of rows cures. The error of
    theta, which is estimated from the same rows, is in the standard error.

    Args:
        reranking, labels, relevance, clip: As in `position_effect`.

    >>> two = Reranking.of([1, 0] * 20, list("ab") * 20, np.repeat(np.arange(20), 2), [2, 1] * 20, [0.5] * 40)
    >>> round(position_based(two, np.ones(40)).value, 9)
    2.0
    """
    effect = position_effect(reranking, labels, relevance, clip)
    if effect is None:
        found = int(labels[reranking.weights[reranking.clusters.codes] > 0].sum())
        reason = f"too few engagements for the positions' effect: {found} of the {LEAST} needed"
        if found >= LEAST:
            reason = f"too few engagements to tell positions apart: {found}, no two runs of them with {LEAST} each"
        return Valued.missing(reranking.clusters.count, reason)
    theta = effect.theta
    logged, new = effect.groups[reranking.logged - 1], effect.groups[reranking.new - 1]
    moved = labels * reranking.counted * theta[new] / theta[logged]
    parts = reranking.per_request(moved)
    value = float(parts.sum())
    # V depends on theta: dV/dtheta_k = (what moves to k, less what moves away from k) / theta_k
    share = reranking.weights[reranking.clusters.codes] / reranking.total
    arrived, left = (np.bincount(at, weights=share * moved, minlength=len(theta)) for at in (new, logged))
    weights = 1.0 / np.maximum(reranking.propensity, clip)
    rho = _relevance(relevance, len(labels))
    mass = np.bincount(logged, weights=share * weights * rho, minlength=len(theta))
    slope = (arrived - left) / (theta * mass)
    noise = reranking.per_request(slope[logged] * weights * (labels - theta[logged] * rho))
    return Valued(value, parts - value * reranking.weights / reranking.total + noise)


def _relevance(relevance: FloatArray | None, rows: int) -> FloatArray:
    # a probability that rounding took to 0 must not be the only thing that a position is divided by
    return np.ones(rows) if relevance is None else np.maximum(relevance, 1e-12)
