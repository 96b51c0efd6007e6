"""What each request contributes to the error of the heads' PR-AUC under one weight vector.

The influence of row j on average precision, w_j dAP/dw_j (`evaluation.average_precision.ap_influence`), is

    w_j [y_j (prec_j - AP) + y_j A_j - B_j] / P

with A_j = sum of w_i y_i / N_i and B_j = sum of w_i y_i TP_i / N_i^2 over the rows i scored as j or lower. Errors are
clustered by request, so only the sums per request are needed, in any order of the rows: the request rides along in the
sorted key and nothing is carried back to the rows. B is a staircase that steps only at the groups with a positive row.
"""

from __future__ import annotations

import numpy as np

from evaluation.checks import FloatArray, IntArray
from optimization.objective.head_curves import HeadCurve, HeadCurves, running_sum
from optimization.objective.packed_keys import RankedRows
from optimization.objective.row_codes import RowCodes


def request_influences(ranked: RankedRows, rows: RowCodes) -> tuple[FloatArray, FloatArray]:
    """Average precision of every head on one order of the rows, and its influence per request.

    Args:
        ranked: The rows in order of their scores.
        rows: What their codes mean, each row's request among it (`RowCodes.with_requests`).

    Returns:
        The values `(T,)` and the influences `(R, T)`, whose columns sum to 0; NaN for a head without positives.

    >>> from evaluation.clusters import Clusters
    >>> from optimization.objective.packed_keys import rank_rows
    >>> rows = RowCodes.of(np.array([[1], [0], [1], [0]])).with_requests(Clusters.of([1, 2, 1, 2]))
    >>> ranked = rank_rows(np.array([0.9, 0.8, 0.7, 0.1], np.float32), rows.codes, rows.bits, rows.positive_from)
    >>> values, influences = request_influences(ranked, rows)
    >>> values.round(4).tolist(), influences.round(4).tolist()
    ([0.8333], [[0.1111], [-0.1111]])
    """
    curves = HeadCurves(ranked, rows)
    request = rows.requests_of(ranked.codes)  # (N,)
    of_positives = request.take(ranked.positives)
    heads, requests = len(rows.positive), rows.requests
    values, influences = np.empty(heads), np.empty((heads, requests))
    for head in range(heads):
        curve = curves.head(head)
        values[head] = curve.average_precision
        if curve.total <= 0.0:
            influences[head] = np.nan
        else:
            influences[head] = _gained(curve, of_positives.take(curve.rows), requests)
            influences[head] -= _borne(curve, curves.weights(head), request, requests)
            influences[head] /= curve.total
    return values, influences.T


def _gained(curve: HeadCurve, request: IntArray, requests: int) -> FloatArray:
    """`(R,)` w_j y_j (prec_j - AP + A_j), summed over the head's positive rows of each request."""
    after = _from_below(curve.group_gains / curve.retrieved)  # A per group
    of_group = curve.precision - curve.average_precision + after
    gain = np.repeat(of_group, np.diff(curve.last, prepend=-1))
    if curve.gains is not None:
        gain *= curve.gains
    return np.asarray(np.bincount(request, weights=gain, minlength=requests))


def _borne(curve: HeadCurve, weights: FloatArray | None, request: IntArray, requests: int) -> FloatArray:
    """`(R,)` w_j B_j, summed over all rows of each request."""
    burden = np.append(_from_below(curve.group_gains / curve.retrieved * curve.precision), 0.0)  # B; 0 below all groups
    # the rows down to the end of the first group bear all of B, those after it the B of the second group, ...
    of_row = np.repeat(burden, np.diff(curve.ends, prepend=0, append=len(request)))
    if weights is not None:
        of_row *= weights
    return np.asarray(np.bincount(request, weights=of_row, minlength=requests))


def _from_below(steps: FloatArray) -> FloatArray:
    """The sum of each step and all later ones."""
    return running_sum(steps[::-1].copy())[::-1]
