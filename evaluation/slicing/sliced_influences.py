"""Any metric of one head in every slice of a column, with its influence summed per request within the slice.

A metric's error is, to first order, the sum of its rows' influences w_j dM/dw_j, and rows of one request are summed
before squaring. In slices the unit is the pair (slice, request): SE_s^2 = sum over the pairs of slice s of (sum of
influence)^2. Sums over pairs are all that means and ratios need; PR-AUC and AUC need one sort per head, whatever the
number of slices (`evaluation.slicing.sliced_order`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluation.checks import FloatArray, IntArray
from evaluation.clusters import Clusters
from evaluation.freedom import satterthwaite
from evaluation.metric_kinds import metric_kind
from evaluation.proper_scores import row_log_losses
from evaluation.slicing.sliced_order import Runs, SlicedOrder, descending, rowwise, sliced_ap, sliced_auc
from evaluation.slicing.slices import Slices

ALL = "all"  # the column and the slice of the whole
Influences = tuple[FloatArray, FloatArray]  # values `(S,)`, NaN where undefined, and influences `(P,)`


@dataclass(frozen=True)
class SlicePairs:
    """The P pairs of a slice and a request, numbered slice by slice.

    Attributes:
        slices: The column's slices.
        codes: `(N,)` each row's pair, 0 .. P - 1.
        starts: `(S + 1,)` the pairs of slice s are starts[s] .. starts[s + 1] - 1; some may hold no row.

    >>> pairs = SlicePairs.of(Slices("device", ("phone", "desk"), np.array([0, 1, 0])), Clusters.of(["a", "a", "b"]))
    >>> pairs.codes.tolist(), pairs.starts.tolist()
    ([0, 2, 1], [0, 2, 4])
    """

    slices: Slices
    codes: IntArray
    starts: IntArray

    @classmethod
    def of(cls, slices: Slices, clusters: Clusters) -> SlicePairs:
        """The pairs of one column."""
        count, requests = slices.count, clusters.count
        if count == 1:
            return cls(slices, clusters.codes, np.array([0, requests]))
        keys = slices.codes * np.intp(requests) + clusters.codes
        starts = np.arange(count + 1) * requests
        if count * requests > 4 * len(keys) + 1024:  # most pairs hold no row: number only those that do
            found, keys = np.unique(keys, return_inverse=True)
            starts = np.searchsorted(found, starts)
        return cls(slices, keys, np.asarray(starts, dtype=np.intp))

    @classmethod
    def whole(cls, clusters: Clusters) -> SlicePairs:
        """All rows as one slice: its pairs are the requests."""
        return cls.of(Slices(ALL, (ALL,), np.zeros(len(clusters.codes), np.intp)), clusters)

    @property
    def count(self) -> int:
        """P."""
        return int(self.starts[-1])

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums `(P,)` of `values` `(N,)` per pair."""
        return np.asarray(np.bincount(self.codes, weights=values, minlength=self.count))

    def totals(self, per_pair: FloatArray) -> FloatArray:
        """Sums `(S,)` of values `(P,)` per slice."""
        return Runs(self.starts).totals(per_pair)

    def each(self, per_slice: FloatArray) -> FloatArray:
        """One value per slice `(S,)`, said for each of its pairs `(P,)`."""
        return Runs(self.starts).each(per_slice)

    def errors(self, influence: FloatArray) -> FloatArray:
        """Standard errors `(S,)` of influences `(P,)`."""
        return np.sqrt(self.totals(influence**2))

    def freedom(self, influence: FloatArray) -> FloatArray:
        """Degrees of freedom `(S,)` of the squared errors of influences `(P,)`; see `evaluation.freedom`."""
        squares = influence**2
        counted = self.totals((squares > 0.0).astype(np.float64))
        return satterthwaite(self.totals(squares), self.totals(squares**2), counted)


