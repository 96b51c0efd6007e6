"""Reliability tables (what happened where the model said p) and the distribution of the scores under them."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array, score_vector, weight_vector
from evaluation.clusters import Clusters
from evaluation.estimate import Z95, normal_interval
from evaluation.freedom import t_quantile
from evaluation.reliability_bins import ScoreBins

SMALLEST_SHOWN = 1e-8  # scores below count in the histogram's first bin: an exact 0 has no place on a log axis


def reliability_table(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    groups: npt.ArrayLike | Clusters | None = None,
    bins: int = 20,
) -> pd.DataFrame:
    """Mean prediction and mean outcome in bins of equal weight.

    Bins of equal width would put nearly all rows of a rare head into the first one. Equal predictions share a bin, so
    there may be fewer bins than asked for.

    Args:
        labels: `(N,)` 0 or 1, or any real outcome (the realised engagement of a utility); NaN rows are left out.
        predictions: `(N,)` probabilities, or a utility's scores.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        groups: `(N,)` request ids for the band; None takes every row as its own request.
        bins: How many bins of equal weight.

    Returns:
        One row per bin, ascending: bin, low and high (range of the predictions), predicted, observed (weighted
        means), observed_low, observed_high (95 %), rows, positives (rows with a positive label), weight, share.
        The band of 0/1 labels is Wilson's with the clustered effective number of rows, so it stays inside [0, 1] and
        is wide where nothing was observed, and Student's quantile for what is known of that number; of other outcomes
        it is the clustered normal one. Over calibrated simulations it covers the truth in 95 % of bins or more (see
        `examples/evaluation/calibration_study.py`).

    Raises:
        ValueError: NaN predictions, infinite outcomes, negative weights, no weight at all, fewer than 1 bin.

    >>> table = reliability_table([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4], bins=2)
    >>> table["observed"].tolist(), table["rows"].tolist()
    ([0.0, 0.5], [2, 2])
    """
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, got {bins}")
    y = float_array("labels", labels)
    p = score_vector("predictions", predictions, len(y))
    w = weight_vector(weights, len(y))
    if np.isinf(y).any() or np.isinf(p).any():
        raise ValueError("`labels` and `predictions` must be finite, got an infinite value")
    clusters = None if groups is None else Clusters.of(groups, len(y))
    known = ~np.isnan(y) & (w > 0.0)
    if not known.any():
        raise ValueError("`labels` must hold at least one label with weight, got none")
    if not known.all():  # copies of large arrays
        y, p, w = y[known], p[known], w[known]
        clusters = None if clusters is None else Clusters(clusters.codes[known], clusters.count)
    parts = ScoreBins.of(p, w, bins)
    weight, happened = parts.sums(w), w * y
    observed = parts.sums(happened) / weight
    bands = _bands(y, w, happened, observed, parts, clusters)
    return pd.DataFrame(
        {
            "bin": np.arange(len(weight)),
            "low": p[parts.order[parts.starts[:-1]]],
            "high": p[parts.order[parts.starts[1:] - 1]],
            "predicted": parts.sums(w * p) / weight,
            "observed": observed,
            "observed_low": [low for low, _ in bands],
            "observed_high": [high for _, high in bands],
            "rows": np.diff(parts.starts),
            "positives": np.bincount(parts.codes[y > 0.0], minlength=len(weight)),
            "weight": weight,
            "share": weight / float(w.sum()),
        }
    )


def score_histogram(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    bins: int = 40,
    scale: Literal["log", "linear"] = "log",
) -> pd.DataFrame:
    """The distribution of the scores: the share of the weight per bin of equal width in the logarithm (or in itself).

    Args:
        scores: `(N,)`; on the log scale not negative, those below 1e-8 count in the first bin.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        bins: How many bins.
        scale: "log" for probabilities, "linear" for scores that may be negative.

    Returns:
        One row per bin, ascending: low, high, rows, share (sums to 1).

    Raises:
        ValueError: NaN or infinite scores, negative scores on the log scale, no weight at all, fewer than 1 bin.

    >>> score_histogram([0.01, 0.1, 0.1, 1.0], bins=2)["rows"].tolist()
    [1, 3]
    """
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, got {bins}")
    values = score_vector("scores", scores)
    w = weight_vector(weights, len(values))
    if np.isinf(values).any():
        raise ValueError("`scores` must be finite, got an infinite value")
    if float(w.sum()) <= 0.0:
        raise ValueError(f"`weights` must have a positive sum, got {float(w.sum()):g}")
    if scale == "log":
        if values.min() < 0.0:
            raise ValueError(f'`scores` must be >= 0 on the log scale, got {values.min():g}; use scale="linear"')
        values = np.log10(np.maximum(values, SMALLEST_SHOWN))
    low, high = float(values.min()), float(values.max())
    if low == high:  # one value only: a bin around it
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    shown = 10.0**edges if scale == "log" else edges
    return pd.DataFrame(
        {
            "low": shown[:-1],
            "high": shown[1:],
            "rows": np.bincount(place, minlength=bins),
            "share": np.bincount(place, weights=w, minlength=bins) / w.sum(),
        }
    )


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Share-weighted mean of |predicted - observed| over the bins of a `reliability_table`.

    For information only: at a base rate of .9 % halving every prediction moves it to a harmless-looking .0048.

    >>> round(expected_calibration_error(reliability_table([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4], bins=2)), 3)
    0.15
    """
    gap = np.abs(table["predicted"].to_numpy(float) - table["observed"].to_numpy(float))
    return float(table["share"].to_numpy(float) @ gap)


