"""A trial: one weight vector of a study with all that was found out about it, and its record in the journal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimization.evaluating import Outcome

__all__ = ["AX", "BASELINE", "NELDER_MEAD", "PHASES", "RANDOM", "SWEEP", "Trial"]

BASELINE, SWEEP, AX, NELDER_MEAD, RANDOM = "baseline", "sweep", "ax", "nelder_mead", "random"
PHASES = (BASELINE, SWEEP, AX, NELDER_MEAD, RANDOM)


@dataclass(frozen=True)
class Trial:
    """One evaluated weight vector.

    Attributes:
        index: Its place in the journal, from 0.
        phase, number: Which search asked for it, and its place there, from 0.
        shares: `(T,)` |w_t| / total.
        weights: Head -> signed weight.
        values: Head -> metric; NaN where the table leaves it undefined.
        errors: Head -> paired standard error of its difference to the baseline; empty where none was needed.
        objective: sum of value x metric.
        objective_error: Paired standard error of its difference to the baseline's; None where none was needed.
        slacks: Guarded head -> sign_h (f_h(w) - c_h b_h) - margin x error; without a margin where no error was needed.
        slack_errors: Guarded head -> b_h x the paired standard error of f_h(w) / b_h; empty where none was needed.
        feasible: The bounds and every guardrail with its margin hold.
        seconds: "proposing" and "evaluating".
    """

    index: int
    phase: str
    number: int
    shares: tuple[float, ...]
    weights: Mapping[str, float]
    values: Mapping[str, float]
    errors: Mapping[str, float]
    objective: float
    objective_error: float | None
    slacks: Mapping[str, float]
    slack_errors: Mapping[str, float]
    feasible: bool
    seconds: Mapping[str, float]

    def content(self) -> dict[str, Any]:
        """All but the seconds: what the same seed gives again."""
        return {name: value for name, value in self.to_dict().items() if name != "seconds"}

    def to_dict(self) -> dict[str, Any]:
        """Its record in the journal and in metrics.json, less the index, which is its place there."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "index"}


def trial_record(
    phase: str,
    number: int,
    shares: tuple[float, ...],
    weights: Mapping[str, float],
    outcome: Outcome,
    *,
    inside: bool,
    proposing: float,
    evaluating: float,
) -> dict[str, Any]:
    """What is journaled of a new trial.

    Args:
        inside: Whether the shares keep the bounds (those of the baseline need not).
        proposing, evaluating: Seconds.
    """
    return {
        "phase": phase,
        "number": number,
        "shares": list(shares),
        "weights": dict(weights),
        "values": outcome.values,
        "errors": outcome.errors,
        "objective": outcome.objective,
        "objective_error": outcome.objective_error,
        "slacks": outcome.slacks,
        "slack_errors": outcome.slack_errors,
        "feasible": inside and outcome.holds,
        "seconds": {"proposing": round(proposing, 6), "evaluating": round(evaluating, 6)},
    }


def trial_of(index: int, record: Mapping[str, Any]) -> Trial:
    """The trial of a journal's record; a number that JSON does not have (None) is NaN again.

    >>> record = trial_record(
    ...     "sweep", 0, (0.5, 0.5), {"a": 0.5, "b": 0.5}, Outcome({"a": 1.0}, {}, 1.0, None, {}, {}, {}),
    ...     inside=True, proposing=0.0, evaluating=0.0)
    >>> trial_of(0, record).to_dict() == record | {"shares": (0.5, 0.5)}
    True
    """
    names = ("values", "errors", "slacks", "slack_errors")
    known = {name: {h: math.nan if v is None else v for h, v in record[name].items()} for name in names}
    return Trial(index=index, **{**record, **known, "shares": tuple(record["shares"])})
