"""The verdict: tuned weights against hand-picked, equal and single-head ones, on rows that nobody tuned on.

[Pinterest 2020] tuned its weights offline and found that they did not beat the hand-picked ones online. So the question
put here is the sober one: is there a difference that the held-out requests can show, and do the guardrails still hold?

With f_h(w) the metric of head h when the rows are ranked by weights w, and I_h(w) `(R,)` its influence summed per
request, a paired difference has

    d_h = f_h(w) - f_h(w'),    SE(d_h)^2 = sum over requests of (I_h(w) - I_h(w'))^2

and a guardrail, S3 - S5 of the article, the slack sign_h (f_h(w) - c_h f_h(b)) with the error of the ratio of the two
(`optimization.evaluating`): how sure it is that f_h(w) / f_h(b) >= c_h, or <= c_h of an unwanted head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from evaluation.checks import FloatArray
from evaluation.comparison.paired import verdict
from evaluation.estimate import Estimate, normal_interval
from evaluation.metrics_json import jsonable
from features import Fault, raise_faults
from optimization.evaluating import ratio_errors
from optimization.guardrails import ROUNDING, Guardrails
from optimization.objective.metrics import PreparedMetric, head_combination, make_metric
from optimization.report.tuning_words import verdict_sentences
from optimization.weight_diff import Weights, as_utility, weight_vector
from ranking.utility import Utility

if TYPE_CHECKING:
    from optimization.score_table import ScoreTable

TUNED, HAND, EQUAL = "tuned", "hand-picked", "equal"
OBJECTIVE = "objective"


@dataclass(frozen=True)
class Verdict:
    """What the held-out rows say about several sets of weights.

    Attributes:
        metric, label: The metric's name ("pr_auc"), and for people ("PR-AUC").
        objective: Head -> value: what was maximised is their sum of value x metric.
        reference: The candidate that the others are compared with.
        name, rows, requests: The held-out table.
        signs: Head -> 1 or -1; of an unwanted head less is better.
        weights: Candidate -> head -> signed weight.
        values: One row per candidate and head, and one with head "objective" (and `combined` True): value, se, low,
            high (95 %, clustered by request), difference to the reference with difference_se, _low, _high, and verdict
            ("better", "worse", "no difference shown"; None for the reference itself).
        guardrails: One row per candidate and guarded head: sign (-1: at most), floor (c_h), value, required (c_h b_h on
            these rows), slack (sign x (value - required)), se (b_h x the standard error of value / b_h), low, high,
            holds (slack >= 0), decided (the interval lies on one side of 0).
    """

    metric: str
    label: str
    objective: dict[str, float]
    reference: str
    name: str
    rows: int
    requests: int
    signs: dict[str, int]
    weights: dict[str, dict[str, float]]
    values: pd.DataFrame
    guardrails: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """As it stands in metrics.json."""
        return {name: jsonable(getattr(self, name)) for name in self.__dataclass_fields__}

    def sentences(self, candidate: str = TUNED) -> list[str]:
        """Whether `candidate` differs from the reference, on which heads, and whether the guardrails hold."""
        return verdict_sentences(self.to_dict(), candidate)

    def sentence(self, candidate: str = TUNED) -> str:
        """`sentences` in one paragraph."""
        return " ".join(self.sentences(candidate))


def candidates(tuned: Weights | None, hand: Weights, heads: Mapping[str, int]) -> dict[str, Utility]:
    """The sets of weights that a verdict compares: tuned, hand-picked, equal, and each head alone.

    Args:
        tuned: None where nothing feasible was found: the others are judged all the same.
        hand: The weights in production.
        heads: Head -> declared sign, 1 or -1; an unwanted head alone ranks by its probability, lowest first.

    >>> list(candidates(Utility(click=1.0), Utility(save=1.0), {"click": 1, "save": 1}))
    ['tuned', 'hand-picked', 'equal', 'only click', 'only save']
    """
    named = {TUNED: tuned, HAND: hand, EQUAL: Utility.equal(heads)}
    singles = {f"only {head}": Utility.from_mapping({head: float(sign)}) for head, sign in heads.items()}
    return {name: as_utility(weights) for name, weights in {**named, **singles}.items() if weights is not None}


def judge(
    test: ScoreTable,
    candidates: Mapping[str, Weights],
    guardrails: Guardrails,
    *,
    objective: str | Mapping[str, float],
    metric: str = "pr_auc",
    reference: str = HAND,
) -> Verdict:
    """Compare sets of weights on held-out rows, paired and clustered by request.

    Args:
        test: Rows that neither training nor tuning saw.
        candidates: Name -> weights (any scale; heads that are not named weigh 0), as from `candidates`.
        guardrails: Their floors are checked again here, against the same baseline weights on these rows.
        objective: A head, or business values per head.
        metric: As in `make_metric`.
        reference: The candidate that all others are compared with.

    Raises:
        InputError: a reference that is no candidate, weights that name unknown heads, go against a declared sign, or
            are all 0; all at once.
    """
    vectors = _vectors(test, candidates, guardrails, reference)
    combination = head_combination(objective, test.heads)
    made = make_metric(metric)
    measured = _Measurements(made.prepare(test), combination)
    bounds = (0.0, math.inf if metric.startswith("expected_utility") else 1.0)
    theirs, baseline = measured(vectors[reference]), measured(vectors[""])
    values, checks = [], []
    for name in candidates:
        ours = measured(vectors[name])
        same = name == reference
        for t, (head, sign) in enumerate(zip(test.heads, test.signs)):
            compared = _compared(ours.head(t), theirs.head(t), same, sign, bounds)
            values.append({"candidate": name, "head": head, "combined": False} | compared)
        compared = _compared(ours.combined, theirs.combined, same, 1, (-math.inf, math.inf))
        values.append({"candidate": name, "head": OBJECTIVE, "combined": True} | compared)
        for head, floor in guardrails.floors.items():
            t = test.heads.index(head)
            checked = _checked(ours.head(t), baseline.head(t), float(floor), test.signs[t])
            checks.append({"candidate": name, "head": head} | checked)
    return Verdict(
        metric=metric,
        label=made.label,
        objective={head: float(value) for head, value in zip(test.heads, combination) if value != 0.0},
        reference=reference,
        name=test.name,
        rows=test.rows,
        requests=test.requests.count,
        signs=dict(zip(test.heads, test.signs)),
        weights={name: dict(zip(test.heads, map(float, vectors[name]))) for name in candidates},
        values=pd.DataFrame(values),
        guardrails=pd.DataFrame(checks),
    )


class _Measured(NamedTuple):
    """The metric of every head under one set of weights, and of the objective that combines them.

    values `(T,)`, influences `(R, T)`; combined: the objective and its influence `(R,)`.
    """

    values: FloatArray
    influences: FloatArray
    combined: tuple[float, FloatArray]

    def head(self, t: int) -> tuple[float, FloatArray]:
        return float(self.values[t]), self.influences[:, t]


class _Measurements:
    """Each set of weights is measured once: the baseline is usually a candidate too."""

    def __init__(self, prepared: PreparedMetric, combination: FloatArray) -> None:
        self._prepared, self._combination = prepared, combination
        self._known: dict[bytes, _Measured] = {}

    def __call__(self, weights: FloatArray) -> _Measured:
        key = weights.tobytes()
        if key not in self._known:
            values, influences = self._prepared.influences(weights)
            counted = self._combination != 0.0  # a head without a value for the business may be undefined
            mix = self._combination[counted]
            combined = float(values[counted] @ mix), influences[:, counted] @ mix
            self._known[key] = _Measured(values, influences, combined)
        return self._known[key]


def _compared(
    ours: tuple[float, FloatArray], theirs: tuple[float, FloatArray], same: bool, sign: int, bounds: tuple[float, float]
) -> dict[str, Any]:
    """One value beside the reference's, paired; `sign` -1 where less is better."""
    own = Estimate.linear(ours[0], _error(ours[1]), bounds=bounds)
    difference, error = ours[0] - theirs[0], _error(ours[1] - theirs[1])
    low, high = normal_interval(difference, error)
    word = verdict(low, high) if sign > 0 else verdict(-high, -low)
    return {
        "value": own.value,
        "se": own.standard_error,
        "low": own.low,
        "high": own.high,
        "difference": difference,
        "difference_se": error,
        "difference_low": low,
        "difference_high": high,
        "verdict": None if same else word,
    }


