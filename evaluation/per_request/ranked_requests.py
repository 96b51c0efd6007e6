"""The rows of one head, ranked within their requests: sorted once, for all metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray
from evaluation.clusters import Clusters
from evaluation.per_request.request_weights import rows_were_sampled, split_weights
from evaluation.per_request.tied_groups import TiedGroups

__all__ = ["TIES", "GradedRows", "RankedRequests", "check_ties"]

TIES = ("average", "order")


@dataclass(frozen=True)
class GradedRows:
    """The rows of positive label in the best order that each request could have.

    Attributes:
        request: `(P,)` ascending.
        gain: `(P,)` the labels, falling within a request.
        weight: `(P,)` how many rows each counts as.
        above: `(P,)` the rows above it in the best order.
    """

    request: IntArray
    gain: FloatArray
    weight: FloatArray
    above: FloatArray


@dataclass(frozen=True)
class RankedRequests:
    """What one set of scores makes of the R requests.

    Attributes:
        groups: The groups of equal score that hold a positive row.
        weight: `(R,)` what each request counts; 0 for those without a labelled row.
        rows: `(R,)` its labelled rows: a number of rows, or its estimate where rows were sampled. Only for requests
            with a positive row, as no other is ranked.
        positives: `(R,)` those with a positive label.
        best: The best order, where labels are graded; None where they are 0 and 1.
        sampled: Whether labelled rows were sampled within requests, so that the ranks are estimates.
    """

    groups: TiedGroups
    weight: FloatArray
    rows: FloatArray
    positives: FloatArray
    best: GradedRows | None
    sampled: bool

    @classmethod
    def of(
        cls, labels: FloatArray, scores: FloatArray, clusters: Clusters, weights: FloatArray | None, ties: str
    ) -> RankedRequests:
        """Rank checked rows.

        Args:
            labels: `(N,)` >= 0, NaN where missing: such rows are left out.
            scores: `(N,)` without NaN.
            clusters: The requests.
            weights: `(N,)` >= 0, or None; see `split_weights`.
            ties: "average" or "order".
        """
        codes, count = clusters.codes, clusters.count
        known = ~np.isnan(labels)
        # a row without a label is not there, so its weight must not say how the others were sampled
        of_request, of_row = split_weights(None if weights is None else weights * known, clusters)
        if weights is not None:
            known &= of_row > 0.0
        positive = labels > 0.0  # not where NaN
        positive &= known
        asked = np.zeros(count, bool)
        asked[codes[positive]] = True
        labelled = np.zeros(count, bool)
        labelled[codes[known]] = True
        kept = np.flatnonzero(known & asked[codes])
        place, request, changes = _sorted_rows(codes[kept], scores[kept], ties)
        rows = kept[place]
        counts = of_row[rows]
        single = bool((counts == 1.0).all())
        gains = labels[rows]
        at = np.flatnonzero(gains > 0.0)
        starts = np.append(np.flatnonzero(changes), len(rows))  # of the groups of equal score
        untied = len(starts) == len(rows) + 1
        group = at if untied else np.searchsorted(starts, at, side="right") - 1
        last = np.flatnonzero(np.append(group[1:] != group[:-1], True)) if len(at) else at
        first = np.append(0, last[:-1] + 1) if len(at) else at
        # sums over the rows above any place, over all requests: integers stay exact
        above = np.arange(len(rows) + 1, dtype=np.float64) if single else np.append(0.0, np.cumsum(counts))
        hits = np.append(0.0, np.cumsum(counts[at]))
        gained = np.append(0.0, np.cumsum(counts[at] * gains[at]))
        of_group = request[at[last]]
        request_first = np.searchsorted(request, np.arange(count))  # R is far below the number of rows
        hits_first = hits[np.searchsorted(at, request_first)]
        start, end = starts[group[last]], starts[group[last] + 1]
        # a weight that is lost beside the sum of all weights would leave an empty group
        positives = np.maximum(hits[last + 1] - hits[first], counts[at[last]])
        groups = TiedGroups(
            request=of_group,
            above=above[start] - above[request_first[of_group]],
            size=np.maximum(above[end] - above[start], positives),
            positives=positives,
            before=hits[first] - hits_first[of_group],
            gain=gained[last + 1] - gained[first],
        )
        graded = bool((gains[at] != 1.0).any())
        return cls(
            groups=groups,
            weight=of_request * labelled,
            rows=np.bincount(request, counts, count).astype(np.float64),
            positives=np.bincount(request[at], counts[at], count).astype(np.float64),
            best=_best_order(request[at], gains[at], counts[at]) if graded else None,
            sampled=weights is not None and rows_were_sampled(of_row),
        )


def check_ties(ties: str) -> None:
    """Refuse a way of breaking ties that there is not."""
    if ties not in TIES:
        raise ValueError(f"`ties` must be one of {', '.join(TIES)}, got {ties!r}")


def _sorted_rows(codes: IntArray, scores: FloatArray, ties: str) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
    """Row numbers `(M,)` by request, then by falling score; their requests; where a group of equal score starts.

    The place in the order of scores goes below the request's number into one integer, so that the second sort is of
    plain integers, several times as fast as a sort of row numbers, and keeps the order of the first.
    """
    order = np.argsort(-scores, kind="stable" if ties == "order" else None)
    bits = np.uint64(len(order).bit_length())
    keys = codes[order].astype(np.uint64)
    keys <<= bits
    keys |= np.arange(len(order), dtype=np.uint64)
    keys.sort()
    request = (keys >> bits).astype(np.intp)
    keys &= (np.uint64(1) << bits) - np.uint64(1)
    place = order[keys.astype(np.intp)]
    changes = np.ones(len(place), bool)
    if ties == "average":
        ranked = scores[place]
        changes[1:] = ranked[1:] != ranked[:-1]
        changes[1:] |= request[1:] != request[:-1]
    return place, request, changes


def _best_order(request: IntArray, gains: FloatArray, counts: FloatArray) -> GradedRows:
    order = np.lexsort((-gains, request))
    total = np.append(0.0, np.cumsum(counts[order]))
    first = np.searchsorted(request, request)  # ascending already
    return GradedRows(request, gains[order], counts[order], total[:-1] - total[first])
