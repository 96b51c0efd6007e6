"""Is the model calibrated at all: one p-value for the whole range of scores, honest under clustering and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.calibration.cumulative_paths import CumulativePath
from evaluation.checks import (
    FloatArray,
    float_array,
    head_names,
    label_matrix,
    probability_matrix,
    probability_vector,
    weight_vector,
)
from evaluation.clusters import Clusters
from evaluation.formatting import chance, format_number
from evaluation.holm import holm
from evaluation.metrics import undefined_reasons
from evaluation.metrics_json import jsonable
from evaluation.ordering import ScoreOrder

LEVEL = 0.05
REPLICATES = 999
SHOWN = 129  # places of a curve that is kept: a picture has no room for more
CURVE = ("share", "score", "predicted", "observed", "difference")


@dataclass(frozen=True)
class CalibrationTest:
    """What the cumulative test found.

    Attributes:
        statistic: The largest |sum of w (y - p)| / sum of w over any range of scores; 0 is calibrated.
        critical: What 95 % of calibrated models stay below on such a log.
        p_value: How often a calibrated model shows a statistic this large; NaN where it cannot be said.
        low, high: The range of scores of the largest difference.
        predicted, observed: Weighted means within that range.
        share: The share of the weight within it.
        rows, positives, requests: What the test saw.
        reason: Why there is no p-value; None where there is one.
    """

    statistic: float
    critical: float
    p_value: float
    low: float
    high: float
    predicted: float
    observed: float
    share: float
    rows: int
    positives: int
    requests: int
    reason: str | None

    @property
    def rejected(self) -> bool:
        """Whether a calibrated model would show this in 5 % of logs at most, by this test alone."""
        return self.p_value <= LEVEL

    @property
    def sentence(self) -> str:
        """The finding in one sentence for people."""
        return _sentence(self, self.p_value)

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON: None instead of NaN; with `rejected` and `sentence`."""
        fields = {name: jsonable(value) for name, value in vars(self).items()}
        return {**fields, "rejected": self.rejected, "sentence": self.sentence}


