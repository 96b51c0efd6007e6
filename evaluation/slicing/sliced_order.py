"""Rows slice by slice, each slice from the highest score to the lowest: one sort serves every slice of every column.

Cutting the rows into S slices and sorting each would cost a sort per slice. Here the order of all rows is known, and a
stable partition of it by slice code keeps every slice sorted; cumulative sums begin anew where a slice begins. (Sums
over the whole, less what had been summed up before the slice, would be lost to rounding in a slice that weighs 1e15
times less than those before it.) The cost hardly depends on S.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluation.checks import FloatArray, IntArray


class Runs(NamedTuple):
    """S runs of consecutive places, M in all, of which run s is starts[s] .. starts[s + 1] - 1.

    >>> runs = Runs(np.array([0, 2, 2, 5]))
    >>> values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> runs.cumulative(values).tolist(), runs.remaining(values).tolist(), runs.totals(values).tolist()
    ([1.0, 3.0, 3.0, 7.0, 12.0], [3.0, 2.0, 12.0, 9.0, 5.0], [3.0, 0.0, 12.0])
    """

    starts: IntArray

    def cumulative(self, values: FloatArray) -> FloatArray:
        """Sums `(M,)` over the place and all before it in its run."""
        sums = np.empty(len(values))
        for first, last in itertools.pairwise(self.starts):
            np.cumsum(values[first:last], out=sums[first:last])
        return sums

    def remaining(self, values: FloatArray) -> FloatArray:
        """Sums `(M,)` over the place and all after it in its run."""
        sums = np.empty(len(values))
        for first, last in itertools.pairwise(self.starts):
            np.cumsum(values[first:last][::-1], out=sums[first:last][::-1])
        return sums

    def totals(self, values: FloatArray) -> FloatArray:
        """Sums `(S,)` over each run."""
        sums = np.add.reduceat(np.append(values, 0.0), self.starts[:-1])  # of an empty run: the value it stands before
        return np.where(np.diff(self.starts) > 0, sums, 0.0)

    def each(self, values: FloatArray) -> FloatArray:
        """One value per run `(S,)`, said for each of its places `(M,)`."""
        return np.repeat(values, np.diff(self.starts))


@dataclass(frozen=True)
class SlicedOrder:
    """The rows of S slices, each in order of its scores and cut into groups of equal scores, M groups in all.

    Attributes:
        rows: `(N,)` row numbers, slice by slice, highest score first.
        ends: `(M,)` position within `rows` of each group's last row.
        starts: `(S + 1,)` the groups of slice s are starts[s] .. starts[s + 1] - 1; none where it holds no row.

    >>> order = SlicedOrder.of(np.array([0.2, 0.9, 0.2, 0.5]), np.array([1, 3, 0, 2]), np.array([0, 1, 0, 0]), 2)
    >>> order.rows.tolist(), order.ends.tolist(), order.starts.tolist()
    ([3, 0, 2, 1], [0, 2, 3], [0, 2, 3])
    """

    rows: IntArray
    ends: IntArray
    starts: IntArray

    @classmethod
    def of(cls, scores: FloatArray, order: IntArray, codes: IntArray, count: int) -> SlicedOrder:
        """The order within slices.

        Args:
            scores: `(N,)` without NaN.
            order: `(N,)` all row numbers, highest score first (`ScoreOrder.order`).
            codes: `(N,)` each row's slice, 0 .. count - 1.
            count: The number of slices, S.
        """
        rows = order
        if count > 1:  # small integers are sorted by counting them: a few ms for a million rows
            narrow = np.int16 if count <= np.iinfo(np.int16).max else np.int64
            rows = order[np.argsort(codes.astype(narrow)[order], kind="stable")]
        sizes = np.bincount(codes, minlength=count)
        last = np.cumsum(sizes)[sizes > 0] - 1  # of each slice that holds a row
        ranked = scores[rows]
        final = np.empty(len(rows), dtype=bool)
        final[:-1] = ranked[1:] != ranked[:-1]
        final[last] = True
        ends = np.flatnonzero(final)
        starts = np.searchsorted(ends, np.append(0, np.cumsum(sizes)))
        return cls(rows, ends, np.asarray(starts, dtype=np.intp))

    def own(self, ranked: FloatArray) -> FloatArray:
        """Sums `(M,)` of `ranked` `(N,)`, values in the order of `rows`, over each group."""
        if len(self.ends) == len(self.rows):
            return ranked
        return np.asarray(np.add.reduceat(ranked, np.append(0, self.ends[:-1] + 1)))

    @property
    def runs(self) -> Runs:
        """The groups as S runs."""
        return Runs(self.starts)

    def spread(self, values: FloatArray) -> FloatArray:
        """One value per group `(M,)`, said for each of its rows `(N,)` in the order of `rows`."""
        if len(self.ends) == len(self.rows):
            return values
        return np.repeat(values, np.diff(self.ends, prepend=-1))


def sliced_ap(order: SlicedOrder, labels: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average precision of every slice, and what each row adds to its own slice's first-order error.

    dAP/dw_j = [y_j (prec_j - AP) + y_j A_j - B_j] / P with prec_j = TP_j / N_j at the end of row j's group,
    A_j = sum of w_i y_i / N_i and B_j = sum of w_i y_i TP_i / N_i^2 over the rows i scored as j or lower, all within
    the slice. As only groups with a positive gain anything, all but two of the sums are over these alone.

    Args:
        order: Over N rows and S slices.
        labels: `(N,)` 0 or 1, in the order of `order.rows`.
        weights: `(N,)` >= 0, likewise; 0 where a label is missing.

    Returns:
        The values `(S,)`, NaN without a positive row, and the influences `(N,)` in the order of `order.rows`, 0 in
        slices whose value is NaN.
    """
    own_gains = order.own(weights * labels)
    gaining = np.flatnonzero(own_gains)  # (K,) groups
    runs = Runs(np.searchsorted(gaining, order.starts))
    gains = own_gains[gaining]
    inverse = 1.0 / order.runs.cumulative(order.own(weights))[gaining]
    precision = runs.cumulative(gains) * inverse
    positives = runs.totals(gains)
    per_positive = _inverse(positives)
    values = runs.totals(gains * precision) * per_positive
    shares = runs.each(per_positive)
    burdens = np.zeros(len(order.ends))
    burdens[gaining] = gains * precision * inverse * shares
    bonus = np.zeros(len(order.ends))
    bonus[gaining] = (precision - runs.each(values) + runs.remaining(gains * inverse)) * shares
    influence = weights * (labels * order.spread(bonus) - order.spread(order.runs.remaining(burdens)))
    return np.where(positives > 0.0, values, np.nan), influence


