"""Has calibration moved: the ratio of predicted to observed in one stretch of time against the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import Clusters
from evaluation.estimate import log_interval
from evaluation.freedom import t_two_sided, variance_freedom
from evaluation.holm import holm
from evaluation.ordering import mass_position

ROUNDING = 1e-12  # relative; a smaller change is none
COLUMNS = (
    "head", "before", "after", "before_from", "before_to", "after_from", "after_to",
    "ratio_before", "ratio_after", "change", "low", "high", "p", "p_adjusted", "reason",
)  # fmt: skip


def ratio_drift(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None,
    times: Any,
    names: Sequence[str] | None = None,
    *,
    periods: int = 2,
) -> pd.DataFrame:
    """Each head's ratio in consecutive periods of equal weight, and whether it changed from one to the next.

    With P_k and O_k the sums of w p and of w y in period k, R_k = P_k / O_k. The change is R_after / R_before, and its
    test is in score form: d = O_before / P_before - O_after / P_after, which is 0 where nothing moved, with the
    clustered error of its influences under the common ratio. Its interval is symmetric in the log. Requests that lie
    across a boundary count on both sides, and their dependence is kept.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing, left out of that head alone).
        probabilities: `(N, T)`.
        groups: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        times: `(N,)` numbers or dates, none missing. Rows of equal time stay in one period.
        names: The heads' names in column order.
        periods: How many periods of equal weight, at least 2.

    Returns:
        One row per head and change: head, before and after (the periods in words), before_from, before_to, after_from,
        after_to (first and last time, as text), ratio_before, ratio_after, change (after / before), low, high (95 %),
        p, p_adjusted (Holm, over all rows), reason. Empty where all rows have one time: there is nothing to compare.

    Raises:
        ValueError: a missing time, fewer than 2 periods, values outside their range.

    >>> y = [[1.0], [0.0], [1.0], [0.0], [1.0], [1.0], [1.0], [1.0]]
    >>> table = ratio_drift(y, [[0.5]] * 8, range(8), None, [1, 1, 1, 1, 2, 2, 2, 2], ["click"])
    >>> table[["head", "before", "after", "ratio_before", "ratio_after", "change"]].to_dict("records")
    [{'head': 'click', 'before': '1', 'after': '2', 'ratio_before': 1.0, 'ratio_after': 0.5, 'change': 0.5}]
    """
    if periods < 2:
        raise ValueError(f"`periods` must be at least 2, got {periods}")
    y = label_matrix("labels", labels)
    p = probability_matrix("probabilities", probabilities, y.shape)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    period, bounds = _periods(times, w, periods)
    records: list[dict[str, Any]] = []
    for column, head in enumerate(head_names(names, y.shape[1])):
        known = ~np.isnan(y[:, column])
        outcome, weight = np.where(known, y[:, column], 0.0), w * known
        for first in range(len(bounds) - 1):
            inside = [(period == first + step) * weight for step in (0, 1)]
            (start, stop), (next_start, next_stop) = bounds[first], bounds[first + 1]
            records.append(
                {
                    "head": head,
                    "before": start if start == stop else f"{start} to {stop}",
                    "after": next_start if next_start == next_stop else f"{next_start} to {next_stop}",
                    "before_from": start,
                    "before_to": stop,
                    "after_from": next_start,
                    "after_to": next_stop,
                    **_change(outcome, p[:, column], inside[0], inside[1], clusters),
                }
            )
    if not records:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.DataFrame(records)
    table.insert(len(table.columns) - 1, "p_adjusted", holm(table["p"].to_numpy(float)))
    return table


def _change(
    labels: FloatArray, probabilities: FloatArray, before: FloatArray, after: FloatArray, clusters: Clusters
) -> dict[str, Any]:
    """The ratios under the weights `before` and `after` `(N,)`, and the change between them."""
    predicted = [float(w @ probabilities) for w in (before, after)]
    observed = [float(w @ labels) for w in (before, after)]
    # each request's sums of w p and w y in either period, (2, R)
    paths = np.stack([clusters.sums(w * probabilities) for w in (before, after)])
    happened = np.stack([clusters.sums(w * labels) for w in (before, after)])
    ratios = [p / o if o > 0.0 else math.nan for p, o in zip(predicted, observed)]
    found: dict[str, Any] = {"ratio_before": ratios[0], "ratio_after": ratios[1]}
    empty = {"change": math.nan, "low": math.nan, "high": math.nan, "p": math.nan}
    requests = [int(np.count_nonzero(clusters.sums(w))) for w in (before, after)]
    if min(observed) <= 0.0:
        none = "neither period" if max(observed) <= 0.0 else ("the first" if observed[0] <= 0.0 else "the second")
        return {**found, **empty, "reason": f"no positive row in {none}".replace("in neither", "in either")}
    if min(requests) < 2:
        return {**found, **empty, "reason": "fewer than two requests in a period"}
    change = ratios[1] / ratios[0]
    of_ratio = [paths[k] / predicted[k] - happened[k] / observed[k] for k in (0, 1)]  # influence of log R_k
    error = float(np.linalg.norm(of_ratio[1] - of_ratio[0]))
    common = sum(observed) / sum(predicted)
    of_score = [(happened[k] - common * paths[k]) / predicted[k] for k in (0, 1)]
    score = of_score[0] - of_score[1]
    freedom = variance_freedom(score)
    difference = observed[0] / predicted[0] - observed[1] / predicted[1]
    if abs(difference) < ROUNDING * common:
        difference = 0.0
    p_value = t_two_sided(np.array([difference]), np.array([np.linalg.norm(score)]), np.array([freedom]))
    low, high = log_interval(change, change * error, freedom)
    return {**found, "change": change, "low": low, "high": high, "p": float(p_value[0]), "reason": None}


def _periods(times: Any, weights: FloatArray, periods: int) -> tuple[npt.NDArray[np.intp], list[tuple[str, str]]]:
    """The period `(N,)` of each row and the first and last time of each, as text; none where all times are equal."""
    moments = pd.Series(times).reset_index(drop=True)
    if len(moments) != len(weights):
        raise ValueError(f"`times` must have {len(weights)} row(s), got {len(moments)}")
    if moments.isna().any():
        missing = moments.isna()
        raise ValueError(
            f"`times` must be there in every row, got none at row {int(missing.argmax())} ({int(missing.sum())} in all)"
        )
    place, uniques = pd.factorize(moments, sort=True)
    if len(np.unique(place[weights > 0.0])) < 2:
        return np.zeros(len(weights), dtype=np.intp), []
    # the first time's mid-rank lies below one half and the last one's above: two periods at least
    position = mass_position(place.astype(float), weights)
    _, period = np.unique(np.minimum((position * periods).astype(np.intp), periods - 1), return_inverse=True)
    bounds = []
    for number in range(int(period.max()) + 1):
        inside = place[period == number]
        bounds.append((_moment(uniques[inside.min()]), _moment(uniques[inside.max()])))
    return period, bounds


def _moment(value: Any) -> str:
    """A time as text: dates to the minute, whole numbers without a fraction.

    >>> _moment(pd.Timestamp("2024-03-01 12:30:05")), _moment(3.0), _moment(0.25)
    ('2024-03-01 12:30', '3', '0.25')
    """
    if isinstance(value, (pd.Timestamp, np.datetime64)):
        return f"{pd.Timestamp(value):%Y-%m-%d %H:%M}"
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
