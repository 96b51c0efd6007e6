"""The logged candidates in a new order: where each of them stood, how likely that was, and where it would stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray, float_array, score_vector, weight_vector
from evaluation.clusters import Clusters
from evaluation.counterfactual.placement_faults import placement_faults

__all__ = ["Reranking", "new_positions"]


def new_positions(
    scores: npt.ArrayLike, items: npt.ArrayLike, groups: npt.ArrayLike | Clusters, positions: npt.ArrayLike
) -> IntArray:
    """The position `(N,)` of every candidate when its request is shown in descending order of `scores`.

    A request's places stay those that the log filled: the best candidate takes the first of them, and so on. Ties go
    by item, as `Ranker.rank` breaks them. Breaking them by the order of the rows would copy the log's own order into
    the new one, and weights by propensity are wrong for an order that depends on the logged one.

    Args:
        scores: `(N,)` higher is shown first.
        items: `(N,)` item ids of any sortable kind.
        groups: `(N,)` request ids or `Clusters`.
        positions: `(N,)` logged positions.

    >>> new_positions([0.1, 0.9, 0.5, 0.5], ["a", "b", "d", "c"], [1, 1, 2, 2], [1, 2, 1, 3]).tolist()
    [2, 1, 3, 1]
    """
    logged = np.asarray(positions)
    request = Clusters.of(groups, len(logged)).codes
    by_score = np.lexsort((np.unique(np.asarray(items), return_inverse=True)[1], -np.asarray(scores), request))
    by_place = np.lexsort((logged, request))
    new = np.empty(len(logged), dtype=np.intp)
    new[by_score] = logged[by_place]
    return new


@dataclass(frozen=True, eq=False)
class Reranking:
    """N logged candidates of R requests, and the order in which a new ranking would have shown them.

    Attributes:
        clusters: The request of each row.
        logged: `(N,)` positions in the log, 1 for the top, different within a request.
        new: `(N,)` positions under the new ranking: those of the request in another order.
        propensity: `(N,)` marginal probability, under the policy that wrote the log, of the item at its position.
        weights: `(R,)` what each request counts for, 1 / keep_prob where requests were sampled.
        cutoff: K: only engagements at positions 1 .. K count; None counts all.
    """

    clusters: Clusters
    logged: IntArray
    new: IntArray
    propensity: FloatArray
    weights: FloatArray
    cutoff: int | None = None

    @classmethod
    def of(
        cls,
        scores: npt.ArrayLike,
        items: npt.ArrayLike,
        groups: npt.ArrayLike | Clusters,
        positions: npt.ArrayLike,
        propensities: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        cutoff: int | None = None,
    ) -> Reranking:
        """Rank every request's candidates by `scores`.

        Args:
            scores: `(N,)` of the new ranking, without NaN; they must not have been made from the logged position.
            items: `(N,)` item ids.
            groups: `(N,)` request ids or `Clusters`.
            positions: `(N,)` whole numbers from 1, different within a request.
            propensities: `(N,)` within (0, 1].
            weights: `(N,)` 1 / keep_prob, one value per request: whole requests were kept or dropped.
            cutoff: K >= 1, or None.

        Raises:
            ValueError: every argument that cannot be used, at once.

        >>> Reranking.of([0.1, 0.9], ["a", "b"], [7, 7], [1, 2], [0.6, 0.6]).new.tolist()
        [2, 1]
        """
        score = score_vector("scores", scores)
        rows = len(score)
        clusters = Clusters.of(groups, rows)
        place, propensity = float_array("positions", positions), float_array("propensities", propensities)
        row_weight = weight_vector(weights, rows)
        faults = [f"`{name}` must have {rows} row(s), got {len(array)}"
                  for name, array in (("items", np.asarray(items)), ("positions", place), ("propensities", propensity))
                  if len(array) != rows]  # fmt: skip
        if not faults:
            faults = _faults(clusters, place, propensity, row_weight, cutoff)
        if faults:
            raise ValueError("; ".join(faults))
        logged = place.astype(np.intp)
        request_weight = np.zeros(clusters.count)
        request_weight[clusters.codes] = row_weight
        return cls(
            clusters, logged, new_positions(score, items, clusters, logged), propensity, request_weight, cutoff
        )  # fmt: skip

    @cached_property
    def matched(self) -> npt.NDArray[np.bool_]:
        """`(N,)` the log showed the item where the new ranking puts it, and that place counts."""
        return self.counted & (self.new == self.logged)

    @cached_property
    def counted(self) -> npt.NDArray[np.bool_]:
        """`(N,)` the new ranking puts the item at a place that counts, in a request that does."""
        used = self.weights[self.clusters.codes] > 0
        return used if self.cutoff is None else used & (self.new <= self.cutoff)

    @cached_property
    def total(self) -> float:
        """Requests, each counting for its weight."""
        return float(self.weights.sum())

    @property
    def requests(self) -> int:
        """Requests that count at all."""
        return int(np.count_nonzero(self.weights))

    def labelled(self, labels: FloatArray) -> tuple[Reranking, FloatArray]:
        """The requests whose every row has a label (the others weigh 0), and labels `(N,)` with 0 for a missing one.

        What a request was worth is known only if nothing of it is missing; a part would understate it.
        """
        missing = np.isnan(labels)
        if not missing.any():
            return self, labels
        incomplete = self.clusters.sums(missing.astype(np.float64)) > 0
        return replace(self, weights=np.where(incomplete, 0.0, self.weights)), np.where(missing, 0.0, labels)

    def per_request(self, values: FloatArray) -> FloatArray:
        """`(R,)` sums of `(N,)` values, times the requests' weights over their total: their sum is a mean per request.

        >>> two = Reranking.of([1, 0, 1], [1, 2, 1], [5, 5, 6], [1, 2, 1], [0.5, 0.5, 1.0])
        >>> two.per_request(np.array([1.0, 1.0, 2.0])).tolist()
        [1.0, 1.0]
        """
        return np.asarray(self.clusters.sums(values) * (self.weights / self.total))


def _faults(
    clusters: Clusters, place: FloatArray, propensity: FloatArray, weight: FloatArray, cutoff: int | None
) -> list[str]:
    faults = [
        f"`{fault.argument}` must {fault.expectation}, got {fault.value:g} at row {fault.row} ({fault.count} in all)"
        for fault in placement_faults(clusters, place, propensity)
    ]
    first = np.zeros(clusters.count)
    first[clusters.codes[::-1]] = weight[::-1]
    uneven = weight != first[clusters.codes]
    if uneven.any():
        row = int(uneven.argmax())
        faults.append(
            f"`weights` must be one value per request, got {weight[row]:g} beside {first[clusters.codes[row]]:g} at "
            f"row {row}: where rows were dropped, candidates are missing, and what would have stood where is unknown"
        )
    if cutoff is not None and cutoff < 1:
        faults.append(f"`cutoff` must be at least 1, got {cutoff}")
    return faults
