"""What a weight vector is worth: the PR-AUC of every head when rows are ranked by the utility, with one sort.

[Pinterest 2020], "Utility function and Bayesian optimization", chooses the weights of eq. (4) by the heads' PR-AUC in
the ranking by utility. Trying weights re-mixes columns of a table of probabilities that was computed once, so the cost
of a trial is a sort, and one sort serves all heads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from evaluation.clusters import Clusters
from optimization.objective.ap_influences import request_influences
from optimization.objective.head_curves import HeadCurves
from optimization.objective.packed_keys import CHUNK, RankedRows, rank_rows
from optimization.objective.row_codes import RowCodes

Float32Array = npt.NDArray[np.float32]


def utilities(probabilities: npt.ArrayLike, weights: npt.ArrayLike) -> Float32Array:
    """The utility of every row under every weight vector, [Pinterest 2020] eq. (4): s = sum_t w_t p_t.

    Defined in float32: weights and probabilities are rounded to float32, heads are added in their order, every product
    and every sum is rounded, heads of weight 0 are skipped, and -0.0 is 0.0. Which rows tie is thereby the same on
    every machine (a matrix product is free to add in any order).

    Args:
        probabilities: `(N, T)` finite.
        weights: `(V, T)` finite, signed.

    Returns:
        `(V, N)`.

    Raises:
        ValueError: NaN or infinite entries, shapes that do not fit, a utility too large for float32.

    >>> utilities([[0.5, 0.25], [0.0, 0.125]], [[1.0, 2.0], [0.0, -1.0]]).tolist()
    [[1.0, 0.25], [-0.25, -0.125]]
    """
    columns = _columns(probabilities)
    vectors = _vectors(weights, len(columns))
    out = np.empty((len(vectors), columns.shape[1]), np.float32)
    for vector, scores in zip(vectors, out):
        _mix(columns, vector, scores)
        scores += np.float32(0.0)
    if not np.isfinite(out).all():
        raise ValueError("utilities must be finite float32 numbers, got sums beyond its range")
    return out


def utility_pr_auc(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike,
    row_weights: npt.ArrayLike | None = None,
) -> FloatArray:
    """PR-AUC (average precision) of every head when rows are ranked by the utility of each weight vector.

    Exact: equal utilities are one group, as in `evaluation.average_precision` and scikit-learn's
    `average_precision_score`, which it equals to 1e-9 on `utilities(probabilities, weights)`.
    Several calls on the same rows: prepare them once with `UtilityObjective`.

    Args:
        probabilities: `(N, T)` calibrated probabilities of the heads, N >= 1; any finite scores are accepted.
        labels: `(N, T)` 0, 1 or NaN: missing for that head, for which the row is then left out.
        weights: `(V, T)` signed utility weights, one vector per row.
        row_weights: `(N,)` finite and >= 0; 1 / keep_prob on a log whose negatives were sampled.

    Returns:
        `(V, T)`; NaN in the column of a head without a positive row that carries weight.

    Raises:
        ValueError: NaN or infinite scores or weights, labels other than 0, 1 and NaN, negative row weights, shapes
            that do not fit, a utility too large for float32.

    >>> p = [[0.9, 0.1], [0.8, 0.6], [0.3, 0.7], [0.1, 0.2]]
    >>> y = [[1, 0], [0, 0], [1, 1], [0, 0]]
    >>> utility_pr_auc(p, y, [[1.0, 0.0], [0.0, 1.0]]).round(3).tolist()
    [[0.833, 0.333], [0.75, 1.0]]
    """
    return UtilityObjective(probabilities, labels, row_weights).pr_auc(weights)


def ap_request_influences(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike,
    requests: Clusters,
    row_weights: npt.ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray]:
    """PR-AUC of every head under one weight vector, and its influence summed over the rows of each request.

    `evaluation.average_precision.ap_influence` per head, summed by request, 6 to 15 times as fast. The standard
    error of any combination `a` `(T,)` of heads is sqrt(sum over requests of (influences @ a)^2); of the difference of
    two weight vectors on the same rows, that of the difference of their influences.

    Args:
        probabilities, labels, row_weights: As in `utility_pr_auc`.
        weights: `(T,)`.
        requests: The request of each row.

    Returns:
        The values `(T,)` and the influences `(R, T)`; NaN for a head without a positive row that carries weight.

    Raises:
        ValueError: As in `utility_pr_auc`; requests of another number of rows.

    >>> p, y = [[0.9], [0.8], [0.7], [0.1]], [[1], [0], [1], [0]]
    >>> values, influences = ap_request_influences(p, y, [1.0], Clusters.of([1, 2, 1, 2]))
    >>> values.round(4).tolist(), influences.round(4).tolist()
    ([0.8333], [[0.1111], [-0.1111]])
    """
    return UtilityObjective(probabilities, labels, row_weights, requests).influences(weights)


class UtilityObjective:
    """Rows prepared for many weight vectors: columns in float32, labels and row weights as small codes.

    Holds no scratch memory, so threads may share one.

    Args:
        probabilities, labels, row_weights: As in `utility_pr_auc`.
        requests: `(N,)` the request of each row; only `influences` needs it.

    >>> rows = UtilityObjective([[0.9], [0.4], [0.5]], [[1], [0], [1]], requests=Clusters.of([1, 1, 2]))
    >>> rows.pr_auc([[1.0], [-1.0]]).round(3).tolist()
    [[1.0], [0.583]]
    >>> values, influences = rows.influences([-1.0])
    >>> values.round(3).tolist(), influences.round(3).tolist()
    ([0.583], [[-0.139], [0.139]])
    """

    def __init__(
        self,
        probabilities: npt.ArrayLike,
        labels: npt.ArrayLike,
        row_weights: npt.ArrayLike | None = None,
        requests: Clusters | None = None,
    ) -> None:
        self._columns = _columns(probabilities)
        table = np.asarray(labels)
        shape = self._columns.shape[::-1]
        if table.shape != shape:
            raise ValueError(f"`labels` must have the shape of `probabilities`, {shape}, got {table.shape}")
        self._rows = RowCodes.of(table, row_weights)
        self._request_rows = None
        if requests is not None:
            self._request_rows = self._rows.with_requests(Clusters.of(requests, shape[0]))

    @property
    def rows(self) -> int:
        """N."""
        return int(self._columns.shape[1])

    @property
    def heads(self) -> int:
        """T."""
        return len(self._columns)

    def pr_auc(self, weights: npt.ArrayLike) -> FloatArray:
        """The PR-AUC `(V, T)` of every head under each weight vector of `weights` `(V, T)`; see `utility_pr_auc`."""
        vectors = _vectors(weights, self.heads)
        out = np.empty(vectors.shape)
        scores = np.empty(self.rows, np.float32)
        for vector, values in zip(vectors, out):
            curves = HeadCurves(self._rank(vector, scores, self._rows), self._rows)
            values[:] = [curves.head(head).average_precision for head in range(self.heads)]
        return out

    def influences(self, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The PR-AUC of every head under one weight vector, and what each request contributes to its error.

        Args:
            weights: `(T,)`.

        Returns:
            The values `(T,)`, and the influences `(R, T)` per request (`optimization.objective.ap_influences`), NaN in
            the column of a head without positives.

        Raises:
            ValueError: no `requests` were given, or as in `utility_pr_auc`.
        """
        if self._request_rows is None:
            raise ValueError("influences are per request: construct the objective with `requests`")
        one = np.asarray(weights)
        if one.ndim != 1:
            raise ValueError(f"`weights` must be one vector of shape ({self.heads},), got shape {one.shape}")
        vector = _vectors(one[None], self.heads)[0]
        ranked = self._rank(vector, np.empty(self.rows, np.float32), self._request_rows)
        return request_influences(ranked, self._request_rows)

    def _rank(self, vector: Float32Array, scores: Float32Array, rows: RowCodes) -> RankedRows:
        _mix(self._columns, vector, scores)
        return rank_rows(scores, rows.codes, rows.bits, rows.positive_from)