def sliced_auc(order: SlicedOrder, labels: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """AUC of every slice, and what each row adds to its own slice's first-order error; as `sliced_ap`.

    A positive row's is w_i (share of negative weight below it - AUC) / W_1, a negative row's
    w_j (share of positive weight above it - AUC) / W_0, equal scores counting one half, all within the slice.
    """
    runs = order.runs
    own_positive = order.own(weights * labels)
    own_negative = order.own(weights * (1.0 - labels))
    per_positive, per_negative = _inverse(runs.totals(own_positive)), _inverse(runs.totals(own_negative))
    defined = (per_positive > 0.0) & (per_negative > 0.0)
    above = (runs.cumulative(own_positive) - own_positive / 2.0) * runs.each(per_positive)
    below = (runs.remaining(own_negative) - own_negative / 2.0) * runs.each(per_negative)
    values = runs.totals(own_positive * below) * per_positive
    mean = runs.each(values)
    of_positive = order.spread((below - mean) * runs.each(per_positive * defined))
    of_negative = order.spread((above - mean) * runs.each(per_negative * defined))
    return np.where(defined, values, np.nan), weights * np.where(labels > 0.0, of_positive, of_negative)


def rowwise(
    method: Callable[[SlicedOrder, FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
    labels: FloatArray,
    scores: FloatArray,
    weights: FloatArray,
    order: IntArray | None = None,
) -> tuple[float, FloatArray]:
    """`sliced_ap` or `sliced_auc` of all rows as one slice, in the rows' own order.

    Args:
        method: Which of the two.
        labels: `(N,)` 0 or 1.
        scores: `(N,)` without NaN.
        weights: `(N,)` >= 0.
        order: `(N,)` row numbers, highest score first, where they are known.

    Returns:
        The value and the influences `(N,)`; NaN throughout where it is undefined.
    """
    if order is None:
        order = descending(scores)
    sliced = SlicedOrder.of(scores, order, np.zeros(len(scores), np.intp), 1)
    values, ranked = method(sliced, labels[sliced.rows], weights[sliced.rows])
    influence = np.empty(len(ranked))
    influence[sliced.rows] = ranked if not np.isnan(values[0]) else np.nan
    return float(values[0]), influence


def descending(scores: FloatArray) -> IntArray:
    """Row numbers `(N,)` from the highest score to the lowest; equal scores in no particular order."""
    return np.asarray(np.argsort(scores)[::-1])


def _inverse(values: FloatArray) -> FloatArray:
    """1 / value, 0 where nothing is there to divide by."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0.0)
