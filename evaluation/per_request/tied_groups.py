"""Groups of equal scores within requests that hold a positive row: all that a per-request metric looks at."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.checks import FloatArray, IntArray

__all__ = ["TiedGroups"]


@dataclass(frozen=True)
class TiedGroups:
    """G groups, request by request and from the highest score to the lowest; counts are sums of row weights.

    Attributes:
        request: `(G,)` the request of each, ascending.
        above: `(G,)` a, the rows of the request that score higher.
        size: `(G,)` n, the rows of the group.
        positives: `(G,)` p, the positive ones among them, at least one.
        before: `(G,)` h, the positive rows of the request that score higher.
        gain: `(G,)` the sum of the labels of the group: p, unless labels are graded.
    """

    request: IntArray
    above: FloatArray
    size: FloatArray
    positives: FloatArray
    before: FloatArray
    gain: FloatArray
