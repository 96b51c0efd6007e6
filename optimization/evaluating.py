"""What weights do on a score table: metrics, and differences to the baseline with errors paired by request.

With I_h(w) `(R,)` the influences of the requests on f_h(w) (`optimization.objective.metrics`), b the baseline's
weights, a_h the objective's value of head h, and r_h = f_h(w) / f_h(b) what is kept of the baseline:

    SE(r_h)^2 f_h(b)^2 = sum over requests of (I_h(w) - r_h I_h(b))^2
    SE(objective(w) - objective(b))^2 = sum over requests of (sum_h a_h (I_h(w) - I_h(b)))^2

A guardrail is about the ratio, f_h(w) / f_h(b) >= c_h (of an unwanted head <= c_h), and so is its error (delta method):
weights next to the baseline's keep nearly all of it for certain. The error of f_h(w) - c_h f_h(b) is the same where the
two are equal, and elsewhere holds the noise of the level too: for a rare head it would put the baseline in doubt.

Values cost one sort of the rows and errors several times as much, so errors are computed only where a decision needs
them: a guardrail that fails without a margin fails with one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from features import Fault, InputError, raise_faults
from optimization.guardrails import ROUNDING, Guardrails
from optimization.objective.metrics import head_combination, make_metric
from optimization.score_table import ScoreTable

__all__ = ["Evaluator", "Outcome", "faults_of", "ratio_errors"]

ASKED = {  # of a head's value in the objective, by its sign: a search could serve any other only by ignoring the head
    1: ">= 0, as the head is wanted (sign 1) and so is its weight",
    -1: "negative, as the head is unwanted (sign -1)",
}


@dataclass(frozen=True)
class Outcome:
    """What one weight vector does; errors are None, and `errors`, `slack_errors` empty, where none were computed.

    Attributes:
        values: Head -> metric.
        errors: Head -> standard error of the difference to the baseline's metric.
        objective: sum of value x metric over the heads.
        objective_error: Standard error of the difference to the baseline's objective.
        differences: Guarded head -> sign_h (f_h(w) - c_h b_h), >= 0 where the guardrail holds without a margin.
        slack_errors: Guarded head -> f_h(b) x the standard error of f_h(w) / f_h(b).
        slacks: Guarded head -> difference - margin x error, >= 0 where the guardrail holds; the bare difference where
            there is no error, which is computed unless some guardrail fails without it.
    """

    values: dict[str, float]
    errors: dict[str, float]
    objective: float
    objective_error: float | None
    differences: dict[str, float]
    slack_errors: dict[str, float]
    slacks: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether every guardrail holds with its margin, equality included."""
        return all(slack >= -ROUNDING for slack in self.slacks.values())


