"""How much outcomes vary where the model is right: the level of a variance under the null, sampled logs included."""

from __future__ import annotations

import numpy as np

from evaluation.checks import FloatArray, IntArray


def variance_level(
    labels: FloatArray,
    probabilities: FloatArray,
    weights: FloatArray,
    codes: IntArray | None = None,
    count: int = 1,
) -> FloatArray:
    """Expected over observed sum of w^2 (y - p)^2, over all rows or per slice: what a clustered variance is scaled by.

    The observed variance of a rare head is proportional to the positives that came. It is small exactly when few came,
    so dividing by it finds "predicts too much" far more often than chance allows (with 29 positives 7 % instead of
    2.5 %). The score form takes the level from the model; the design effect of clusters remains as observed.

    A sampled log weighs by the outcome, so a positive row's expected weight a_1 (1, where positives protect their row)
    differs from a negative one's, a_0. The expectation is the sum of w [a_1 p (1 - p)^2 + a_0 (1 - p) p^2], without
    weights the sum of p (1 - p); a_y = sum of w^2 / sum of w over the rows of outcome y, of all slices where a slice
    has none. Where more came than was predicted, what sampling adds (a_0 - a_1) is taken as that many times larger: by
    chance too few negatives may have been kept, and then both the prediction and its variance fall short.

    Args:
        labels, probabilities, weights: `(N,)`, checked; weight 0 where a label is missing.
        codes: `(N,)` each row's slice, 0 .. count - 1; None is one slice of all rows.
        count: The number of slices.

    Returns:
        `(count,)`; 1 where nothing varies.

    >>> variance_level(np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, 0.25), np.ones(4))
    array([1.])
    """
    if codes is None:
        codes = np.zeros(len(labels), dtype=np.intp)

    def sums(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(codes, weights=values, minlength=count))

    p, q = probabilities, 1.0 - probabilities
    observed = sums((weights * (labels - p)) ** 2)
    if np.all((weights == 1.0) | (weights == 0.0)):
        expected = sums(weights * p * q)
    else:
        of_positive, of_negative = weights * labels, weights * (1.0 - labels)
        happened = sums(of_positive)
        positive = _mean_weight(sums(weights * of_positive), happened)
        negative = _mean_weight(sums(weights * of_negative), sums(of_negative))
        # one outcome alone, everywhere: its weight stands for both
        positive, negative = (np.where(np.isnan(a), b, a) for a, b in ((positive, negative), (negative, positive)))
        spread = weights * p * q
        predicted = sums(weights * p)
        missed = np.divide(happened, predicted, out=np.ones(count), where=predicted > 0.0)
        added = np.maximum(negative - positive, 0.0) * np.maximum(missed - 1.0, 0.0)
        expected = positive * sums(spread * q) + (negative + added) * sums(spread * p)
    return np.divide(expected, observed, out=np.ones(count), where=observed > 0.0)


def _mean_weight(squares: FloatArray, totals: FloatArray) -> FloatArray:
    """sum of w^2 / sum of w per slice; over all slices where a slice has no such row; NaN where none has."""
    overall = float(squares.sum() / totals.sum()) if totals.sum() > 0.0 else float("nan")
    return np.divide(squares, totals, out=np.full(len(totals), overall), where=totals > 0.0)