def _columns(probabilities: npt.ArrayLike) -> Float32Array:
    """`(T, N)` float32, checked: a head's column lies in one piece."""
    table = np.asarray(probabilities)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"`probabilities` must have shape (N, T) with N, T >= 1, got {table.shape}")
    return _finite("probabilities", table).T


def _vectors(weights: npt.ArrayLike, heads: int) -> Float32Array:
    """`(V, T)` float32, checked."""
    table = np.asarray(weights)
    if table.ndim != 2 or table.shape[1] != heads:
        raise ValueError(f"`weights` must have shape (V, {heads}), one vector per row, got {table.shape}")
    return _finite("weights", table)


def _finite(name: str, table: npt.NDArray[Any]) -> Float32Array:
    """`table` `(N, T)` in float32, column by column in memory; refused where that is not finite."""
    if table.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must be numbers, got {table.dtype}")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and found below
        columns = np.ascontiguousarray(table.T, dtype=np.float32)
    good = np.isfinite(columns)
    if not good.all():
        row, column = (bad := np.argwhere(~good.T))[0]
        raise ValueError(
            f"`{name}` must be finite in float32, got {table[row, column]} at row, column {row}, {column} "
            f"({len(bad)} value(s) in all)"
        )
    return columns.T


def _mix(columns: Float32Array, vector: Float32Array, out: Float32Array) -> None:
    """sum_t w_t p_t into `out` `(N,)`, chunk by chunk: only the columns and the sums travel through memory."""
    heads = np.flatnonzero(vector)
    if not len(heads):
        out.fill(0.0)
        return
    term = np.empty(CHUNK, np.float32)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # not finite: refused by the callers
        for start in range(0, len(out), CHUNK):
            total = out[start : start + CHUNK]
            np.multiply(columns[heads[0], start : start + CHUNK], vector[heads[0]], out=total)
            for head in heads[1:]:
                product = np.multiply(columns[head, start : start + CHUNK], vector[head], out=term[: len(total)])
                total += product
