"""What groups of equal scores are worth to each metric, summed within requests: a few closed forms.

With a rows above a group of n rows, p of them positive, h positive rows above, and ranks from 1, the expectation over
random orders of the group ([McSherry and Najork 2008], section 2) of

- the discounted gain is G (D(a + n) - D(a)) / n, with G its labels' sum and D(x) = sum of 1 / log2(r + 1) over r <= x;
- the positives among the first K is p m / n, with m = min(max(K - a, 0), n) the group's places among them;
- the sum of the precisions at its positive rows among the first K is, each place being positive with probability p / n
  and then having (p - 1) / (n - 1) of the other positives on every place of the group above it,

      (p / n) sum_{j <= m} (h + 1 + (j - 1) (p - 1) / (n - 1)) / (a + j)
      = (p / n) [(h + 1) S + (p - 1) / (n - 1) (m - (a + 1) S)],    S = 1 / (a + 1) + ... + 1 / (a + m).

Between whole numbers (rows of fractional weight) part of a rank has part of its discount.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from evaluation.per_request.expectations import expected_at_first_positive, harmonic_difference, place_grid
from evaluation.per_request.tied_groups import TiedGroups

__all__ = ["DiscountArea", "expected_found", "expected_hit", "expected_precisions", "expected_reciprocal_rank"]

_SINGLE = 2**20  # ranks with a discount of their own: only the sums of weights are longer


class DiscountArea:
    """D(x) = sum of 1 / log2(r + 1) over the ranks r = 1 .. x up to the cutoff; linear between whole x.

    >>> area = DiscountArea(3)
    >>> area(np.array([1.0, 1.5, 9.0])).round(4).tolist()
    [1.0, 1.3155, 2.1309]
    """

    def __init__(self, cutoff: float) -> None:
        self._ranks = place_grid(cutoff, _SINGLE)
        taken = np.diff(self._ranks)
        discounts = taken / np.log2(self._ranks[1:] - (taken - 1.0) / 2.0 + 1.0)  # a step has that of its middle
        self._sums = np.append(0.0, np.cumsum(discounts))  # D(0), D(1), ..., D(K)

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.interp(x, self._ranks, self._sums)

    def gain(self, groups: TiedGroups) -> FloatArray:
        """The expected discounted gain `(G,)` of each group."""
        share = self(groups.above + groups.size)
        share -= self(groups.above)
        share /= groups.size
        return share * groups.gain


def expected_found(groups: TiedGroups, cutoff: float) -> FloatArray:
    """The expected positives `(G,)` of each group among the first `cutoff` rows."""
    return groups.positives * (_places(groups, cutoff) / groups.size)


def expected_precisions(groups: TiedGroups, cutoff: float = np.inf) -> FloatArray:
    """The expected sum `(G,)` of the precisions at each group's positive rows among the first `cutoff`."""
    a, n, p, h = groups.above, groups.size, groups.positives, groups.before
    m = _places(groups, cutoff)
    out = m * (h + 1.0) / (a + 1.0)  # of a single row
    tied = np.flatnonzero(n != 1.0)
    if len(tied):
        a, n, p, h, m = (part[tied] for part in (a, n, p, h, m))
        sums = harmonic_difference(a, m)
        others = np.where(p == n, 1.0, (p - 1.0) / (n - 1.0))
        out[tied] = p / n * ((h + 1.0) * sums + others * (m - (a + 1.0) * sums))
    return out


def expected_reciprocal_rank(groups: TiedGroups, cutoff: float = np.inf) -> FloatArray:
    """The expected 1 / rank `(G,)` of each request's first positive row, 0 beyond `cutoff`; at its first group."""

    def worth(above: FloatArray, before: FloatArray, taken: FloatArray) -> FloatArray:
        return np.clip((cutoff - above - before) / taken, 0.0, 1.0) / (above + before + (taken + 1.0) / 2.0)

    return _at_first_positive(groups, worth, np.ones(len(groups.size), bool))


def expected_hit(groups: TiedGroups, cutoff: float) -> FloatArray:
    """The chance `(G,)` that each request's first positive row is among the first `cutoff`; at its first group."""
    places = _places(groups, cutoff)
    across = (places > 0.0) & (places < groups.size)
    out = _at_first_positive(
        groups, lambda above, before, taken: np.clip((cutoff - above - before) / taken, 0.0, 1.0), across
    )
    out[_is_first(groups) & (places == groups.size)] = 1.0
    return out


def _at_first_positive(
    groups: TiedGroups,
    worth: Callable[[FloatArray, FloatArray, FloatArray], FloatArray],
    asked: npt.NDArray[np.bool_],
) -> FloatArray:
    """E[worth] of the place of the first positive row at the first group of each request if `asked` for, else 0."""
    out = np.zeros(len(groups.size))
    asked = asked & _is_first(groups)
    all_positive = groups.positives == groups.size  # then J = 1
    sure, mixed = np.flatnonzero(asked & all_positive), np.flatnonzero(asked & ~all_positive)
    out[sure] = worth(groups.above[sure], np.zeros(1), np.ones(1))
    above = groups.above[mixed, None]
    out[mixed] = expected_at_first_positive(
        groups.size[mixed],
        groups.positives[mixed],
        lambda some, before, taken: worth(above[some], before, taken),
    )
    return out


def _is_first(groups: TiedGroups) -> npt.NDArray[np.bool_]:
    first = np.ones(len(groups.request), bool)
    first[1:] = groups.request[1:] != groups.request[:-1]
    return first


def _places(groups: TiedGroups, cutoff: float) -> FloatArray:
    """m: how many places `(G,)` of each group are among the first `cutoff`."""
    return np.minimum(np.maximum(cutoff - groups.above, 0.0), groups.size)
