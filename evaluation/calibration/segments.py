"""The segments in which predictions are furthest off, with the number of places that were looked at paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.calibration.variance_level import variance_level
from evaluation.checks import FloatArray, IntArray, head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import Clusters
from evaluation.estimate import log_interval
from evaluation.freedom import satterthwaite, t_two_sided
from evaluation.holm import holm
from evaluation.slicing.slices import Slices

LEVEL = 0.05
FEWEST = 10  # positives, expected or observed: below, no test of a segment can say much


def worst_segments(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None,
    slices: Sequence[Slices],
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Predicted against observed of every head in every slice, the surest miscalibration first.

    H0: the mean prediction of a segment is its mean outcome. z = sum of w (p - y) / SE, in score form: SE^2 is the
    clustered sum over requests of (sum of w (p - y))^2, its level the model's own (`variance_level`), and z is judged
    by Student's distribution with the variance's degrees of freedom. A log ratio over its error cannot do it: it says
    "too much" of a rare segment too often, and nothing where no positive came at all. All segments of all heads share
    5 % by Holm's method [Holm 1979]. Segments in which fewer than 10 positives came and fewer than 10 were expected
    are not tested.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing, left out of that head alone).
        probabilities: `(N, T)`.
        groups: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        slices: The columns' partitions of the N rows.
        names: The heads' names in column order.

    Returns:
        One row per head, column and slice: head, column, slice, rows, positives, requests, predicted and observed
        (weighted means), ratio with low and high (95 %, symmetric in the log, as everywhere), p, p_adjusted, flagged
        (p_adjusted < .05) and reason, which says why a segment was not tested or has no ratio. Sorted by p_adjusted,
        then p; the untested last.

    Raises:
        ValueError: values outside their range, shapes that differ.

    >>> platform = Slices("platform", ("web", "app"), np.arange(400) % 2)
    >>> p = np.where(platform.codes == 1, 0.1, 0.2)[:, None]
    >>> happened = (np.arange(400) % 10 < 2).astype(float)[:, None]
    >>> table = worst_segments(happened, p, np.arange(400), None, [platform], ["click"])
    >>> table[["slice", "ratio", "flagged"]].round(6).to_dict("records")
    [{'slice': 'app', 'ratio': 0.5, 'flagged': True}, {'slice': 'web', 'ratio': 1.0, 'flagged': False}]
    """
    y = label_matrix("labels", labels)
    p = probability_matrix("probabilities", probabilities, y.shape)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    heads = head_names(names, y.shape[1])
    cut = [_with_pairs(part, clusters) for part in slices]
    tables = []
    for column, head in enumerate(heads):
        sums = _Head.of(y[:, column], p[:, column], w)
        for part, pairs, of_pair in cut:
            table = _one_column(sums, part, pairs, of_pair)
            table.insert(0, "head", head)
            tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["head", "column", "slice", "p", "p_adjusted", "flagged", "reason"])
    table = pd.concat(tables, ignore_index=True)
    # Which segments have positives enough is seen in the outcomes: those that have not pay their share all the same,
    # or the ones where many came by chance would be judged as if nobody had looked elsewhere.
    could = (table["requests"] > 1).to_numpy()
    untested = table["p"].isna().to_numpy()
    adjusted = holm(np.where(could, table["p"].fillna(1.0), np.nan))
    table["p_adjusted"] = np.where(untested, np.nan, adjusted)
    table["flagged"] = table["p_adjusted"] < LEVEL
    table = table.sort_values(["p_adjusted", "p"], kind="stable", na_position="last", ignore_index=True)
    return table[[*(name for name in table if name != "reason"), "reason"]]


@dataclass(frozen=True)
class _Head:
    """One head's rows `(N,)`: what every column sums, made once."""

    labels: FloatArray
    probabilities: FloatArray
    weights: FloatArray  # 0 where the label is missing
    present: FloatArray
    positive: FloatArray
    predicted: FloatArray
    observed: FloatArray

    @classmethod
    def of(cls, labels: FloatArray, probabilities: FloatArray, weights: FloatArray) -> _Head:
        known = ~np.isnan(labels)
        y, w = np.where(known, labels, 0.0), weights * known
        present = (w > 0.0).astype(float)
        return cls(y, probabilities, w, present, y * present, w * probabilities, w * y)


