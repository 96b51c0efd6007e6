"""The gate's tests: one head's metric in one slice each, then all of them together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from evaluation.comparison.gate_rules import GateRules
from evaluation.freedom import t_quantile, t_quantiles
from evaluation.holm import holm
from evaluation.metric_kinds import MetricKind
from evaluation.slicing.slice_counts import SliceCounts

FELL, WARNED, HOLDS, UNDECIDED, UNTESTED = "regression", "warning", "holds", "undecided", "not tested"
POWER = 0.8  # with which the smallest detectable effect would be found


def measured(
    kind: MetricKind,
    share: float,
    values: tuple[float, float],
    difference: float,
    error: float,
    counts: SliceCounts,
    index: int,
    rules: GateRules,
) -> dict[str, Any]:
    """One test's numbers, or the reason why there is none.

    Args:
        kind, share: The metric and its tolerance c.
        values: Of the candidate and of the baseline.
        difference, error: d and its standard error, before the correction for few requests.
        counts, index: What the slices hold, and which of them it is.
        rules: The gate's.

    Returns:
        candidate, baseline, tolerance, floor, d, base (what d is measured in), se, df, low, high, p, change with its
        interval, reason.
    """
    candidate, baseline = values
    silent = kind.name == "ratio" and candidate == 0.0 < baseline  # its |log ratio| is infinite: no doubt, no error
    reason = _untestable(kind, values, counts, index, rules, silent=silent)
    effective = float(counts.effective[index])
    base = _judged(kind, baseline)
    record: dict[str, Any] = {
        "candidate": candidate,
        "baseline": baseline,
        "tolerance": share,
        "floor": _floor(kind, share, baseline),
        "d": difference,
        "base": base,
        "reason": reason,
    }
    blank = dict.fromkeys(("se", "df", "low", "high", "p", "change_low", "change_high"), math.nan)
    relative = base > 0.0 and kind.name != "ratio"
    change = difference / base + share - 1.0 if relative else math.nan
    if reason is not None:
        return record | blank | {"change": change}
    if silent:
        certain = {"d": -math.inf, "se": 0.0, "low": -math.inf, "high": -math.inf, "p": 0.0}
        return record | blank | certain | {"change": change}
    freedom = effective - 1.0
    se = error * math.sqrt(effective / freedom)
    quantile = t_quantile(freedom, (1.0 + rules.level) / 2.0)
    low, high = difference - quantile * se, difference + quantile * se
    # The interval of the change is that of d, moved: it lies below the floor exactly where d's lies below 0. The error
    # of candidate / baseline itself is smaller where the candidate lost most, and would then contradict the verdict.
    # No metric can lose more than all of itself, and no loss can fall below 0.
    bounds = (-1.0, math.inf) if kind.higher_is_better else (-math.inf, 1.0)
    return record | {
        "se": se,
        "df": freedom,
        "low": low,
        "high": high,
        "p": _chance(difference, se, freedom),
        "change": change,
        "change_low": max(change - quantile * se / base, bounds[0]) if relative else math.nan,
        "change_high": min(change + quantile * se / base, bounds[1]) if relative else math.nan,
    }


def decide(tests: pd.DataFrame, rules: GateRules) -> pd.DataFrame:
    """All tests together: Holm's p-values, what each could have found, and its outcome.

    Args:
        tests: One row per test as from `measured`, with the column `overall`.
        rules: The gate's.

    Returns:
        The same with p_holm, detectable, detectable_share, outcome.
    """
    alpha = (1.0 - rules.level) / 2.0
    tested = tests["reason"].isna().to_numpy()
    count = int(tested.sum())
    adjusted = holm(tests["p"].to_numpy(dtype=float))  # NaN where there is no test: it costs the others nothing
    freedom, error = tests["df"].to_numpy(dtype=float), tests["se"].to_numpy(dtype=float)
    base, share = tests["base"].to_numpy(dtype=float), tests["tolerance"].to_numpy(dtype=float)
    detectable = np.full(len(tests), np.nan)
    if count:
        reach = t_quantiles(freedom[tested], 1.0 - alpha / count) + t_quantiles(freedom[tested], POWER)
        detectable[tested] = reach * error[tested]
    relative = (base > 0.0) & (tests["metric"] != "ratio").to_numpy()
    shares = np.where(relative, 1.0 - share + detectable / np.where(relative, base, 1.0), np.nan)
    high, low = tests["high"].to_numpy(dtype=float), tests["low"].to_numpy(dtype=float)
    outcome = np.select(
        [
            tested & (adjusted <= alpha) & (tests["d"].to_numpy(dtype=float) < 0.0),
            tested & (high < 0.0),
            low >= 0.0,
            tested,
        ],
        [FELL, WARNED, HOLDS, UNDECIDED],
        default="",
    ).astype(object)
    # a head that cannot be judged leaves the verdict open; a slice that cannot is only listed
    outcome[~tested] = np.where(tests["overall"].to_numpy(dtype=bool)[~tested], UNDECIDED, UNTESTED)
    return tests.assign(p_holm=adjusted, detectable=detectable, detectable_share=shares, outcome=outcome)


def _untestable(
    kind: MetricKind, values: tuple[float, float], counts: SliceCounts, index: int, rules: GateRules, *, silent: bool
) -> str | None:
    """Why there is no test; None where there is one."""
    reason = counts.reason(index, kind.name, sum(values))
    if reason is not None:
        return reason
    if kind.name == "ratio" and values[1] == 0.0:
        return "production predicts nothing: its predicted / observed is 0"
    if counts.positives[index] < rules.min_positives:
        return f"too few positives: {counts.positives[index]} of at least {rules.min_positives}"
    if not counts.negatives[index] and not kind.of_probabilities:  # every order of the rows is as good
        return "no negative row"
    if silent:
        return None
    if counts.requests[index] < 2:
        return "fewer than two requests: no interval"
    if counts.effective[index] < 1.5:
        return "one request holds nearly all positives or nearly all negatives: no interval"
    return None


def _chance(difference: float, error: float, freedom: float) -> float:
    """The one-sided p-value of a fall: how often d would lie this low if the true one were 0."""
    if error == 0.0:
        return 0.0 if difference < 0.0 else 1.0
    from scipy.special import stdtr

    return float(stdtr(freedom, difference / error))


def _judged(kind: MetricKind, value: float) -> float:
    """What d is measured in: the metric, or |log ratio|."""
    if kind.name != "ratio":
        return value
    return abs(math.log(value)) if value > 0.0 else math.nan


def _floor(kind: MetricKind, share: float, baseline: float) -> float:
    """The candidate's value at which d is 0; of predicted / observed, the value on production's side of 1."""
    if kind.higher_is_better:
        return share * baseline
    if kind.name == "ratio":
        return math.exp((2.0 - share) * math.log(baseline)) if baseline > 0.0 else math.nan
    return (2.0 - share) * baseline
