"""The heads' precision-recall curves on one order of the rows, at the groups of equal scores with a positive row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from evaluation.checks import FloatArray, IntArray
from optimization.objective.packed_keys import RankedRows
from optimization.objective.row_codes import RowCodes


@dataclass(frozen=True)
class HeadCurve:
    """The M groups of equal scores in which one head has a positive row, highest score first.

    Attributes:
        rows: `(P,)` the head's positive rows, among the rows that are positive for any head.
        gains: `(P,)` their weights; None when every row weighs 1.
        last: `(M,)` the last of these rows in each group.
        ends: `(M,)` rows of any label scored as high as the group or higher.
        true_positives: `(M,)` TP, the weight of the positive rows scored as high or higher.
        retrieved: `(M,)` N, the weight of all labelled rows scored as high or higher; 1 where both N and TP are 0.
    """

    rows: IntArray
    gains: FloatArray | None
    last: IntArray
    ends: IntArray
    true_positives: FloatArray
    retrieved: FloatArray

    @property
    def total(self) -> float:
        """P, the weight of all positive rows."""
        return float(self.true_positives[-1]) if len(self.true_positives) else 0.0

    @property
    def group_gains(self) -> FloatArray:
        """`(M,)` TP_g - TP_{g-1}."""
        gains = self.true_positives.copy()
        gains[1:] -= self.true_positives[:-1]
        return gains

    @cached_property
    def precision(self) -> FloatArray:
        """`(M,)` TP / N."""
        return self.true_positives / self.retrieved

    @cached_property
    def average_precision(self) -> float:
        """sum over groups of (TP_g - TP_{g-1}) TP_g / N_g, over P; NaN when no positive row carries weight."""
        if self.total <= 0.0:
            return float("nan")
        return float((self.group_gains * self.precision).sum() / self.total)


class HeadCurves:
    """One order of the rows, from which each head's curve is read.

    Args:
        ranked: The rows in order of their scores.
        rows: What their codes mean.

    >>> from optimization.objective.packed_keys import rank_rows
    >>> rows = RowCodes.of(np.array([[1], [0], [1]]))
    >>> ranked = rank_rows(np.array([3, 2, 2], np.float32), rows.codes, rows.bits, rows.positive_from)
    >>> HeadCurves(ranked, rows).head(0).average_precision  # the tie is one group
    0.8333333333333333
    """

    def __init__(self, ranked: RankedRows, rows: RowCodes) -> None:
        self._ranked, self._rows = ranked, rows
        codes = ranked.codes.take(ranked.positives)  # (M,)
        self._positive_classes = rows.classes_of(codes)
        self._positive_weights = rows.weights_of(codes)

    def head(self, head: int) -> HeadCurve:
        """The curve of head number `head`."""
        rows = np.flatnonzero(self._rows.positive[head].take(self._positive_classes))
        row_ends = self._ranked.ends.take(rows)
        is_last = np.ones(len(rows), np.bool_)
        np.not_equal(row_ends[1:], row_ends[:-1], out=is_last[:-1])
        last = np.flatnonzero(is_last)
        ends = row_ends.take(last)
        if self._positive_weights is None:
            gains, true_positives = None, (last + 1).astype(np.float64)
        else:
            gains = self._positive_weights.take(rows)
            true_positives = running_sum(gains).take(last)
        labelled = self._labelled(head)
        if labelled is None:
            retrieved = ends.astype(np.float64)
        else:
            retrieved = labelled.take(ends - 1)
            retrieved[retrieved == 0.0] = 1.0
        return HeadCurve(rows, gains, last, ends, true_positives, retrieved)

    def weights(self, head: int) -> FloatArray | None:
        """`(N,)` what each row weighs for a head, 0 where its label is missing; None when every row weighs 1."""
        if self._rows.known is None:
            return self._weights
        known = self._rows.known[head].astype(np.float64).take(self._classes)
        return known if self._weights is None else np.multiply(known, self._weights, out=known)

    def _labelled(self, head: int) -> FloatArray | None:
        """`(N,)` weight of the labelled rows from the first to each row; None when every row weighs 1."""
        if self._rows.known is None:
            return self._retrieved
        weights = self.weights(head)
        return None if weights is None else running_sum(weights)

    @cached_property
    def _retrieved(self) -> FloatArray | None:
        """`(N,)` weight of the rows from the first to each row, the same for all heads when no label is missing."""
        return None if self._weights is None else running_sum(self._weights)

    @cached_property
    def _weights(self) -> FloatArray | None:
        return self._rows.weights_of(self._ranked.codes)

    @cached_property
    def _classes(self) -> IntArray:
        return self._rows.classes_of(self._ranked.codes)


def running_sum(values: FloatArray) -> FloatArray:
    """Sums of the first 1, 2, ... values. NumPy's own takes six times as long for floats (3 ms a million, 0.5 here).

    >>> running_sum(np.array([1.0, 2.0, 4.0])).tolist()
    [1.0, 3.0, 7.0]
    """
    return np.asarray(torch.cumsum(torch.from_numpy(values), 0).numpy())
