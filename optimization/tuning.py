"""What a study found: the best weights, how each search did, and why there may be none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from evaluation.metrics_json import jsonable
from optimization.guardrails import ROUNDING, Guardrails
from optimization.infeasibility import infeasible_sentences
from optimization.pareto import non_dominated
from optimization.search.ax_search import Observation
from optimization.search.space import SearchSpace
from optimization.search_words import search_sentences
from optimization.trials import AX, NELDER_MEAD, RANDOM, SWEEP, Trial
from ranking.utility import Utility

__all__ = ["SEARCHES", "Tuning"]

SEARCHES = (AX, SWEEP, NELDER_MEAD, RANDOM)


@dataclass(frozen=True, eq=False)
class Tuning:
    """All trials of a study and what follows from them.

    Attributes:
        trials: In the order of the journal; the first is the baseline.
        guardrails: What they had to satisfy.
        metric, label: The metric's name ("pr_auc"), and for people ("PR-AUC").
        objective: Head -> value; what is maximised is their sum of value x metric.
        pareto: The heads whose frontier `frontier` is: those that were maximised together or, for a single objective,
            its heads and the guarded ones.
        space: What was searched.
        starts: How many trials of the sweep Ax started from.
        observations: What Ax knew in the end, for slices and posteriors (`optimization.search.ax_slices`).
        objectives, constraints: The names in `observations` of what Ax maximises and of what it keeps >= 0.
    """

    trials: tuple[Trial, ...]
    guardrails: Guardrails
    metric: str
    label: str
    objective: Mapping[str, float]
    pareto: tuple[str, ...]
    space: SearchSpace
    starts: int
    observations: tuple[Observation, ...]
    objectives: tuple[str, ...]
    constraints: tuple[str, ...]

    @property
    def baseline(self) -> Trial:
        """Trial 0: the weights in production."""
        return self.trials[0]

    @cached_property
    def best(self) -> Trial | None:
        """The observed trial, of any search, that is feasible and has the highest objective; the earliest of equals.

        None when no trial is feasible.
        """
        return _best(self.trials)

    @property
    def utility(self) -> Utility | None:
        """The weights of `best`."""
        return None if self.best is None else Utility.from_mapping(self.best.weights)

    def evaluated(self, search: str) -> list[Trial]:
        """The trials of one search in the order in which it saw them; every search knows the baseline first.

        Args:
            search: "ax" (which begins with some trials of the sweep), "sweep", "nelder_mead" or "random".

        Raises:
            ValueError: another search.
        """
        if search not in SEARCHES:
            raise ValueError(f"`search` must be one of {', '.join(SEARCHES)}, got {search!r}")
        own = sorted((trial for trial in self.trials if trial.phase == search), key=lambda trial: trial.number)
        starts = [trial for trial in self.trials if trial.phase == SWEEP and trial.number < self.starts]
        if not own:
            return []
        return [self.baseline, *(sorted(starts, key=lambda t: t.number) if search == AX else []), *own]

    def best_of(self, search: str, evaluations: int | None = None) -> Trial | None:
        """The best feasible trial of one search, of its first `evaluations` if given (the baseline is the first)."""
        return _best(self.evaluated(search)[:evaluations])

    @cached_property
    def binding(self) -> tuple[str, ...]:
        """The guardrails with less than one paired standard error of room, beyond the margin, at the best trial.

        Tightest first; empty when none is near, or when there is no best trial.
        """
        if self.best is None:
            return ()
        room = {
            head: slack / max(self.best.slack_errors.get(head, 0.0), ROUNDING)
            for head, slack in self.best.slacks.items()
        }
        return tuple(sorted((head for head in room if room[head] <= 1.0), key=lambda head: room[head]))

    @cached_property
    def infeasible_sentences(self) -> tuple[str, ...]:
        """Why no trial is feasible, naming the guardrail that binds, and the remedy; empty when some trial is."""
        return infeasible_sentences(self.trials, self.guardrails, self.label) if self.best is None else ()

    @property
    def infeasible_reason(self) -> str | None:
        """`infeasible_sentences` in one paragraph; None when some trial is feasible."""
        return " ".join(self.infeasible_sentences) or None

    @cached_property
    def frontier(self) -> list[Trial]:
        """The feasible trials that no other feasible one beats on every head of `pareto` (unwanted heads: lower)."""
        feasible = [trial for trial in self.trials if trial.feasible]
        signs = self.guardrails.signs
        values = [[signs[head] * trial.values[head] for head in self.pareto] for trial in feasible]
        keep = non_dominated(np.array(values, dtype=np.float64).reshape(len(feasible), len(self.pareto)))
        return [trial for trial, kept in zip(feasible, keep) if kept]

    @cached_property
    def timing(self) -> dict[str, float]:
        """Seconds of proposing and of evaluating in all, and of Ax's own phase; those of killed runs are in it."""
        parts = {
            f"{what}{name}": sum(trial.seconds[what] for trial in self.trials if phase in (None, trial.phase))
            for phase, name in ((None, ""), (AX, "_ax"))
            for what in ("proposing", "evaluating")
        }
        return {name: round(seconds, 3) for name, seconds in parts.items()}

    def convergence(self) -> pd.DataFrame:
        """Columns phase, evaluations (1, 2, ...), best: the best feasible objective so far, NaN before the first."""
        records = []
        for search in SEARCHES:
            best = np.nan
            for count, trial in enumerate(self.evaluated(search), start=1):
                if trial.feasible and not trial.objective <= best:
                    best = trial.objective
                records.append({"phase": search, "evaluations": count, "best": best})
        return pd.DataFrame(records, columns=["phase", "evaluations", "best"])

    def table(self) -> pd.DataFrame:
        """One row per trial: index, phase, number, objective, its gain over the baseline and the gain's paired error,
        feasible, then weight_HEAD, value_HEAD and slack_HEAD, proposing and evaluating (seconds)."""
        base = self.baseline.objective
        return pd.DataFrame(
            {
                "index": trial.index,
                "phase": trial.phase,
                "number": trial.number,
                "objective": trial.objective,
                "gain": trial.objective - base,
                "gain_error": np.nan if trial.objective_error is None else trial.objective_error,
                "feasible": trial.feasible,
                **{f"weight_{head}": weight for head, weight in trial.weights.items()},
                **{f"value_{head}": value for head, value in trial.values.items()},
                **{f"slack_{head}": slack for head, slack in trial.slacks.items()},
                **trial.seconds,
            }
            for trial in self.trials
        )

    def sentences(self) -> list[str]:
        """Which search found the best, whether Ax beat the sweep at equal evaluations, and whether the checks agree."""
        return search_sentences(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: every number of the study, for metrics.json."""
        return jsonable(
            {
                "metric": {"name": self.metric, "label": self.label},
                "objective": dict(self.objective),
                "guardrails": self.guardrails.to_dict(),
                "best": None if self.best is None else self.best.index,
                "weights": None if self.utility is None else self.utility.to_dict(),
                "infeasible": self.infeasible_reason,
                "binding": list(self.binding),
                "pareto": {"heads": list(self.pareto), "frontier": [trial.index for trial in self.frontier]},
                "convergence": self.convergence(),
                "timing": self.timing,
                "sentences": self.sentences(),
                "trials": [{"index": trial.index, **trial.to_dict()} for trial in self.trials],
            }
        )


def _best(trials: list[Trial] | tuple[Trial, ...]) -> Trial | None:
    feasible = [trial for trial in trials if trial.feasible]
    return max(feasible, key=lambda trial: (trial.objective, -trial.index), default=None)
