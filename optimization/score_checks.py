"""What the arrays of a score table must satisfy: first all faults of their shapes, then all faults of their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation import Clusters
from features import Fault, raise_faults

__all__ = ["CheckedScores", "checked_scores"]

SHOWN = 3  # rows of a kind that are listed


class CheckedScores(NamedTuple):
    """The arrays of a `ScoreTable`, sound, and in its types and its layout (head by head)."""

    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int8] | npt.NDArray[np.float32]
    requests: Clusters
    row_weights: npt.NDArray[np.float64] | None


def checked_scores(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    requests: npt.ArrayLike | Clusters,
    heads: Sequence[str],
    signs: Sequence[int] | None = None,
    row_weights: npt.ArrayLike | None = None,
    name: str = "",
) -> CheckedScores:
    """Arguments as in `ScoreTable.of`. The arrays are copied: the caller may go on writing into its own.

    Raises:
        InputError: every fault of names, types and shapes at once; where there is none, every fault of the values.

    >>> checked_scores([[0.5], [1.5]], [[1], [2]], [1, 2], ["click"], name="tune rows")
    Traceback (most recent call last):
    features.errors.InputError: tune rows: column `click`, row 1: a score must be a number within [0, 1], got 1.5
    tune rows: column `click`, row 1: a label must be 0, 1 or NaN (missing), got 2.0
    (rows are counted from 0 within their file)
    """
    name = name or "score table"
    faults = _head_faults(heads, signs, name)
    p = _numbers(probabilities, np.float32, "scores", name, faults)  # (N, T)
    y = _numbers(labels, np.float32, "labels", name, faults)  # (N, T)
    rows = len(p) if p.ndim else 0
    w = None if row_weights is None else _numbers(row_weights, np.float64, "row weights", name, faults)  # (N,)
    for what, array, shape in (("scores", p, (rows, len(heads))), ("labels", y, (rows, len(heads)))):
        if array.shape != shape:
            faults.append(Fault(f"{what} must be {shape}: a row each, a column per head", name, value=array.shape))
    if w is not None and w.shape != (rows,):
        faults.append(Fault(f"row weights must be ({rows},), one per row", name, value=w.shape))
    clusters = Clusters(np.empty(0, np.intp), 0)
    try:
        clusters = Clusters.of(requests, rows)
    except (TypeError, ValueError) as error:
        faults.append(Fault(str(error).replace("`groups`", "`requests`"), name))
    raise_faults(faults)
    _check_values(p, y, w, clusters, heads, name)
    missing = np.isnan(y)
    if missing.any():
        y[missing] = np.nan  # one NaN of the many that there are: a fingerprint is to be that of the content
    stored = y if missing.any() else y.astype(np.int8)
    weights = None if w is None or (w == 1.0).all() else w
    return CheckedScores(np.asfortranarray(p), np.asfortranarray(stored), clusters, weights)


def _head_faults(heads: Sequence[str], signs: Sequence[int] | None, name: str) -> list[Fault]:
    faults = []
    if isinstance(heads, str) or not heads or not all(isinstance(head, str) and head for head in heads):
        faults.append(Fault("heads must be a sequence of names, at least one", name, value=repr(heads)))
    elif len(set(heads)) < len(heads):
        faults.append(Fault("heads must differ from one another", name, value=list(heads)))
    if signs is not None and (len(signs) != len(heads) or any(sign not in (1, -1) for sign in signs)):
        faults.append(Fault(f"signs must be 1 or -1, one for each of {len(heads)} head(s)", name, value=list(signs)))
    return faults


def _numbers(values: npt.ArrayLike, dtype: type, what: str, name: str, faults: list[Fault]) -> npt.NDArray[Any]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes inf, which is refused as a value
            return np.array(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        faults.append(Fault(f"{what} must be numeric: {error}", name))
        return np.empty(0, dtype)


def _check_values(
    p: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    w: npt.NDArray[np.float64] | None,
    clusters: Clusters,
    heads: Sequence[str],
    name: str,
) -> None:
    faults = _row_faults(p, (p >= 0.0) & (p <= 1.0), "a score must be a number within [0, 1]", heads, name)
    known = (y == 0.0) | (y == 1.0)
    faults += _row_faults(y, known | np.isnan(y), "a label must be 0, 1 or NaN (missing)", heads, name)
    counts = np.ones(len(p), bool)
    if w is not None:
        good = np.isfinite(w) & (w >= 0.0)
        faults += _row_faults(w[:, None], good[:, None], "a row weight must be finite and >= 0", ("row weight",), name)
        counts = w > 0.0
    faults += [
        Fault(
            "no row has the label 1: the metrics of this head are undefined. Take more rows, or leave the head out",
            name,
            head,
        )
        for column, head in enumerate(heads)
        if not ((y[:, column] == 1.0) & counts).any()
    ]
    codes = clusters.codes[counts]
    if not len(codes) or codes.min() == codes.max():
        found = min(len(codes), 1)
        faults.append(
            Fault("must hold rows of at least two requests, which errors are clustered by", name, value=found)
        )
    raise_faults(faults)


def _row_faults(
    values: npt.NDArray[Any], good: npt.NDArray[np.bool_], message: str, columns: Sequence[str], name: str
) -> list[Fault]:
    """One fault per column of `values` `(N, T)` that has rows which are not `good`."""
    faults = []
    for column in np.flatnonzero(~good.all(axis=0)).tolist():
        bad = np.flatnonzero(~good[:, column])
        shown = [(int(row), float(values[row, column])) for row in bad[:SHOWN]]
        row, value = shown[0]
        faults.append(Fault(message, name, columns[column], row, value, len(bad), tuple(shown[1:])))
    return faults