def _checked(
    ours: tuple[float, FloatArray], baseline: tuple[float, FloatArray], floor: float, sign: int
) -> dict[str, Any]:
    """One guardrail: what it asks for, what there is, and whether the interval lies on one side of 0."""
    required = floor * baseline[0]
    slack = sign * (ours[0] - required) + 0.0  # no -0.0
    error = float(ratio_errors(np.array([ours[0]]), ours[1][:, None], np.array([baseline[0]]), baseline[1][:, None])[0])
    low, high = normal_interval(slack, error)
    return {
        "sign": sign,
        "floor": floor,
        "value": ours[0],
        "required": required,
        "slack": slack,
        "se": error,
        "low": low,
        "high": high,
        "holds": bool(slack >= -ROUNDING),
        "decided": bool(low >= -ROUNDING or high < -ROUNDING),
    }


def _error(influence: FloatArray) -> float:
    return float(np.sqrt(np.sum(influence**2)))


def _vectors(
    test: ScoreTable, candidates: Mapping[str, Weights], guardrails: Guardrails, reference: str
) -> dict[str, FloatArray]:
    """Candidate -> weights `(T,)`, checked; the guardrails' baseline under the name ""."""
    faults, vectors = [], {}
    if reference not in candidates:
        faults.append(f"the reference must be one of the candidates {', '.join(candidates)}, got {reference!r}")
    for name, weights in {**candidates, "": guardrails.baseline}.items():
        try:
            vectors[name] = weight_vector(weights, test)
        except ValueError as error:
            faults.append(f"weights `{name}`: {error}" if name else f"the guardrails' baseline: {error}")
    unknown = [head for head in guardrails.floors if head not in test.heads]
    if unknown:
        faults.append(f"`floors` must name heads among {', '.join(test.heads)}, got {', '.join(unknown)}")
    raise_faults(Fault(fault) for fault in faults)
    return vectors
