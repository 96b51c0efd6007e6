"""Lift of an arm over another per engagement, in the form of the article's table 1; measured, and as it truly is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.comparison.paired import BETTER, UNDECIDED, WORSE, verdict
from evaluation.estimate import Z95
from evaluation.formatting import format_interval, format_number
from evaluation.marketplace.experiment import Experiment
from evaluation.marketplace.truth import Truth
from features.world.reactions import HEADS

MEASURES = ("propensity", "volume")


def lifts(experiment: Experiment, treatment: str, control: str) -> pd.DataFrame:
    """Lift in percent of `treatment` over `control`, [Pinterest 2020] table 1.

    Propensity is the share of requests with at least one engagement of a kind, volume the engagements of that kind per
    request. lift = 100 (m_1 / m_0 - 1). The arms have different users, so the errors of the two means add up in the
    logarithm: se(log m_1 / m_0)^2 = (se_1 / m_1)^2 + (se_0 / m_0)^2, each clustered by user, and the interval is
    100 (m_1 / m_0 exp(+- 1.96 se) - 1). Intervals are per line, not adjusted for the number of lines.

    Args:
        experiment: With both arms.
        treatment, control: Their names.

    Returns:
        Columns head, measure, control, treatment (means per request), lift, low, high (percent), verdict. Where an arm
        has no engagement of a kind, lift and interval are NaN and the verdict is None.

    Raises:
        ValueError: an arm that the experiment has not.
    """
    unknown = [name for name in (treatment, control) if name not in experiment.arms]
    if unknown:
        raise ValueError(f"the experiment has the arms {', '.join(experiment.arms)}, not {', '.join(unknown)}")
    records = []
    for head in HEADS:
        for measure in MEASURES:
            (m1, se1), (m0, se0) = (experiment.arms[name].mean(measure, {head: 1.0}) for name in (treatment, control))
            lift, low, high = relative_difference(m1, se1, m0, se0)
            records.append(
                {"head": head, "measure": measure, "control": m0, "treatment": m1}
                | {"lift": lift, "low": low, "high": high, "verdict": verdict(low, high)}
            )
    return pd.DataFrame(records)


def true_lifts(treatment: Truth, control: Truth) -> pd.DataFrame:
    """The lifts that an experiment without end would find: expectations over the same requests for both.

    Returns:
        Columns head, measure, true_lift (percent), in the order of `lifts`.
    """
    records = []
    for column, head in enumerate(HEADS):
        for measure in MEASURES:
            m1, m0 = (float(getattr(truth, measure)[:, column].mean()) for truth in (treatment, control))
            records.append({"head": head, "measure": measure, "true_lift": 100 * (m1 / m0 - 1)})
    return pd.DataFrame(records)


def relative_difference(m1: float, se1: float, m0: float, se0: float) -> tuple[float, float, float]:
    """Percent by which independent m1 exceeds m0, and its 95 % interval; NaN unless both are positive.

    >>> lift, low, high = relative_difference(1.1, 0.01, 1.0, 0.01)
    >>> round(lift, 6), round(low, 2), round(high, 2)
    (10.0, 7.12, 12.95)
    """
    if not (m1 > 0 and m0 > 0):
        return math.nan, math.nan, math.nan
    half = Z95 * math.hypot(se1 / m1, se0 / m0)
    lift, low, high = (100 * (m1 / m0 * np.exp(shift) - 1) for shift in (0.0, -half, half))
    return float(lift), float(low), float(high)


def lift_sentences(treatment: str, control: str, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the table says, one sentence per measure.

    Args:
        treatment, control: What the arms are called.
        records: Rows of `lifts`.

    >>> row = {"head": "click", "measure": "volume", "lift": 2.0, "low": 1.0, "high": 3.0, "verdict": "better"}
    >>> lift_sentences("Ours", "theirs", [row])
    ['Ours against theirs, engagements per request: more of click (+2.000 % [+1.000, +3.000]).']
    """
    words = {"propensity": "requests with at least one engagement", "volume": "engagements per request"}
    groups = ((BETTER, "more of"), (WORSE, "less of"), (UNDECIDED, "no difference shown on"), (None, "undefined on"))
    sentences = []
    for measure in MEASURES:
        parts = []
        for word, text in groups:
            found = [r for r in records if r["measure"] == measure and r["verdict"] == word]
            named = [
                f"{r['head']} ({format_number(r['lift'], signed=True)} % "
                f"{format_interval(r['low'], r['high'], signed=True)})"
                if word is not None
                else str(r["head"])
                for r in found
            ]
            if named:
                parts.append(f"{text} {', '.join(named)}")
        if parts:
            sentences.append(f"{treatment} against {control}, {words[measure]}: {'; '.join(parts)}.")
    return sentences
