"""Predicted against observed, overall and in slices of p_any: where a wrong sampling correction cannot hide."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import (
    FloatArray,
    IntArray,
    head_names,
    label_matrix,
    probability_matrix,
    probability_vector,
    weight_vector,
)
from evaluation.clusters import Clusters, clustered_error
from evaluation.estimate import Estimate
from evaluation.metrics import make_estimate
from evaluation.ordering import mass_position
from evaluation.proper_scores import ratio_of_sums

QUANTILES = (0.0, 0.33, 0.67, 0.9, 1.0)
ALL = "all"


def calibration_by_slices(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    p_any: npt.ArrayLike | None,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    *,
    quantiles: Sequence[float] = QUANTILES,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Predicted / observed per head, over all rows and per slice of p_any.

    A recalibrated but wrong correction has ratio 1 overall and is far off in the slices (methods: 1.5 in the lowest
    third, .64 in the highest tenth), so the overall line proves little alone.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing) - or the true probabilities, where a simulation knows them.
        probabilities: `(N, T)`.
        p_any: `(N,)` the chance of any engagement; None leaves the overall lines only.
        groups: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log. Slices hold these shares of the *weight*.
        quantiles: Where to cut, increasing from 0 to 1. Rows of equal p_any stay in one slice.
        names: The heads' names in column order.

    Returns:
        Columns head, slice ("all", "0-33 %", ...), p_any_low, p_any_high, rows, predicted and observed (weighted
        means), ratio with ratio_se, ratio_low, ratio_high (95 %, symmetric in the log), reason. One row per head and
        slice, heads first, "all" before the slices.

    Raises:
        ValueError: probabilities outside [0, 1]; quantiles that do not rise from 0 to 1; shapes that differ.

    >>> p = np.array([[0.2], [0.2], [0.4], [0.4]])
    >>> table = calibration_by_slices([[0], [1], [0], [1]], p, p[:, 0], [1, 2, 3, 4], quantiles=(0, 0.5, 1))
    >>> [(part, round(float(value), 6)) for part, value in zip(table["slice"], table["ratio"])]
    [('all', 0.6), ('0-50 %', 0.4), ('50-100 %', 0.8)]
    """
    return calibration_of_stages(
        labels, {"": probabilities}, p_any, groups, weights, quantiles=quantiles, names=names
    ).drop(columns="stage")


def calibration_of_stages(
    labels: npt.ArrayLike,
    stages: Mapping[str, npt.ArrayLike],
    p_any: npt.ArrayLike | None,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    *,
    quantiles: Sequence[float] = QUANTILES,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """`calibration_by_slices` of several stages of one model ("naive", "corrected", ...) in the same slices.

    Args:
        stages: Stage's name -> probabilities `(N, T)`, in the order of the table.
        labels, p_any, groups, weights, quantiles, names: As in `calibration_by_slices`.

    Returns:
        The same table with the column `stage` in front.
    """
    y = label_matrix("labels", labels, soft=True)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    heads = head_names(names, y.shape[1])
    slices, parts = _slices(p_any, w, quantiles, len(y))
    ranges = np.full((len(parts), 2), np.nan)
    if p_any is not None:
        engaged = probability_vector("p_any", p_any, len(y))
        ranges = np.array(
            [(engaged[rows].min(), engaged[rows].max()) if len(rows) else (np.nan,) * 2 for rows in slices]
        )
    records = []
    for stage, probabilities in stages.items():
        p = probability_matrix(f"probabilities {stage}".rstrip(), probabilities, y.shape)
        for column, head in enumerate(heads):
            for part, rows, (low, high) in zip(parts, slices, ranges):
                record: dict[str, object] = {"stage": stage, "head": head, "slice": part}
                record |= {"p_any_low": low, "p_any_high": high}
                part_clusters = Clusters(clusters.codes[rows], clusters.count)
                record |= _one_slice(y[rows, column], p[rows, column], w[rows], part_clusters)
                records.append(record)
    return pd.DataFrame(records)


def p_any_slices(p_any: npt.ArrayLike, weights: npt.ArrayLike | None, quantiles: Sequence[float]) -> IntArray:
    """The slice `(N,)` of each row, 0 .. len(quantiles) - 2, by weighted mid-rank: equal p_any, equal slice.

    >>> p_any_slices([0.1, 0.2, 0.3, 0.3], None, (0, 0.5, 1)).tolist()
    [0, 0, 1, 1]
    """
    cuts = np.asarray(quantiles, dtype=np.float64)
    if len(cuts) < 2 or cuts[0] != 0.0 or cuts[-1] != 1.0 or np.any(np.diff(cuts) <= 0.0):
        raise ValueError(f"`quantiles` must rise from 0 to 1, got {tuple(quantiles)}")
    engaged = probability_vector("p_any", p_any)
    position = mass_position(engaged, weight_vector(weights, len(engaged)))
    return np.searchsorted(cuts[1:-1], position, side="right")


def _slices(
    p_any: npt.ArrayLike | None, weights: FloatArray, quantiles: Sequence[float], rows: int
) -> tuple[list[IntArray], list[str]]:
    """The rows of "all" and of every slice, and their names."""
    everything = np.arange(rows)
    if p_any is None:
        return [everything], [ALL]
    codes = p_any_slices(p_any, weights, quantiles)
    parts = [f"{100 * low:g}-{100 * high:g} %" for low, high in itertools.pairwise(quantiles)]
    return [everything, *(np.flatnonzero(codes == index) for index in range(len(parts)))], [ALL, *parts]


def _one_slice(
    labels: FloatArray, probabilities: FloatArray, weights: FloatArray, clusters: Clusters
) -> dict[str, object]:
    known = ~np.isnan(labels)
    y, w = np.where(known, labels, 0.0), weights * known
    total = float(w.sum())
    value, influence = ratio_of_sums(probabilities, y, w)
    reason = None if total > 0.0 else "no row with a label"
    if reason is None and np.isnan(value):
        reason = "no positive row"
    ratio: Estimate = make_estimate("ratio", value, clustered_error(influence, clusters, w), reason)
    return {
        "rows": int(known.sum()),
        "predicted": float(w @ probabilities) / total if total > 0.0 else float("nan"),
        "observed": float(w @ y) / total if total > 0.0 else float("nan"),
        "ratio": ratio.value,
        "ratio_se": ratio.standard_error,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "reason": ratio.reason,
    }
