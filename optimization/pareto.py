"""The Pareto frontier: trials that no other trial beats on every objective."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.checks import float_array

__all__ = ["non_dominated"]

_BLOCK = 512  # rows compared with all others at a time: memory is block x rows x objectives bits


def non_dominated(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which rows of `values` `(N, K)` are on the frontier of K objectives, all maximised: `(N,)`.

    Row j dominates row i if it is at least as high in every objective and higher in one. Equal rows do not dominate
    each other; a row with NaN is never on the frontier and dominates none.

    >>> non_dominated([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0], [3.0, 1.0]]).tolist()
    [True, True, False, True]
    """
    matrix = float_array("values", values, ndim=2)
    known = ~np.isnan(matrix).any(axis=1)
    points = matrix[known]
    kept = np.empty(len(points), dtype=bool)
    for begin in range(0, len(points), _BLOCK):
        block = points[begin : begin + _BLOCK, None, :]  # (B, 1, K) against (N, K)
        kept[begin : begin + _BLOCK] = ~np.any(np.all(points >= block, axis=2) & np.any(points > block, axis=2), axis=1)
    on_frontier = np.zeros(len(matrix), dtype=bool)
    on_frontier[known] = kept
    return on_frontier