class HeadScores:
    """One head's labels and one model's scores for it, sorted once for every ranking metric in every slice.

    Args:
        labels: `(N,)` 0, 1 or NaN (missing: the row weighs 0 here).
        scores: `(N,)` without NaN; within [0, 1] where a metric reads probabilities.
        weights: `(N,)` >= 0.
        epsilon: Log losses clip probabilities to [epsilon, 1 - epsilon]: the machine epsilon of the type they came in.
        order: `(N,)` row numbers, highest score first, where they are known.
    """

    def __init__(
        self,
        labels: FloatArray,
        scores: FloatArray,
        weights: FloatArray,
        *,
        epsilon: float = float(np.finfo(np.float64).eps),
        order: IntArray | None = None,
    ) -> None:
        known = ~np.isnan(labels)
        self.labels, self.weights = np.where(known, labels, 0.0), weights * known
        self.scores, self.epsilon = scores, epsilon
        if order is not None:
            self.order = order

    @cached_property
    def order(self) -> IntArray:
        """The rows from the highest score to the lowest; equal scores in no particular order."""
        return descending(self.scores)

    @cached_property
    def losses(self) -> FloatArray:
        """Log loss of every row `(N,)`."""
        return row_log_losses(self.labels, self.scores, self.epsilon)

    def influences(self, metrics: Iterable[str], pairs: SlicePairs) -> dict[str, Influences]:
        """Metric -> its values `(S,)` in the slices and its influences `(P,)` per pair.

        Args:
            metrics: Names as in `evaluation.metric_kinds`.
            pairs: The slices, and the requests within them.
        """
        found: dict[str, Influences] = {}
        sliced: SlicedOrder | None = None
        for metric in metrics:
            if metric in ("ap", "auc"):
                if sliced is None:
                    sliced = SlicedOrder.of(self.scores, self.order, pairs.slices.codes, pairs.slices.count)
                    y, w = self.labels[sliced.rows], self.weights[sliced.rows]
                    codes = pairs.codes[sliced.rows]
                values, influence = (sliced_ap if metric == "ap" else sliced_auc)(sliced, y, w)
                summed = np.bincount(codes, weights=influence, minlength=pairs.count)
                found[metric] = values, np.asarray(summed, dtype=np.float64)
            elif metric_kind(metric).per_request:
                found[metric] = self._per_request(metric, pairs)
            else:
                found[metric] = self._of_sums(metric, pairs)
        return found

    def rowwise(self, metric: str) -> tuple[float, FloatArray]:
        """Value and influences `(N,)` of "ap" or "auc" over all rows; NaN throughout where it is undefined."""
        method = {"ap": sliced_ap, "auc": sliced_auc}[metric]
        return rowwise(method, self.labels, self.scores, self.weights, self.order)

    def _of_sums(self, metric: str, pairs: SlicePairs) -> Influences:
        """Means and ratios: everything follows from sums per pair."""
        weight = pairs.sums(self.weights)
        if metric == "ratio":
            return _ratio(pairs.sums(self.weights * self.scores), pairs.sums(self.weights * self.labels), pairs)
        if metric == "brier":
            return _ratio(pairs.sums(self.weights * (self.scores - self.labels) ** 2), weight, pairs)
        loss, of_loss = _ratio(pairs.sums(self.weights * self.losses), weight, pairs)
        if metric == "log_loss":
            return loss, of_loss
        base, of_base = _ratio(pairs.sums(self.weights * self.labels), weight, pairs)
        defined = (base > 0.0) & (base < 1.0)
        b = np.where(defined, base, 0.5)
        entropy = -b * np.log(b) - (1.0 - b) * np.log1p(-b)
        slope = np.log1p(-b) - np.log(b)
        influence = (of_loss - pairs.each(loss * slope / entropy) * of_base) / pairs.each(entropy)
        return np.where(defined, loss / entropy, np.nan), influence

    def _per_request(self, metric: str, pairs: SlicePairs) -> Influences:
        """Each slice's rows by themselves: a request's rows outside the slice are not ranked with them."""
        from evaluation.per_request import request_influences

        values, influence = np.full(pairs.slices.count, np.nan), np.zeros(pairs.count)
        alone = pairs.slices.count == 1
        order = np.empty(0, np.intp) if alone else np.argsort(pairs.slices.codes, kind="stable")
        bounds = np.append(0, np.cumsum(pairs.slices.rows()))
        for index in range(pairs.slices.count):
            first, last = pairs.starts[index], pairs.starts[index + 1]
            rows = slice(None) if alone else order[bounds[index] : bounds[index + 1]]
            labels, weights = self.labels[rows], self.weights[rows]
            if not np.any(labels * weights > 0.0):
                continue
            requests = Clusters(pairs.codes[rows] - first, int(last - first))
            value, summed = request_influences(metric, labels, self.scores[rows], requests, weights)
            values[index] = value
            if np.isfinite(value):
                influence[first:last] = summed
        return values, influence


def _ratio(above: FloatArray, below: FloatArray, pairs: SlicePairs) -> Influences:
    """Sum of `above` / sum of `below`, both `(P,)`, in every slice, and its influences; NaN where below sums to 0."""
    total = pairs.totals(below)
    inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0.0)
    values = pairs.totals(above) * inverse
    return np.where(total > 0.0, values, np.nan), (above - pairs.each(values) * below) * pairs.each(inverse)
