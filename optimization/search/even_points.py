"""Points spread evenly over a bounded simplex: an even simplex around it, and of its points those within the bounds.

Bounds low <= x <= high with sum x = total lie in two simplices, of even points of which (`stick_breaking`, e >= 0 with
sum e = 1) those within the bounds are even over the space, whatever the order of the heads:

    from below:  x = low + (total - sum low) e        from above:  x = high - (sum high - total) e

The one that fewer points are lost of is taken. Four heads of at most .3 keep 4 % from below and all from above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from evaluation.checks import FloatArray
from optimization.search.stick_breaking import sticks_to_shares

LEAST = 0.02  # of the points must lie within the bounds: fifty times as many as are needed are still drawn in no time
PROBES = 4096  # points from which it is estimated, the same for all
SMALLEST = 64  # points drawn at a time, at least
SLACK = 1e-12  # a point off its bounds by rounding is put onto them


@dataclass(frozen=True)
class Around:
    """A simplex around a bounded one: x = corner + size e.

    Attributes:
        corner: (T,) the bounds that it starts from.
        size: The rest of the total; below 0 for the simplex from above.
        low, high: (T,) the bounds; every head can reach both ends (tightened bounds).
        kept: Share of its even points that lie within the bounds, estimated.
    """

    corner: FloatArray
    size: float
    low: FloatArray
    high: FloatArray
    kept: float

    def points(self, cube: FloatArray) -> FloatArray:
        """Those shares (n, T) of points (V, T - 1) of the unit cube that lie within the bounds, in their order."""
        shares = _even(self.corner, self.size, cube)
        return np.clip(shares[_within(shares, self.low, self.high)], self.low, self.high)

    def first(self, count: int, draw: Callable[[int], FloatArray]) -> FloatArray:
        """The first `count` points (count, T) of a sequence of the unit cube, whose next n points `draw(n)` gives."""
        found = [np.empty((0, len(self.low)))]
        while (missing := count - sum(map(len, found))) > 0:
            found.append(self.points(draw(max(SMALLEST, round(1.2 * missing / self.kept)))))
        return np.concatenate(found)[:count]


def simplex_around(low: FloatArray, high: FloatArray, total: float) -> Around | None:
    """The simplex whose even points within the bounds are worth their loss; None where nearly all are lost.

    Args:
        low, high: (T,), of sum low < total < sum high; tightened, so that every head can reach both ends.
        total: The sum of the shares.

    >>> simplex_around(np.zeros(3), np.ones(3), 1.0).kept, simplex_around(np.zeros(4), np.full(4, 0.3), 1.0).kept
    (1.0, 1.0)
    """
    # Not of the study's seed, or whether points are even would be a matter of luck.
    cube = torch.quasirandom.SobolEngine(len(low) - 1, scramble=True, seed=0).draw(PROBES, dtype=torch.float64).numpy()
    found = []
    for corner, size in ((low, total - low.sum()), (high, total - high.sum())):
        kept = float(_within(_even(corner, size, cube), low, high).mean())
        found.append(Around(corner, float(size), low, high, kept))
    best = max(found, key=lambda around: around.kept)  # the first of equals
    return best if best.kept >= LEAST else None


def _even(corner: FloatArray, size: float, cube: FloatArray) -> FloatArray:
    heads = len(corner)
    return corner + size * sticks_to_shares(cube, np.zeros(heads), np.ones(heads), even=True)


def _within(shares: FloatArray, low: FloatArray, high: FloatArray) -> np.ndarray:
    return np.asarray(((shares >= low - SLACK) & (shares <= high + SLACK)).all(axis=1))