def wilson_interval(rate: float, size: float, quantile: float = Z95) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate seen on `size` (effective) independent rows [Wilson 1927].

    Args:
        rate: The share seen, within [0, 1].
        size: Independent rows, > 0.
        quantile: What stands for 1.96 where `size` is itself an estimate: Student's quantile.

    >>> low, high = wilson_interval(0.0, 100.0)
    >>> low, round(high, 4)
    (0.0, 0.037)
    """
    shrink = 1.0 + quantile**2 / size
    centre = (rate + quantile**2 / (2.0 * size)) / shrink
    half = quantile / shrink * math.sqrt(rate * (1.0 - rate) / size + quantile**2 / (4.0 * size**2))
    # at 0 and 1 the bound is exact; the arithmetic above leaves 1e-19 there
    return (0.0 if rate == 0.0 else max(centre - half, 0.0)), (1.0 if rate == 1.0 else min(centre + half, 1.0))


def _bands(
    outcomes: FloatArray,
    weights: FloatArray,
    happened: FloatArray,
    observed: FloatArray,
    parts: ScoreBins,
    clusters: Clusters | None,
) -> list[tuple[float, float]]:
    """The 95 % band of every bin's weighted mean outcome, from the sums of each request within it."""
    pairs = parts.pairs(clusters)
    of_bin, of_request = parts.sums(weights), pairs.sums(weights)
    influence = (pairs.sums(happened) - pairs.each(observed) * of_request) / pairs.each(of_bin)
    requests = pairs.totals((of_request > 0.0).astype(np.float64))
    errors = np.where(requests > 1.0, pairs.errors(influence), np.nan)  # the sum over a single request is always 0
    if not np.all((outcomes == 0.0) | (outcomes == 1.0)):
        return [normal_interval(*numbers) for numbers in zip(observed.tolist(), errors.tolist())]
    alike = of_bin**2 / pairs.totals(of_request**2)  # independent requests, were all rows of one alike
    before_sampling = of_bin / np.minimum.reduceat(weights[parts.order], parts.starts[:-1])
    known = (errors, pairs.freedom(influence), alike, before_sampling)
    return [_band(*numbers) for numbers in zip(observed.tolist(), *(values.tolist() for values in known))]


def _band(observed: float, error: float, freedom: float, alike: float, before_sampling: float) -> tuple[float, float]:
    """The 95 % band of a rate, from its clustered error and what is known of that."""
    if not (0.0 < observed < 1.0 and error > 0.0):
        return wilson_interval(observed, alike)
    # the design effect of clusters and weights; never above the rows there were before sampling, which an error that
    # is small by chance would claim
    size = min(observed * (1.0 - observed) / error**2, before_sampling)
    return wilson_interval(observed, size, t_quantile(freedom))