class Evaluator:
    """A score table, prepared once, and the baseline on it.

    Args:
        table: The tuning rows.
        guardrails: Of the table's heads, in any order, with its signs.
        objective: A head, or head -> value of one unit of its metric; None where only guardrails matter.
        metric: As in `make_metric`.
        needed: Further heads whose metric must be defined.

    Raises:
        InputError: other heads or signs than the table's, an objective head that is unknown, or whose value is against
            its sign, a guarded head or one of the objective whose metric the table leaves undefined; all at once.
        ValueError: an unknown metric.

    Attributes:
        heads: Of the table, in its order: that of every weight vector.
        combination: `(T,)` the objective's value of each head.
        baseline: What the baseline does.
        floors, required: Guarded head -> c_h, and c_h f_h(b), in the table's order however they were written.
        metric, label: The metric's name, and for people.

    >>> table = ScoreTable.of(
    ...     [[0.9, 0.2], [0.4, 0.1], [0.3, 0.8]], [[1, 0], [0, 0], [0, 1]], ["a", "a", "b"], ["click", "save"])
    >>> rails = Guardrails({"click": 1.0, "save": 0.0}, {"click": 1, "save": 1}, floors={"click": 0.9})
    >>> Evaluator(table, rails, "save").outcome([0.0, 1.0]).values
    {'click': 0.5, 'save': 1.0}
    """

    def __init__(
        self,
        table: ScoreTable,
        guardrails: Guardrails,
        objective: str | Mapping[str, float] | None,
        metric: str = "pr_auc",
        needed: Collection[str] = (),
    ) -> None:
        made = make_metric(metric)
        raise_faults(faults_of(table, guardrails, objective))
        self.metric, self.label = made.name, made.label
        self.heads, self.guardrails = table.heads, guardrails
        none = np.zeros(len(table.heads))
        self.combination = none if objective is None else head_combination(objective, table.heads)
        self._prepared = made.prepare(table)
        self._counted = self.combination != 0.0
        self.floors = {head: float(guardrails.floors[head]) for head in table.heads if head in guardrails.floors}
        self._guarded = [table.heads.index(head) for head in self.floors]
        self._floors = np.array(list(self.floors.values()))
        self._signs = np.array([table.signs[index] for index in self._guarded], dtype=np.float64)
        weights = np.array([float(guardrails.baseline[head]) for head in table.heads])
        self._base, self._base_influences = self._prepared.influences(weights)
        undefined = [
            head
            for index, head in enumerate(table.heads)
            if (index in self._guarded or self._counted[index] or head in needed) and not np.isfinite(self._base[index])
        ]
        if undefined:
            where = table.name or "the table"
            raise InputError(Fault(f"{self.label} is undefined on {where} for {', '.join(undefined)}: no positives"))
        self.baseline = self.outcome(weights)
        self.required = {head: floor * self.baseline.values[head] for head, floor in self.floors.items()}

    def outcome(self, weights: npt.ArrayLike) -> Outcome:
        """What `weights` `(T,)` do, with all errors."""
        values, influences = self._prepared.influences(np.asarray(weights, dtype=np.float64))
        errors = _norms(influences - self._base_influences)
        mixed = (influences - self._base_influences)[:, self._counted] @ self.combination[self._counted]
        rail_errors = ratio_errors(
            values[self._guarded],
            influences[:, self._guarded],
            self._base[self._guarded],
            self._base_influences[:, self._guarded],
        )
        return self._outcome(values, errors, float(_norms(mixed)), rail_errors)

    def outcomes(self, weights: npt.ArrayLike) -> list[Outcome]:
        """What many weights `(V, T)` do; errors only for those that keep every guardrail without a margin."""
        matrix = np.asarray(weights, dtype=np.float64)
        found = []
        for vector, values in zip(matrix, self._prepared.values(matrix)):
            outcome = self._outcome(values, None, None, None)
            found.append(self.outcome(vector) if outcome.holds else outcome)
        return found

    def _outcome(
        self,
        values: FloatArray,
        errors: FloatArray | None,
        objective_error: float | None,
        rail_errors: FloatArray | None,
    ) -> Outcome:
        guarded = list(self.floors)
        differences = self._signs * (values[self._guarded] - self._floors * self._base[self._guarded]) + 0.0  # no -0.0
        slacks = differences if rail_errors is None else differences - self.guardrails.margin * rail_errors
        return Outcome(
            values=_named(self.heads, values),
            errors={} if errors is None else _named(self.heads, errors),
            objective=float(values[self._counted] @ self.combination[self._counted]),
            objective_error=objective_error,
            differences=_named(guarded, differences),
            slack_errors={} if rail_errors is None else _named(guarded, rail_errors),
            slacks=_named(guarded, slacks),
        )


def _named(heads: list[str] | tuple[str, ...], numbers: FloatArray) -> dict[str, float]:
    return dict(zip(heads, map(float, numbers)))


def ratio_errors(
    values: FloatArray, influences: FloatArray, base: FloatArray, base_influences: FloatArray
) -> FloatArray:
    """`(K,)` base x the standard error of values / base, paired by request.

    Args:
        values, base: `(K,)` metrics; where the base is 0 there is no ratio, and the error is that of the value.
        influences, base_influences: `(R, K)`, summed per request.
    """
    ratio = np.divide(values, base, out=np.zeros_like(values), where=base > 0.0)
    return _norms(influences - ratio * base_influences)


def _norms(influences: FloatArray) -> FloatArray:
    """Root of the sum of squares over requests, the first axis."""
    return np.asarray(np.sqrt(np.sum(influences**2, axis=0)))


def faults_of(table: ScoreTable, guardrails: Guardrails, objective: str | Mapping[str, float] | None) -> list[Fault]:
    """What does not fit together."""
    signs = dict(zip(table.heads, table.signs))
    faults = []
    if dict(guardrails.signs) != signs:
        faults.append(
            Fault(f"the guardrails' heads and signs must be those of the table, {signs}, got {dict(guardrails.signs)}")
        )
    if objective is not None:
        try:
            head_combination(objective, table.heads)
        except InputError as error:
            faults += error.faults
        values = {objective: 1.0} if isinstance(objective, str) else objective
        faults += [
            Fault(f"the objective's value of `{head}` must be {must}", value=value)
            for head, value in values.items()
            for sign, must in ASKED.items()
            if signs.get(head) == sign and isinstance(value, Real) and value * sign < 0
        ]
    return faults
