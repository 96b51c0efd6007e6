"""Metrics that are a mean over requests: average precision, NDCG@K and the engagements among the first K.

As `evaluation.per_request` defines them, for many weight vectors of one table: equal utilities share their ranks evenly
(McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores",
2008).

- `ndcg@K`: with binary gains, 1 / log2(rank + 1) up to K, divided by the sum in the request's ideal order.
- `expected_utility@K`: the positive rows up to K, so a group across the cut counts by its fraction; nothing is divided.
  With the business values of the heads, sum_h value_h metric_h is the realised utility per request.
- `mean_ap`: average precision within the request, over random orders of equal utilities.

Requests without a positive row of a head are left out of its `mean_ap` and `ndcg@K`, which are undefined there;
`expected_utility@K` counts them as 0. Weighted rows and missing labels: see `optimization.objective.request_ranks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray
from evaluation.per_request.gains import DiscountArea, expected_found, expected_precisions
from evaluation.per_request.metric_names import MetricName
from evaluation.per_request.tied_groups import TiedGroups
from optimization.objective.request_ranks import RequestRanks
from optimization.score_table import ScoreTable

__all__ = ["PreparedRequestMetric", "RequestMetric"]


@dataclass(frozen=True)
class RequestMetric:
    """A mean over requests of what their positive rows gain.

    Attributes:
        name: As it is asked for, "ndcg@10".
        label: For people, "NDCG@10".
        gain: The gain `(G,)` of each group of equal utility.
        ideal: The sum of the gains `(R,)` of requests in their best order, from the weight of their positives `(R,)`;
            None where nothing is divided and requests without positives count as 0.
    """

    name: str
    label: str
    gain: Callable[[TiedGroups], FloatArray]
    ideal: Callable[[FloatArray], FloatArray] | None

    @classmethod
    def mean_ap(cls) -> RequestMetric:
        """Average precision within each request, divided by its own positives."""
        return cls("mean_ap", MetricName("mean_ap", None).label, expected_precisions, lambda total: total)

    @classmethod
    def ndcg(cls, cutoff: int) -> RequestMetric:
        """NDCG@K with binary gains."""
        area = DiscountArea(cutoff)
        name = MetricName("ndcg", cutoff)
        return cls(str(name), name.label, area.gain, area)

    @classmethod
    def expected_utility(cls, cutoff: int) -> RequestMetric:
        """Engagements per request among its first K rows."""
        label = f"engagements per request in the top {cutoff}"
        return cls(f"expected_utility@{cutoff}", label, lambda groups: expected_found(groups, cutoff), None)

    def prepare(self, table: ScoreTable) -> PreparedRequestMetric:
        """Lay out the rows of `table` once for any number of weight vectors."""
        return PreparedRequestMetric(self, table)


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
        unit = np.divide(counted, ideal * sums, out=np.zeros_like(counted), where=counted > 0.0)
        self._share = np.divide(counted, sums, out=np.zeros_like(counted), where=sums > 0.0)  # W_r / sum W
        self._units = np.ascontiguousarray(unit.T)  # (T, R)
        self.counted: IntArray = np.count_nonzero(counted, axis=0)
        self.left_out: IntArray = ranks.requests - self.counted

    def values(self, weights: npt.ArrayLike) -> FloatArray:
        """The metric `(V, T)` of every head under each weight vector of `weights` `(V, T)`.

        Raises:
            ValueError: weights of another shape, or not finite.
        """
        vectors = np.asarray(weights, dtype=np.float64)
        if vectors.ndim != 2 or vectors.shape[1] != len(self._units):
            raise ValueError(f"`weights` must be (V, {len(self._units)}), one vector per row, got {vectors.shape}")
        out = np.empty(vectors.shape)
        for vector, values in zip(vectors, out):
            for head, (groups, unit) in enumerate(zip(self._ranks.ranked(vector), self._units)):
                values[head] = self._gain(groups) @ unit[groups.request]
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
        influences = np.empty(self._units.shape)  # (T, R)
        vector = np.asarray(weights, dtype=np.float64)
        if vector.shape != (len(self._units),):
            raise ValueError(f"`weights` must be ({len(self._units)},), got {vector.shape}")
        for head, (groups, unit) in enumerate(zip(self._ranks.ranked(vector), self._units)):
            gains = self._gain(groups) * unit[groups.request]
            influences[head] = np.bincount(groups.request, gains, self._ranks.requests)
        values = influences.sum(axis=1)
        return values, (influences - values[:, None] * self._share.T).T