def calibration_test(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    *,
    order: ScoreOrder | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> CalibrationTest:
    """Test whether E[y | p] = p over the whole range of scores.

    The statistic is ECCE-R, the range of the cumulative differences C(s) = sum over p_i <= s of w_i (y_i - p_i) / sum w
    (Kuiper's statistic) [Arrieta-Ibarra, Gujral, Tannen, Tygert & Xu 2022, "Metrics of calibration for probabilistic
    predictions", section 2.2]: no bins to choose, and it sees a wrong mean as well as a wrong slope. Its p-value there
    takes rows as independent; here it comes from requests redrawn as wholes (see `cumulative_paths`), so rows of one
    request may depend on one another in any way.

    Args:
        labels: `(N,)` 0, 1 or NaN (missing, left out).
        probabilities: `(N,)` within [0, 1].
        groups: `(N,)` request ids or `Clusters`.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        order: The order of `probabilities`, where it is known: sorting is a good part of the cost.
        replicates: How many paths are drawn; the smallest p-value is 1 / (replicates + 1).
        seed: Of the draws.

    Returns:
        The test; without a positive row or with fewer than two requests p-value NaN and a reason.

    Raises:
        ValueError: values outside their range, shapes that differ, fewer than 19 replicates (p < .05 out of reach).

    >>> p = np.linspace(0.01, 0.6, 400)
    >>> happened = (np.arange(400) * 0.618 % 1.0 < p).astype(float)
    >>> request = np.arange(400) // 4
    >>> calibration_test(happened, p, request).rejected, calibration_test(happened, p / 2, request).rejected
    (False, True)
    """
    test, _ = _test_and_curve(labels, probabilities, groups, weights, order, replicates, seed)
    return test


def calibration_tests(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    *,
    orders: Sequence[ScoreOrder] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`calibration_test` of every head, and the curves that it looked at.

    Args:
        labels: `(N, T)` 0, 1 or NaN.
        probabilities: `(N, T)`.
        orders: The order of each column of `probabilities`, where they are known.
        names: The heads' names in column order.
        groups, weights, replicates, seed: As in `calibration_test`.

    Returns:
        Tests: one row per head, the fields of `CalibrationTest` with `p_adjusted` (Holm's, over the heads), `rejected`
        and `sentence`, which both go by `p_adjusted`. Curves, for `cumulative_figure`: head, share (of the weight up to
        there), score, predicted and observed (cumulative sums over the sum of the weights) and their difference, lowest
        score first, at about 130 places with the extremes among them; none of a head without a label.

    >>> tests, curves = calibration_tests([[1], [0]], [[0.5], [0.5]], [1, 2], names=["click"])
    >>> tests[["head", "statistic", "positives"]].to_dict("records"), curves["difference"].tolist()
    ([{'head': 'click', 'statistic': 0.0, 'positives': 1}], [0.0, 0.0])
    """
    y = label_matrix("labels", labels)
    p = probability_matrix("probabilities", probabilities, y.shape)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    tests, curves = [], []
    for column, head in enumerate(head_names(names, y.shape[1])):
        known_order = None if orders is None else orders[column]
        test, curve = _test_and_curve(y[:, column], p[:, column], clusters, w, known_order, replicates, seed)
        tests.append((head, test))
        curve.insert(0, "head", head)
        curves.append(curve)
    adjusted = holm([test.p_value for _, test in tests])
    table = pd.DataFrame(
        [
            {"head": head, **vars(test), "p_adjusted": p, "rejected": bool(p <= LEVEL), "sentence": _sentence(test, p)}
            for (head, test), p in zip(tests, adjusted.tolist())
        ]
    )
    return table, pd.concat(curves, ignore_index=True)


def _test_and_curve(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None,
    order: ScoreOrder | None,
    replicates: int,
    seed: int,
) -> tuple[CalibrationTest, pd.DataFrame]:
    if replicates < 1 / LEVEL - 1:
        raise ValueError(f"`replicates` must be at least 19 for p-values below 0.05, got {replicates}")
    y = label_matrix("labels", float_array("labels", labels)[:, None])[:, 0]
    p = probability_vector("probabilities", probabilities, len(y))
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    known = ~np.isnan(y)
    y, w = np.where(known, y, 0.0), w * known
    counts = (int(np.count_nonzero(w)), int(np.count_nonzero(y * w)), int(np.count_nonzero(clusters.sums(w))))
    reason = undefined_reasons(y, w).get("ratio")
    if counts[0] == 0:
        return CalibrationTest(*(float("nan"),) * 8, *counts, reason), pd.DataFrame(columns=list(CURVE))
    if reason is None and counts[2] < 2:
        reason = "fewer than two requests"
    random = np.random.default_rng(seed)
    path = CumulativePath.of(order or ScoreOrder.of(p), y, p, w, clusters, random)
    critical = p_value = float("nan")
    if reason is None:
        extents = path.redrawn_extents(replicates, random)
        critical = float(np.sort(extents)[replicates - int(LEVEL * (replicates + 1) + 1e-9)])
        # rounding must not read as a difference: a path that is 0 throughout ties with its copies
        p_value = float(1 + np.count_nonzero(extents >= path.extent - 1e-12)) / (replicates + 1)
    test = CalibrationTest(path.extent, critical, p_value, *_largest(path), *counts, reason)
    places = len(path.difference)
    extremes = [int(path.difference.argmin()), int(path.difference.argmax())]
    shown = np.union1d(np.linspace(0, places - 1, min(places, SHOWN)).astype(np.intp), extremes)
    return test, pd.DataFrame({name: getattr(path, name)[shown] for name in CURVE})


def _sentence(test: CalibrationTest, p: float) -> str:
    """The finding for people, with the p-value that decides."""
    if test.reason is not None:
        return f"Calibration was not tested: {test.reason}."
    if not p <= LEVEL:
        return f"No sign of miscalibration over the range of scores ({chance(p)})."
    much = "much" if test.predicted > test.observed else "little"
    return (
        f"Not calibrated ({chance(p)}): predicts too {much} between {format_number(test.low)} and "
        f"{format_number(test.high)}, {format_number(test.predicted)} on average where "
        f"{format_number(test.observed)} was observed."
    )


def _largest(path: CumulativePath) -> tuple[float, float, float, float, float]:
    """low, high, predicted, observed, share of the range of scores with the largest difference."""
    first, last = sorted((int(path.difference.argmin()), int(path.difference.argmax())))
    if first == last:  # no difference anywhere: the whole range
        first, last = 0, len(path.difference) - 1
    share = float(path.share[last] - path.share[first])
    if share <= 0.0:
        return path.score[first], path.score[last], float("nan"), float("nan"), share
    sums: list[FloatArray] = [path.predicted, path.observed]
    predicted, observed = (float(values[last] - values[first]) / share for values in sums)
    return float(path.score[first]), float(path.score[last]), predicted, observed, share
