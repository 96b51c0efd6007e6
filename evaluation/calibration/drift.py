"""Has calibration moved: the ratio of predicted to observed in one stretch of time against the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import infer_dtype

from evaluation.checks import FloatArray, head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import Clusters
from evaluation.estimate import log_interval
from evaluation.freedom import t_two_sided, variance_freedom
from evaluation.holm import holm
from evaluation.ordering import mass_position

TEXT = ("string", "bytes", "mixed", "mixed-integer")  # what pandas calls columns with text in them
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
        times: `(N,)` numbers or datetimes, none missing; no text. Rows of equal time stay in one period.
        names: The heads' names in column order.
        periods: How many periods of equal weight, at least 2.

    Returns:
        One row per head and change: head, before and after (the periods in words), before_from, before_to, after_from,
        after_to (first and last time, as text), ratio_before, ratio_after, change (after / before), low, high (95 %),
        p, p_adjusted (Holm, over all rows), reason (no positive row, or no prediction above 0, in a period, or fewer
        than two requests). Empty where all rows have one time: there is nothing to compare.

    Raises:
        ValueError: a missing time, times that are text, fewer than 2 periods, values outside their range.

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
    rows = [np.flatnonzero(period == number) for number in range(len(bounds))]
    requests = [Clusters(clusters.codes[inside], clusters.count) for inside in rows]
    records: list[dict[str, Any]] = []
    for column, head in enumerate(head_names(names, y.shape[1])):
        known = ~np.isnan(y[:, column])
        weight = w * known
        predicted, happened = weight * p[:, column], weight * np.where(known, y[:, column], 0.0)
        sums: list[FloatArray] = []  # of the last two periods, (3, R) each: all periods at once could be large
        for number, inside in enumerate(rows):
            of = [requests[number].sums(values[inside]) for values in (predicted, happened, weight)]
            sums = [*sums[-1:], np.stack(of)]
            if not number:
                continue
            (start, stop), (next_start, next_stop) = bounds[number - 1], bounds[number]
            records.append(
                {
                    "head": head,
                    "before": start if start == stop else f"{start} to {stop}",
                    "after": next_start if next_start == next_stop else f"{next_start} to {next_stop}",
                    "before_from": start,
                    "before_to": stop,
                    "after_from": next_start,
                    "after_to": next_stop,
                    **_change(*sums),
                }
            )
    if not records:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.DataFrame(records)
    table.insert(len(table.columns) - 1, "p_adjusted", holm(table["p"].to_numpy(float)))
    return table


def _change(before: FloatArray, after: FloatArray) -> dict[str, Any]:
    """The ratios of two periods and the change between them; `(3, R)` each request's sums of w p, w y and w in each."""
    paths, happened = [before[0], after[0]], [before[1], after[1]]
    predicted, observed = [float(values.sum()) for values in paths], [float(values.sum()) for values in happened]
    ratios = [p / o if o > 0.0 else math.nan for p, o in zip(predicted, observed)]
    found: dict[str, Any] = {"ratio_before": ratios[0], "ratio_after": ratios[1]}
    empty = {"change": math.nan, "low": math.nan, "high": math.nan, "p": math.nan}
    if min(observed) <= 0.0:
        return {**found, **empty, "reason": f"no positive row in {_where(observed)}"}
    if min(predicted) <= 0.0:  # no factor leads from a ratio of 0 to another
        return {**found, **empty, "reason": f"predicts nothing in {_where(predicted)}"}
    if min(np.count_nonzero(before[2]), np.count_nonzero(after[2])) < 2:
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


def _where(sums: list[float]) -> str:
    """In which of two periods a sum is 0."""
    if max(sums) <= 0.0:
        return "either period"
    return "the first" if sums[0] <= 0.0 else "the second"


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
    if moments.dtype.kind == "O" and infer_dtype(moments.astype(object)) in TEXT:
        raise ValueError(
            f"`times` must be numbers or datetimes, got text or a mixture, {moments.iloc[0]!r} at row 0: it would be "
            "sorted as words"
        )
    place, uniques = pd.factorize(moments, sort=True)
    mass = np.bincount(place, weights=weights, minlength=len(uniques)).astype(np.float64)  # of each time, in order
    if np.count_nonzero(mass) < 2:
        return np.zeros(len(weights), dtype=np.intp), []
    # the first time's mid-rank lies below one half and the last one's above: two periods at least
    position = mass_position(np.arange(len(mass), dtype=np.float64), mass)
    number = np.minimum((position * periods).astype(np.intp), periods - 1)  # of each time, rising
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    stops = np.append(starts[1:], len(mass))
    bounds = [(_moment(uniques[a]), _moment(uniques[b - 1])) for a, b in zip(starts.tolist(), stops.tolist())]
    return np.repeat(np.arange(len(starts)), stops - starts)[place], bounds


def _moment(value: Any) -> str:
    """A time as text: dates to the minute, whole numbers without a fraction.

    >>> _moment(pd.Timestamp("2024-03-01 12:30:05")), _moment(3.0), _moment(0.25)
    ('2024-03-01 12:30', '3', '0.25')
    """
    if isinstance(value, (pd.Timestamp, np.datetime64)):
        return f"{pd.Timestamp(value):%Y-%m-%d %H:%M}"
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
