"""Bounded stick-breaking: the unit cube onto the simplex with bounds, and back.

Heads take their share one after another from what is left. With S_i the slack before head i (the total of all shares
minus those taken and minus the lows of the heads to come), head i takes the fraction z_i of it:

    x_i = low_i + S_i * z_i

Bounds truncate z_i to an interval that leaves the later heads a solution; the cube's coordinate u_i runs over that
interval. So every point of the cube satisfies all bounds. Plain sticks run over it evenly. For even *points*, it is
F(z_i) = 1 - (1 - z_i)^k that runs evenly, k heads being still to come: F is the law of the first of k + 1 pieces of a
stick broken uniformly [Beta(1, k)], so uniform u give uniform points of the simplex. Upper bounds make them uneven,
as exact ones would need the volume of the rest of the space at each step: later heads get more, the tighter the bounds
the more (four heads of at most .5: on average .20, .21, .30, .30; six of at most .25: .10 to .23). So with upper bounds
points that shall be even are drawn another way where that is possible (`even_points`).
"""

from __future__ import annotations

import numpy as np

from evaluation.checks import FloatArray


def sticks_to_shares(
    cube: FloatArray, low: FloatArray, high: FloatArray, total: float = 1.0, *, even: bool = False
) -> FloatArray:
    """Shares (V, T) of points (V, T - 1) of the unit cube.

    Args:
        cube: (V, T - 1) within [0, 1].
        low: (T,) lowest shares, of sum <= total.
        high: (T,) highest shares, of sum >= total; every head can reach both ends (tightened bounds).
        total: The sum of the shares: less than 1 when heads that cannot move are left out.
        even: Whether uniform points of the cube shall become uniform points of the simplex.

    >>> cube = np.array([[0.75, 0.5]])
    >>> sticks_to_shares(cube, np.zeros(3), np.ones(3)).tolist()
    [[0.75, 0.125, 0.125]]
    >>> sticks_to_shares(cube, np.zeros(3), np.ones(3), even=True).tolist()
    [[0.5, 0.25, 0.25]]
    """
    count, free = cube.shape
    shares = np.empty((count, free + 1))
    slack = np.full(count, total - low.sum())
    for head in range(free):
        lowest, highest = _range(slack, low, high, head)
        if even:
            after = free - head
            first, last = (1.0 - _fraction(lowest, slack)) ** after, (1.0 - _fraction(highest, slack)) ** after
            piece = slack * (1.0 - (first + cube[:, head] * (last - first)) ** (1.0 / after))
        else:
            piece = lowest + cube[:, head] * (highest - lowest)
        piece = np.clip(piece, lowest, highest)  # against rounding
        shares[:, head] = low[head] + piece
        slack = slack - piece
    shares[:, free] = np.clip(low[free] + slack, low[free], high[free])
    return shares


def shares_to_sticks(shares: FloatArray, low: FloatArray, high: FloatArray, total: float = 1.0) -> FloatArray:
    """Points (V, T - 1) of the unit cube: the inverse of plain `sticks_to_shares`.

    Where an earlier head leaves a later one no choice, every coordinate gives the same share: 0.5 is returned.

    >>> shares_to_sticks(np.array([[0.75, 0.125, 0.125]]), np.zeros(3), np.ones(3)).tolist()
    [[0.75, 0.5]]
    """
    count, free = len(shares), shares.shape[1] - 1
    cube = np.empty((count, free))
    slack = np.full(count, total - low.sum())
    for head in range(free):
        lowest, highest = _range(slack, low, high, head)
        piece = np.clip(shares[:, head] - low[head], lowest, highest)
        width = highest - lowest
        choice = width > 1e-12
        cube[:, head] = np.where(choice, (piece - lowest) / np.where(choice, width, 1.0), 0.5)
        slack = slack - piece
    return np.clip(cube, 0.0, 1.0)


def balanced(start: FloatArray, slope: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """x = clip(start + c * slope, low, high) with the c for which sum x = 1, exactly: (V, T).

    sum x is piecewise linear and increasing in c; its corners are where a head reaches a bound. With slope 1 this is
    the Euclidean projection onto the bounded simplex, with start 0 the scaling that keeps proportions.

    Args:
        start: (V, T).
        slope: (V, T), > 0.
        low: (T,) or (V, T), of sum <= 1.
        high: (T,) or (V, T), of sum >= 1.

    >>> balanced(np.array([[0.9, 0.3, 0.3]]), np.ones((1, 3)), np.zeros(3), np.array([0.5, 1.0, 1.0])).tolist()
    [[0.5, 0.25, 0.25]]
    """
    low, high = np.broadcast_to(low, start.shape), np.broadcast_to(high, start.shape)
    corners = np.sort(np.concatenate([(low - start) / slope, (high - start) / slope], axis=1), axis=1)  # (V, 2T)
    levels = np.clip(start[:, None, :] + corners[:, :, None] * slope[:, None, :], low[:, None, :], high[:, None, :])
    levels = levels.sum(axis=2)  # (V, 2T)
    # The sum is 1 between the last corner below and the next one.
    left = np.clip((levels < 1.0).sum(axis=1) - 1, 0, corners.shape[1] - 2)
    rows = np.arange(len(start))
    rise = levels[rows, left + 1] - levels[rows, left]
    part = np.clip((1.0 - levels[rows, left]) / np.where(rise > 0, rise, 1.0), 0.0, 1.0)
    shift = corners[rows, left] + part * (corners[rows, left + 1] - corners[rows, left])
    shares = np.clip(start + shift[:, None] * slope, low, high)
    # The last bits: the head with most room on the needed side takes what rounding left.
    for _ in range(2):
        rest = 1.0 - shares.sum(axis=1)
        room = np.where(rest[:, None] > 0, high - shares, shares - low)
        widest = room.argmax(axis=1)
        shares[rows, widest] = np.clip(shares[rows, widest] + rest, low[rows, widest], high[rows, widest])
    return shares


def _range(slack: FloatArray, low: FloatArray, high: FloatArray, head: int) -> tuple[FloatArray, FloatArray]:
    """The smallest and the largest piece (V,) above its low that head may take, so that the rest has a solution."""
    later = (high[head + 1 :] - low[head + 1 :]).sum()
    highest = np.minimum(high[head] - low[head], np.maximum(slack, 0.0))
    return np.clip(slack - later, 0.0, highest), highest


def _fraction(piece: FloatArray, slack: FloatArray) -> FloatArray:
    """piece / slack within [0, 1], (V,); 0 where nothing is left."""
    left = slack > 0
    return np.asarray(np.clip(np.where(left, piece / np.where(left, slack, 1.0), 0.0), 0.0, 1.0))
