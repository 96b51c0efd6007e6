"""Metrics that are a mean over requests: average precision, NDCG@K and the engagements among the first K.

With d(r) a discount of rank r and equal utilities sharing their ranks evenly (the tie-averaged gain of McSherry and
Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores", 2008), the
gain of a positive row whose group of equal utility takes the ranks a + 1 .. b is

    g = (D(b) - D(a)) / (b - a),    D(x) = sum of d(r) over r <= x

- `ndcg@K`: d(r) = 1 / log2(r + 1) up to K; the sum of a request's gains is divided by that of its ideal order, D(P).
- `expected_utility@K`: d(r) = 1 up to K, so a group across the cut counts by its fraction; nothing is divided. With the
  business values of the heads, sum_h value_h metric_h is the realised utility per request.
- `mean_ap`: average precision within the request, where equal utilities are one group as in PR-AUC.

Requests without a positive row of a head are left out of its `mean_ap` and `ndcg@K`, which are undefined there;
`expected_utility@K` counts them as 0. Weighted rows and missing labels: see `optimization.objective.request_ranks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray
from optimization.objective.request_ranks import RankedPositives, RequestRanks
from optimization.score_table import ScoreTable

__all__ = ["PreparedRequestMetric", "RequestMetric"]


@dataclass(frozen=True)
class RequestMetric:
    """A mean over requests of what their positive rows gain.

    Attributes:
        name: As it is asked for, "ndcg@10".
        label: For people, "NDCG@10".
        gain: The gain `(P,)` of each positive row, per unit of its weight.
        ideal: The sum of the gains `(R,)` of requests in their best order, from the weight of their positives `(R,)`;
            None where nothing is divided and requests without positives count as 0.
    """

    name: str
    label: str
    gain: Callable[[RankedPositives], FloatArray]
    ideal: Callable[[FloatArray], FloatArray] | None

    @classmethod
    def mean_ap(cls) -> RequestMetric:
        """Average precision within each request, by its own positives P: g = TP / N at the end of the row's group."""
        return cls("mean_ap", "mean AP per request", lambda ranked: ranked.hits / ranked.through, lambda total: total)

    @classmethod
    def ndcg(cls, cutoff: int) -> RequestMetric:
        """NDCG@K with binary gains."""
        area = _Area(1.0 / np.log2(np.arange(2, cutoff + 2)))
        return cls(f"ndcg@{cutoff}", f"NDCG@{cutoff}", area.gain, area)

    @classmethod
    def expected_utility(cls, cutoff: int) -> RequestMetric:
        """Engagements per request among its first K rows."""
        label = f"engagements per request in the top {cutoff}"
        return cls(f"expected_utility@{cutoff}", label, _Area(np.ones(cutoff)).gain, None)

    def prepare(self, table: ScoreTable) -> PreparedRequestMetric:
        """Lay out the rows of `table` once for any number of weight vectors."""
        return PreparedRequestMetric(self, table)


class _Area:
    """D(x) = d(1) + ... + d(x), linear between whole x: part of a rank has part of its discount."""

    def __init__(self, discounts: FloatArray) -> None:
        self._sums = np.append(0.0, np.cumsum(discounts))  # D(0), D(1), ..., D(K)
        self._ranks = np.arange(len(self._sums), dtype=np.float64)

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.interp(x, self._ranks, self._sums)  # D(K) beyond K

    def gain(self, ranked: RankedPositives) -> FloatArray:
        """The mean discount over the ranks of each row's group."""
        # A weight that is lost beside the sum of all weights leaves an empty group: it is at least the row's own.
        width = np.maximum(ranked.through - ranked.above, ranked.weight)
        return (self(ranked.through) - self(ranked.above)) / width


class PreparedRequestMetric:
    """A `RequestMetric` on the rows of one table.

    Attributes:
        counted: `(T,)` the number of requests that each head's mean is over.
        left_out: `(T,)` the number of requests without a positive (or any labelled) row of the head.

    >>> p, y = [[0.9], [0.5], [0.4], [0.6], [0.1]], [[0], [1], [0], [1], [0]]
    >>> table = ScoreTable.of(p, y, ["a", "a", "a", "b", "b"], ["click"])
    >>> metric = RequestMetric.mean_ap().prepare(table)
    >>> metric.values([[1.0], [-1.0]]).tolist()
    [[0.75], [0.5]]
    >>> values, influences = metric.influences([1.0])
    >>> influences.tolist()
    [[-0.125], [0.125]]
    """

    def __init__(self, metric: RequestMetric, table: ScoreTable) -> None:
        self._gain = metric.gain
        self._ranks = ranks = RequestRanks(table)
        totals = np.column_stack([head.weight for head in ranks.heads])  # (R, T)
        counted = np.column_stack([head.counted for head in ranks.heads])  # (R, T)
        if metric.ideal is not None:
            counted *= totals > 0.0
        ideal = np.ones_like(totals) if metric.ideal is None else metric.ideal(totals)
        sums = counted.sum(axis=0)
        # what one unit of gain adds to the mean: W_r / (ideal_r sum W)
        self._unit = np.divide(counted, ideal * sums, out=np.zeros_like(counted), where=counted > 0.0)
        self._share = np.divide(counted, sums, out=np.zeros_like(counted), where=sums > 0.0)  # W_r / sum W
        self._per_row = [unit[head.request] for unit, head in zip(self._unit.T, ranks.heads)]
        self.counted: IntArray = np.count_nonzero(counted, axis=0)
        self.left_out: IntArray = ranks.requests - self.counted

    def values(self, weights: npt.ArrayLike) -> FloatArray:
        """The metric `(V, T)` of every head under each weight vector of `weights` `(V, T)`.

        Raises:
            ValueError: weights of another shape, or not finite.
        """
        vectors = np.asarray(weights, dtype=np.float64)
        if vectors.ndim != 2 or vectors.shape[1] != len(self._per_row):
            raise ValueError(f"`weights` must be (V, {len(self._per_row)}), one vector per row, got {vectors.shape}")
        out = np.empty(vectors.shape)
        for vector, values in zip(vectors, out):
            for head, (ranked, unit) in enumerate(zip(self._ranks.ranked(vector), self._per_row)):
                values[head] = (ranked.weight * self._gain(ranked)) @ unit
        return out

    def influences(self, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The metric of every head under one weight vector, and what each request contributes to its error.

        The influence of request r on a mean m over requests of weight W_r is W_r (m_r - m) / sum W, 0 for those left
        out. The standard error of a combination a of heads is sqrt(sum_r (influences_r . a)^2); that of the difference
        of two weight vectors has the difference of their influences.

        Args:
            weights: `(T,)`.

        Returns:
            The values `(T,)` and the influences `(R, T)`.

        Raises:
            ValueError: weights of another shape, or not finite.
        """
        influences = np.empty(self._unit.shape[::-1])  # (T, R)
        vector = np.asarray(weights, dtype=np.float64)
        if vector.shape != (len(self._per_row),):
            raise ValueError(f"`weights` must be ({len(self._per_row)},), got {vector.shape}")
        for head, (ranked, unit) in enumerate(zip(self._ranks.ranked(vector), self._per_row)):
            gains = ranked.weight * self._gain(ranked) * unit
            influences[head] = np.bincount(self._ranks.heads[head].request, gains, self._ranks.requests)
        values = influences.sum(axis=1)
        return values, (influences - values[:, None] * self._share.T).T
