"""Rows in order of their scores, equal scores as one group: one sort that every ranking metric shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.checks import FloatArray, IntArray


@dataclass(frozen=True)
class ScoreOrder:
    """The rows from the highest score to the lowest, cut into M groups of equal scores.

    Sorting is the cost of PR-AUC and AUC (a million rows: tenths of a second), and one order serves all heads that
    are ranked by the same score (a utility), both metrics and every bootstrap replicate.
    A row that must not count (a missing label) gets weight 0 and stays in the order.

    Attributes:
        order: `(N,)` row numbers, highest score first.
        ends: `(M,)` position within `order` of each group's last row.
        group: `(N,)` each row's group, in the rows' own order.

    >>> order = ScoreOrder.of(np.array([0.2, 0.9, 0.2]))
    >>> order.group.tolist(), order.ends.tolist()
    ([1, 0, 1], [0, 2])
    """

    order: IntArray
    ends: IntArray
    group: IntArray

    @classmethod
    def of(cls, scores: FloatArray) -> ScoreOrder:
        """The order of `scores` `(N,)`, which hold no NaN."""
        order = np.argsort(scores)[::-1]  # the order within a group is of no consequence: no stable sort needed
        ranked = scores[order]
        changes = ranked[1:] != ranked[:-1]
        ends = np.append(np.flatnonzero(changes), len(scores) - 1) if len(scores) else np.empty(0, np.intp)
        group = np.empty(len(scores), np.intp)
        group[order] = np.concatenate([np.zeros(min(1, len(scores)), np.intp), np.cumsum(changes)])
        return cls(order, ends, group)

    def cumulative(self, values: FloatArray) -> FloatArray:
        """Sums `(M,)` of `values` `(N,)` over every row scored as high as the group or higher."""
        return np.asarray(np.cumsum(values[self.order])[self.ends])


def mass_position(scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Where each row stands in the weighted distribution of `scores`: the weighted mid-rank `(N,)` within [0, 1].

    (weight below + half the weight at the same score) / all weight. Equal scores stand at one place, so slices and
    bins cut from it never separate them, whatever the order of the rows.

    Raises:
        ValueError: all weights are 0.

    >>> mass_position(np.array([3.0, 1.0, 2.0, 2.0]), np.ones(4)).tolist()
    [0.875, 0.125, 0.5, 0.5]
    """
    total = float(weights.sum())
    if total <= 0.0:
        raise ValueError(f"`weights` must have a positive sum, got {total:g}")
    order = ScoreOrder.of(scores)
    at_or_above = order.cumulative(weights)
    own = np.diff(at_or_above, prepend=0.0)
    return np.asarray(((at_or_above[-1] - at_or_above + own / 2.0) / at_or_above[-1])[order.group])