def _with_pairs(part: Slices, clusters: Clusters) -> tuple[Slices, Clusters, IntArray]:
    """The slices, the (slice, request) pairs that occur, in which a request of several slices counts in each, and the
    slice of each pair."""
    if len(part.codes) != len(clusters.codes):
        raise ValueError(f"`slices` {part.column!r} must have {len(clusters.codes)} row(s), got {len(part.codes)}")
    pairs = Clusters.of(part.codes * clusters.count + clusters.codes)
    of_pair = np.zeros(pairs.count, dtype=np.intp)
    of_pair[pairs.codes] = part.codes
    return part, pairs, of_pair


def _one_column(head: _Head, part: Slices, pairs: Clusters, of_pair: IntArray) -> pd.DataFrame:
    """The slices of one column for one head."""
    count, codes = len(part.names), part.codes

    def sums(values: FloatArray, at: IntArray = codes) -> FloatArray:
        return np.asarray(np.bincount(at, weights=values, minlength=count))

    rows, positives, mass = sums(head.present), sums(head.positive), sums(head.weights)
    predicted, observed = sums(head.predicted), sums(head.observed)
    of_request, positive_of_request = pairs.sums(head.predicted), pairs.sums(head.observed)
    requests = sums((pairs.sums(head.weights) > 0.0).astype(float), of_pair)
    excess = of_request - positive_of_request  # (pairs,) sum of w (p - y), of mean 0 under H0
    square, fourth = sums(excess**2, of_pair), sums(excess**4, of_pair)
    variance = square * variance_level(head.labels, head.probabilities, head.weights, codes, count)
    difference = np.where(np.isclose(predicted, observed, rtol=1e-12, atol=0.0), 0.0, predicted - observed)
    p_value = t_two_sided(difference, np.sqrt(variance), satterthwaite(square, fourth, requests))
    # positives to be expected among the rows that are there: a positive row's weight is 1 where it protects its row
    weight_of_positive = float(observed.sum() / max(positives.sum(), 1.0)) or 1.0
    expected = predicted / weight_of_positive
    ratio = np.divide(predicted, observed, out=np.full(count, np.nan), where=observed > 0.0)
    squares = (of_request - ratio[of_pair] * positive_of_request) ** 2
    spread = sums(squares, of_pair)
    freedom = satterthwaite(spread, sums(squares**2, of_pair), sums((squares > 0.0).astype(float), of_pair))
    error = np.divide(np.sqrt(spread), observed, out=np.full(count, np.nan), where=(observed > 0.0) & (requests > 1))
    reasons = [
        _reason(*numbers) for numbers in zip(rows.tolist(), requests.tolist(), positives.tolist(), expected.tolist())
    ]
    untested = np.array([not tested for tested, _ in reasons])
    intervals = [log_interval(*numbers) for numbers in zip(ratio.tolist(), error.tolist(), freedom.tolist())]
    return pd.DataFrame(
        {
            "column": part.column,
            "slice": part.names,
            "rows": rows.astype(int),
            "positives": positives.astype(int),
            "requests": requests.astype(int),
            "predicted": np.divide(predicted, mass, out=np.full(count, np.nan), where=mass > 0.0),
            "observed": np.divide(observed, mass, out=np.full(count, np.nan), where=mass > 0.0),
            "ratio": ratio,
            "low": [low for low, _ in intervals],
            "high": [high for _, high in intervals],
            "p": np.where(untested, np.nan, p_value),
            "reason": [reason for _, reason in reasons],
        }
    )


def _reason(rows: float, requests: float, positives: float, expected: float) -> tuple[bool, str | None]:
    """Whether a segment is tested, and what there is to say of it."""
    if rows == 0:
        return False, "no row with a label"
    if requests < 2:
        return False, "fewer than two requests"
    if max(positives, expected) < FEWEST:
        return False, f"too few positives: {positives:.0f}, {expected:.1f} expected"
    return True, "no positive row" if positives == 0 else None
