"""Rows in bins of equal weight by their score: one sort, from which every sum per bin and request follows."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np

from evaluation.checks import FloatArray, IntArray
from evaluation.clusters import Clusters
from evaluation.slicing.sliced_influences import SlicePairs
from evaluation.slicing.slices import Slices


@dataclass(frozen=True)
class ScoreBins:
    """The N rows in B bins of about equal weight, cut by `mass_position`, so equal scores share a bin.

    Attributes:
        order: `(N,)` row numbers, lowest score first.
        starts: `(B + 1,)` where each bin begins within `order`, and N.
        codes: `(N,)` the bin of each row.
    """

    order: IntArray
    starts: IntArray
    codes: IntArray

    @classmethod
    def of(cls, scores: FloatArray, weights: FloatArray, bins: int) -> ScoreBins:
        """At most `bins` bins of the rows, which all have weight, by `scores` `(N,)` without NaN.

        >>> parts = ScoreBins.of(np.array([0.3, 0.1, 0.2, 0.2]), np.ones(4), 2)
        >>> parts.codes.tolist(), parts.starts.tolist()
        ([1, 0, 1, 1], [0, 1, 4])
        """
        order = np.argsort(scores)
        ranked = scores[order]
        above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)  # the weight from there up

        def bin_of(row: int) -> int:
            """The bin of a row of `ranked`, by the mid-rank of its score as in `mass_position`."""
            first, after = (ranked.searchsorted(ranked[row], side) for side in ("left", "right"))
            own = above[first] - above[after]
            return min(int((above[0] - above[first] + own / 2.0) / above[0] * bins), bins - 1)

        # the bin rises from row to row: each cut is found by halving, a few rows' places instead of all
        rows = range(len(ranked))
        cuts = [bisect.bisect_left(rows, number, key=bin_of) for number in range(1, bins)]
        starts = np.array(sorted({0, *cuts, len(ranked)}))  # bins that a single score jumps over are left out
        codes = np.empty(len(ranked), np.intp)
        codes[order] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        return cls(order, starts, codes)

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums `(B,)` of `values` `(N,)` per bin."""
        return np.asarray(np.bincount(self.codes, weights=values, minlength=len(self.starts) - 1))

    def pairs(self, clusters: Clusters | None) -> SlicePairs:
        """The requests within each bin; None takes every row as its own."""
        slices = Slices("bin", tuple(str(number) for number in range(len(self.starts) - 1)), self.codes)
        if clusters is not None:
            return SlicePairs.of(slices, clusters)
        alone = np.empty(len(self.order), np.intp)
        alone[self.order] = np.arange(len(self.order))
        return SlicePairs(slices, alone, self.starts)
