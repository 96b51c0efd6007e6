"""Expectations over the random order of n equal scores, p of them positive: sums of 1 / rank, and the first positive.

The order of a tie is no merit of a model, so a tie is worth what a random order of its rows is worth on average
([McSherry and Najork 2008] "Computing information retrieval performance measures efficiently in the presence of tied
scores"). The place J of the first positive is negative hypergeometric:

    P(J = j | J >= j) = p / (n - j + 1),    j = 1 .. n - p + 1

n and p are numbers of rows; where rows were sampled they are sums of weights, and the same formulas run between the
whole numbers (the last place then has what is left).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation.checks import FloatArray, IntArray

__all__ = ["expected_at_first_positive", "harmonic_difference", "place_grid"]

_SHIFT = 16  # terms that are added one by one before the expansion takes over
_SINGLE = 1024  # places taken one by one
_BLOCK = 2**20  # numbers held at once


def harmonic_difference(above: FloatArray, places: FloatArray) -> FloatArray:
    """1 / (a + 1) + ... + 1 / (a + m), relative error about 1e-15; between whole numbers H(a + m) - H(a).

    Args:
        above: `(G,)` a >= 0.
        places: `(G,)` m >= 0.

    >>> harmonic_difference(np.array([0.0, 2.0]), np.array([2.0, 1.0])).round(12).tolist()
    [1.5, 0.333333333333]
    """
    total = np.zeros(len(above))
    for term in range(1, _SHIFT + 1):
        total += places / ((above + term) * (above + places + term))
    # H(x) = log z + 1/(24 z^2) - 7/(960 z^4) + 31/(8064 z^6) - 127/(30720 z^8) + ... + Euler's constant, z = x + 1/2
    low = above + (_SHIFT + 0.5)
    total += np.log1p(places / low)
    total += _tail(low + places) - _tail(low)
    return total


def expected_at_first_positive(
    size: FloatArray, positives: FloatArray, worth: Callable[[IntArray, FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """E[worth(J)] `(G,)` of the place J of the first positive row within each group.

    The first 1,024 places are taken one by one. Weights make ties of any length, so later places are taken together,
    1/256 of the way at a time, with their exact chance and their worth in the middle: where that is 1 / place, the
    error is below 1e-8.

    Args:
        size: `(G,)` n.
        positives: `(G,)` p, 0 < p <= n; all that are at least 1.
        worth: Called with numbers of groups `(A,)`, the places before `(B,)` and how many are taken together `(B,)`,
            for the mean worth of these places in each of the groups, `(A, B)`.

    >>> three = np.array([3.0])
    >>> expected_at_first_positive(three, np.ones(1), lambda group, before, taken: 1.0 / (before + 1.0)[None]).round(4)
    array([0.6111])
    """
    out = np.zeros(len(size))
    survival = np.ones(len(size))  # of the first positive not having come yet
    ends = place_grid(float((size - positives).max(initial=0.0)) + 1.0, _SINGLE)
    grid, steps = ends[:-1], np.diff(ends)
    groups: IntArray = np.arange(len(size))
    begin, width = 0, 8
    while len(groups):
        width = max(1, min(2 * width, _BLOCK // len(groups)))
        before, taken = grid[begin : begin + width], steps[begin : begin + width]  # (B,)
        stay = _stay(size[groups, None] - before, positives[groups, None], taken)  # (A, B)
        reached = survival[groups, None] * np.cumprod(stay, axis=1)
        chances = np.concatenate([survival[groups, None], reached[:, :-1]], axis=1) * (1.0 - stay)
        out[groups] += (chances * worth(groups, before, taken)).sum(axis=1)
        survival[groups] = reached[:, -1]
        groups = groups[survival[groups] > 0.0]
        begin += width
    return out


def place_grid(places: float, single: int) -> FloatArray:
    """0, 1, 2, ... up to `single`, then steps of 1/256 of the way, until `places` are covered.

    >>> place_grid(2.5, 1024)
    array([0., 1., 2., 3.])
    """
    ones = np.arange(min(float(single), np.ceil(places)) + 1.0)
    steps = [ones[-1]]
    while steps[-1] < places:
        steps.append(steps[-1] + np.floor(steps[-1] / 256.0))
    return np.append(ones, steps[1:])


def _stay(left: FloatArray, positives: FloatArray, taken: FloatArray) -> FloatArray:
    """The chance `(A, B)` that none of the next `taken` of the `left` rows is positive."""
    out = np.zeros(left.shape)
    one = (taken == 1.0) & (left > positives)
    np.divide(positives, left, out=out, where=one)
    np.subtract(1.0, out, out=out, where=one)
    if taken[-1] > 1.0:
        # the product of 1 - p / u over the rows u = left, left - 1, ...: in the log the integral from half to half
        last = left - taken + 0.5
        some = (taken > 1.0) & (last > positives)
        u, v, p = (left + 0.5)[some], last[some], np.broadcast_to(positives, left.shape)[some]
        logs = (u - p) * np.log1p(-p / u) - (v - p) * np.log1p(-p / v) - p * np.log1p((u - v) / v)
        out[some] = np.exp(np.minimum(logs, 0.0))
    return out


def _tail(z: FloatArray) -> FloatArray:
    square = 1.0 / (z * z)
    return square * (1.0 / 24.0 - square * (7.0 / 960.0 - square * (31.0 / 8064.0 - square * 127.0 / 30720.0)))
