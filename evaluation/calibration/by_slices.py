"""Predicted against observed, overall and in slices of p_any: where a wrong sampling correction cannot hide."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from evaluation.clusters import ClusteredError, Clusters
from evaluation.estimate import Estimate
from evaluation.metrics import make_estimate
from evaluation.ordering import mass_position
from evaluation.slicing.sliced_influences import SlicePairs
from evaluation.slicing.slices import Slices

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
    cuts: list[SlicePairs] = [SlicePairs.whole(clusters)]
    shown: list[tuple[str, float, float]] = [(ALL, np.nan, np.nan)]  # slice, p_any_low, p_any_high
    if p_any is not None:
        engaged = probability_vector("p_any", p_any, len(y))
        part = p_any_slices(engaged, w, quantiles)
        count = len(quantiles) - 1
        cuts.append(SlicePairs.of(Slices("p_any", tuple(map(str, range(count))), part), clusters))
        parts = (f"{100 * low:g}-{100 * high:g} %" for low, high in itertools.pairwise(quantiles))
        shown = [(ALL, *_ranges(engaged, np.zeros(len(y), np.intp), 1)[0])]
        shown += [(name, *limits) for name, limits in zip(parts, _ranges(engaged, part, count))]
    values = {stage: np.asarray(probabilities) for stage, probabilities in stages.items()}
    for stage, matrix in values.items():
        probability_matrix(f"probabilities {stage}".rstrip(), matrix, y.shape)  # checked; converted column by column
    records: dict[str, list[dict[str, object]]] = {stage: [] for stage in stages}
    for column, head in enumerate(heads):
        observed = [_Observed.of(y[:, column], w, pairs) for pairs in cuts]
        for stage, matrix in values.items():
            p = matrix[:, column].astype(np.float64)
            lines = [line for part_observed in observed for line in part_observed.lines(p)]
            records[stage] += [
                {"stage": stage, "head": head, "slice": name, "p_any_low": low, "p_any_high": high, **line}
                for line, (name, low, high) in zip(lines, shown)
            ]
    return pd.DataFrame([record for lines in records.values() for record in lines])


def p_any_slices(p_any: npt.ArrayLike, weights: npt.ArrayLike | None, quantiles: Sequence[float]) -> IntArray:
    """The slice `(N,)` of each row, 0 .. len(quantiles) - 2, by weighted mid-rank: equal p_any, equal slice.

    >>> p_any_slices([0.1, 0.2, 0.3, 0.3], None, (0, 0.5, 1)).tolist()
    [0, 0, 1, 1]
    """
    cuts = np.asarray(quantiles, dtype=np.float64)
    if len(cuts) < 2 or cuts[0] != 0.0 or cuts[-1] != 1.0 or np.any(np.diff(cuts) <= 0.0):
        raise ValueError(f"`quantiles` must rise from 0 to 1, got {tuple(quantiles)}")
    engaged = probability_vector("p_any", p_any)
    w = weight_vector(weights, len(engaged))
    if not len(w):
        return np.empty(0, np.intp)
    position = mass_position(engaged, w if w.any() else np.ones(len(w)))  # no row counts: all rows alike
    return np.searchsorted(cuts[1:-1], position, side="right")


def _ranges(engaged: FloatArray, codes: IntArray, count: int) -> list[tuple[float, float]]:
    """The lowest and the highest p_any of each slice; NaN where it holds no row."""
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, codes, engaged)
    np.maximum.at(high, codes, engaged)
    return [(a, b) if a <= b else (np.nan, np.nan) for a, b in zip(low.tolist(), high.tolist())]


@dataclass(frozen=True)
class _Observed:
    """What one head's labels say in one cut of the rows, the same for every stage."""

    pairs: SlicePairs
    weights: FloatArray  # (N,) 0 where the label is missing
    rows: IntArray  # (S,) rows whose label is there
    mass: FloatArray  # (P,) sums of the weights
    happened: FloatArray  # (P,) sums of w y

    @classmethod
    def of(cls, labels: FloatArray, weights: FloatArray, pairs: SlicePairs) -> _Observed:
        known = ~np.isnan(labels)
        y, w = np.where(known, labels, 0.0), weights * known
        rows = np.bincount(pairs.slices.codes[known], minlength=pairs.slices.count)
        return cls(pairs, w, rows, pairs.sums(w), pairs.sums(w * y))

    def lines(self, probabilities: FloatArray) -> list[dict[str, object]]:
        """One stage's line of every slice."""
        pairs = self.pairs
        expected = pairs.sums(self.weights * probabilities)
        total, predicted, observed = (pairs.totals(values) for values in (self.mass, expected, self.happened))
        requests = pairs.totals((self.mass > 0.0).astype(np.float64))
        ratio = _over(predicted, observed)
        seen = observed > 0.0
        per_observed = pairs.each(np.divide(1.0, observed, out=np.zeros_like(observed), where=seen))
        influence = (expected - pairs.each(np.where(seen, ratio, 0.0)) * self.happened) * per_observed
        errors = np.where(requests > 1.0, pairs.errors(influence), np.nan)
        freedom = np.where(requests > 1.0, pairs.freedom(influence), np.nan)
        means = np.stack([_over(predicted, total), _over(observed, total)], axis=1)
        lines: list[dict[str, object]] = []
        for number in range(pairs.slices.count):
            reason = None if seen[number] else "no positive row" if total[number] > 0.0 else "no row with a label"
            known = ClusteredError(float(errors[number]), float(freedom[number]))
            estimate: Estimate = make_estimate("ratio", float(ratio[number]), known, reason)
            lines.append(
                {
                    "rows": int(self.rows[number]),
                    "predicted": float(means[number, 0]),
                    "observed": float(means[number, 1]),
                    "ratio": estimate.value,
                    "ratio_se": estimate.standard_error,
                    "ratio_low": estimate.low,
                    "ratio_high": estimate.high,
                    "reason": estimate.reason,
                }
            )
        return lines


def _over(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0.0)
