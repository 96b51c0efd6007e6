"""Where the positive rows of each head stand within their requests when rows are ranked by the utility.

One sort serves all heads: rows are laid out request by request once, and the sorted key is the request with the score
below it, so that each request keeps its place. After that only the positive rows are looked at, which are few.

A row of weight w counts as w rows of the same score (on a log whose negatives were sampled by row, w = 1 / keep_prob),
and a row without a head's label is left out for that head alone, as in PR-AUC. If the weight is the same on all rows of
each request (whole requests were sampled), it weighs the requests instead, and every row counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray
from optimization.objective.pr_auc import utilities
from optimization.score_table import ScoreTable

__all__ = ["HeadPositives", "RankedPositives", "RequestRanks"]


@dataclass(frozen=True)
class HeadPositives:
    """One head's P positive rows, request by request: what no ranking changes.

    Attributes:
        rows: `(P,)` their numbers in the layout by request.
        request: `(P,)` ascending; also that of the P `RankedPositives`, as ranking moves rows within requests only.
        first: `(P,)` the number, among the P, of the first one of the same request.
        weight: `(R,)` the positives' weight per request.
        counted: `(R,)` the weight of each request that has a labelled row of this head, 0 for the others.
    """

    rows: IntArray
    request: IntArray
    first: IntArray
    weight: FloatArray
    counted: FloatArray


@dataclass(frozen=True)
class RankedPositives:
    """One head's positive rows from the highest utility to the lowest within each request.

    Attributes:
        weight: `(P,)` w_j.
        above: `(P,)` the weight of the rows of the request whose utility is higher.
        through: `(P,)` the weight of the rows whose utility is as high or higher.
        hits: `(P,)` the weight of the positive rows among the latter.
    """

    weight: FloatArray
    above: FloatArray
    through: FloatArray
    hits: FloatArray


class RequestRanks:
    """The rows of a table, laid out by request; only those of requests with a positive row of some head.

    Attributes:
        requests: R.
        heads: One `HeadPositives` per head.
    """

    def __init__(self, table: ScoreTable) -> None:
        self.requests = table.requests.count
        codes, labels = table.requests.codes, table.labels.T
        by_request, by_row = _split_weights(table)
        alive = by_row > 0.0
        hits = [(column == 1) & alive for column in labels]
        asked = np.zeros(self.requests, bool)
        for hit in hits:
            asked[codes[hit]] = True
        kept = np.flatnonzero(alive & asked[codes])
        kept = kept[np.argsort(codes[kept], kind="stable")]
        self._codes = codes[kept]
        self._high = self._codes.astype(np.uint64) << np.uint64(32)
        self._start = np.searchsorted(self._codes, np.arange(self.requests))  # of each request
        self._columns = np.ascontiguousarray(table.probabilities.T[:, kept])  # (T, M)
        weights = by_row[kept]
        self._weights = None if (weights == 1.0).all() else weights
        known = [~np.isnan(column[kept]) for column in labels]
        patterns: dict[bytes, FloatArray] = {}  # heads that miss the same labels share their sums
        self._sizes = [
            None if k.all() and self._weights is None else patterns.setdefault(k.tobytes(), weights * k) for k in known
        ]
        self.heads: list[HeadPositives] = []
        for column, hit in zip(labels, hits):
            rows = np.flatnonzero(hit[kept])
            request = self._codes[rows]
            labelled = np.zeros(self.requests, bool)
            labelled[codes[alive & ~np.isnan(column)]] = True
            total = np.bincount(request, weights[rows], self.requests).astype(np.float64)  # of no rows: integers
            first = np.searchsorted(request, request)
            self.heads.append(HeadPositives(rows, request, first, total, by_request * labelled))

    def ranked(self, weights: npt.ArrayLike) -> list[RankedPositives]:
        """The positive rows of each head under one weight vector `(T,)`.

        Raises:
            ValueError: not `(T,)`, or not finite.
        """
        scores = utilities(self._columns.T, np.asarray(weights)[None])[0]
        bits = scores.view(np.uint32)
        negative = bits >> np.uint32(31)  # falling scores as rising keys: negative numbers are ordered so already
        keys = self._high | (bits ^ (np.uint32(0x7FFFFFFF) * (np.uint32(1) - negative)))
        order = np.argsort(keys)
        place = np.empty(len(order), np.intp)
        place[order] = np.arange(len(order))
        keys = keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))  # of the groups of equal utility
        untied = len(starts) == len(keys)
        starts = np.append(starts, len(keys))
        sums: dict[int, FloatArray] = {}
        found = []
        for head, size in zip(self.heads, self._sizes):
            at = np.sort(place[head.rows])  # requests keep their places, so this is by request, then by rank
            group = at if untied else np.searchsorted(starts, at, side="right") - 1
            ends = np.stack([starts[group], starts[group + 1], self._start[head.request]])
            if size is not None:
                if id(size) not in sums:
                    sums[id(size)] = np.append(0.0, np.cumsum(size[order]))
                ends = sums[id(size)][ends]
            weight = np.ones(len(at)) if self._weights is None else self._weights[order[at]]
            last = np.flatnonzero(np.append(group[1:] != group[:-1], True))  # positive rows that end their group
            total = np.append(0.0, np.cumsum(weight))
            hits = np.repeat(total[last + 1], np.diff(last, prepend=-1)) - total[head.first]
            above, through = ends[0] - ends[2], ends[1] - ends[2]
            found.append(RankedPositives(weight, above, through, hits))
        return found


def _split_weights(table: ScoreTable) -> tuple[FloatArray, FloatArray]:
    """Weights `(R,)` of the requests and `(N,)` of the rows within them, whose product is that of the table."""
    ones = np.ones(table.requests.count)
    weights = table.row_weights
    if weights is None:
        return ones, np.ones(table.rows)
    alive = np.flatnonzero(weights > 0.0)
    of_request = np.zeros(table.requests.count)
    of_request[table.requests.codes[alive]] = weights[alive]
    if (of_request[table.requests.codes[alive]] == weights[alive]).all():
        return of_request, (weights > 0.0).astype(np.float64)
    return ones, weights
