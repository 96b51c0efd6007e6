"""The policy that wrote the log: which candidates a request has, in which order they are shown, how likely that was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QUADRATURE_NODES = 40
# (request, node) pairs worked on at once: vectors of 32 KiB, so that the recursion below stays in the core's cache
BLOCK = 4096


def draw_candidates(random: np.random.Generator, requests: int, candidates: int, properties: int) -> NDArray[np.int64]:
    """Sets of different properties, every set equally likely.

    Rows are drawn with replacement and only what repeats within a row is drawn again: nothing in this prefers one
    property to another, so the sets are uniform, and no array of requests x properties is needed.

    Parameters
    ----------
    random : np.random.Generator
    requests, candidates, properties : int
        `candidates` different numbers below `properties` for each request.

    Returns
    -------
    (requests, candidates) int array, each row ascending

    Examples
    --------
    >>> draw_candidates(np.random.default_rng(0), 2, 4, 4).tolist()
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """
    drawn = np.sort(random.integers(0, properties, (requests, candidates)), axis=1)
    open_rows = np.arange(requests)
    while len(open_rows):
        rows = drawn[open_rows]
        repeated = np.zeros(rows.shape, dtype=bool)
        repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
        still = repeated.any(axis=1)
        open_rows, rows, repeated = open_rows[still], rows[still], repeated[still]
        rows[repeated] = random.integers(0, properties, int(repeated.sum()))
        drawn[open_rows] = np.sort(rows, axis=1)
    return drawn


def draw_queries(random: np.random.Generator, candidates: NDArray[np.int64], properties: int) -> NDArray[np.int64]:
    """The property that each request is looking at: any that is not among the request's candidates, equally likely.

    Parameters
    ----------
    random : np.random.Generator
    candidates : (R, C) int array
        Different properties in each row, ascending.
    properties : int
        How many there are, more than C.

    Returns
    -------
    (R,) int array

    Examples
    --------
    >>> draw_queries(np.random.default_rng(0), np.array([[0, 1, 3], [1, 2, 3]]), 4).tolist()
    [2, 0]
    """
    requests, count = candidates.shape
    place = random.integers(0, properties - count, requests)  # among those that are no candidates, in ascending order
    skipped = candidates - np.arange(count)  # so many properties that are no candidates come before each candidate
    return np.asarray(place + (skipped <= place[:, None]).sum(axis=1))


def order_by_plackett_luce(random: np.random.Generator, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw one order per request: the top is item i with probability exp(s_i) / sum_j exp(s_j), and so on of the rest.

    Sorting s + Gumbel noise does exactly that [Yellott 1977].

    Parameters
    ----------
    random : np.random.Generator
    scores : (R, C) float array
        The policy's score of each candidate.

    Returns
    -------
    (R, C) int array
        Column of `scores` shown at position 1, 2, ...
    """
    return np.argsort(-(scores + random.gumbel(size=scores.shape)), axis=1)


def position_propensity(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Marginal probability, under Plackett-Luce, of each item being at the position at which it stands.

    Give every item an arrival time t_i, exponential with rate w_i = exp(s_i); items in order of arrival are a
    Plackett-Luce order. Item i is k-th when exactly k - 1 others arrived before it:

        P(i at k) = integral_0^inf  w_i exp(-w_i t)  B_{-i}(k - 1; t) dt,

    B_{-i}(.; t) the law of how many of the others have arrived by t (Poisson-binomial with 1 - exp(-w_j t)). The sum
    over the C! orders is thus one integral per item. Substituting t = exp(c + b logit x), with c and b from the
    request's scores, it is done by Gauss-Legendre with 40 nodes: absolute error below 1e-4 for twenty items whose
    weights span three decades (relative below 1e-3 wherever the probability exceeds 1e-3). B_{-i} comes from the law
    of all items by taking item i out again: from below where 1 - exp(-w_i t) <= 1/2 and from above elsewhere, which is
    what keeps that recursion stable.

    Parameters
    ----------
    scores : (R, C) float array
        The policy's scores, columns in the order shown: column 0 stands at position 1.

    Returns
    -------
    (R, C) float array

    Examples
    --------
    Two items, one twice as heavy: first with 2/3, and the lighter one is then second with 2/3.

    >>> position_propensity(np.log([[2.0, 1.0], [1.0, 2.0]])).round(3).tolist()
    [[0.667, 0.667], [0.333, 0.333]]
    """
    scores = scores - scores.mean(axis=1, keepdims=True)  # only differences count; this keeps exp() in range
    requests, candidates = scores.shape
    x, gauss = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    x, gauss = (x + 1) / 2, gauss / 2
    low, high = -scores.max(axis=1), -scores.min(axis=1)  # log arrival times lie about here
    centre, width = (low + high) / 4, 1 + (high - low) / 10  # halfway between the range's middle and the mean (0)
    times = np.exp(centre[:, None] + width[:, None] * np.log(x / (1 - x)))  # (R, G)
    measure = times * width[:, None] * gauss / (x * (1 - x))  # dt at each node
    weights = np.exp(scores)
    propensity = np.empty((requests, candidates))
    step = max(1, BLOCK // QUADRATURE_NODES)
    for first in range(0, requests, step):
        block = slice(first, first + step)
        rate_time = (weights[block].T[:, :, None] * times[block]).reshape(candidates, -1)  # (C, M): w_i t
        at_position = _left_out_law_at_own_position(rate_time).reshape(candidates, -1, QUADRATURE_NODES)
        density = weights[block].T[:, :, None] * np.exp(-rate_time).reshape(at_position.shape)
        propensity[block] = np.einsum("crg,crg,rg->rc", density, at_position, measure[block])
    return np.clip(propensity, 1e-12, 1.0)


def _left_out_law_at_own_position(rate_time: NDArray[np.float64]) -> NDArray[np.float64]:
    """B_{-i}(i; t) for i = 0..C-1: the chance that exactly i of the others have arrived; (C, M) from w_i t (C, M)."""
    candidates, nodes = rate_time.shape
    waiting = np.exp(-rate_time)  # (C, M)
    arrived = -np.expm1(-rate_time)
    law = np.zeros((candidates + 1, nodes))  # law[k]: exactly k of all items have arrived
    law[0] = 1.0
    for i in range(candidates):
        came = law[: i + 1] * arrived[i]
        law[: i + 2] *= waiting[i]
        law[1 : i + 2] += came
    result = np.empty_like(rate_time)
    # each branch is computed everywhere and used only where it is stable: elsewhere it may overflow, harmlessly
    with np.errstate(all="ignore"):
        for i in range(candidates):
            p, q = arrived[i], waiting[i]
            from_below = law[0] / q
            for k in range(1, i + 1):
                from_below = (law[k] - p * from_below) / q
            from_above = law[candidates] / p
            for k in range(candidates - 1, i, -1):
                from_above = (law[k] - q * from_above) / p
            result[i] = np.where(p <= 0.5, from_below, from_above)
    return result
