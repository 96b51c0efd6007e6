"""Where the positive rows of each head stand within their requests when rows are ranked by the utility.

`evaluation.per_request` ranks one score once; this ranks many utilities of the same rows, for all heads at a time.

One sort serves all heads: rows are laid out request by request once, and the sorted key is the request with the score
below it, so that each request keeps its place. After that only the positive rows are looked at, which are few.

Row weights weigh requests or count rows (`evaluation.per_request.request_weights`), and a row without a head's label
is left out for that head alone, as in PR-AUC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray
from evaluation.per_request.request_weights import split_weights
from evaluation.per_request.tied_groups import TiedGroups
from optimization.objective.pr_auc import utilities
from optimization.score_table import ScoreTable

__all__ = ["HeadPositives", "RequestRanks"]


@dataclass(frozen=True)
class HeadPositives:
    """One head's P positive rows, request by request: what no ranking changes.

    Attributes:
        rows: `(P,)` their numbers in the layout by request.
        request: `(P,)` ascending; also that of the P rows once ranked, as ranking moves rows within requests only.
        first: `(P,)` the number, among the P, of the first one of the same request.
        weight: `(R,)` the positives' weight per request.
        counted: `(R,)` the weight of each request that has a labelled row of this head, 0 for the others.
    """

    rows: IntArray
    request: IntArray
    first: IntArray
    weight: FloatArray
    counted: FloatArray


class RequestRanks:
    """The rows of a table, laid out by request; only those of requests with a positive row of some head.

    Attributes:
        requests: R.
        heads: One `HeadPositives` per head.
    """

    def __init__(self, table: ScoreTable) -> None:
        self.requests = table.requests.count
        codes, labels = table.requests.codes, table.labels.T
        by_request, by_row = split_weights(table.row_weights, table.requests)
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

    def ranked(self, weights: npt.ArrayLike) -> list[TiedGroups]:
        """The groups of equal utility that hold a positive row, for each head, under one weight vector `(T,)`.

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
            last = np.flatnonzero(np.append(group[1:] != group[:-1], True)) if len(at) else at  # end their group
            first = np.append(0, last[:-1] + 1) if len(at) else at
            request = head.request[last]
            ends = np.stack([starts[group[last]], starts[group[last] + 1], self._start[request]])
            if size is not None:
                if id(size) not in sums:
                    sums[id(size)] = np.append(0.0, np.cumsum(size[order]))
                ends = sums[id(size)][ends]
            weight = np.ones(len(at)) if self._weights is None else self._weights[order[at]]
            hits = np.append(0.0, np.cumsum(weight))
            # a weight that is lost beside the sum of all weights would leave an empty group
            positives = np.maximum(hits[last + 1] - hits[first], weight[last])
            rows = np.maximum((ends[1] - ends[0]).astype(np.float64), positives)
            above = (ends[0] - ends[2]).astype(np.float64)
            before = hits[first] - hits[head.first[last]]
            found.append(TiedGroups(request, above, rows, positives, before, positives))
        return found
