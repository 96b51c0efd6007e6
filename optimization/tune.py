"""Tune utility weights: the best that was observed under the guardrails, with its controls beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from features import Fault, raise_faults
from optimization.evaluating import Evaluator, faults_of
from optimization.guardrails import Guardrails
from optimization.journal import Journal
from optimization.score_table import ScoreTable
from optimization.search import ax_search
from optimization.search.ax_search import Propose
from optimization.study import STARTS, Study
from optimization.trials import AX, SWEEP, Trial
from optimization.tuning import Tuning

__all__ = ["tune"]

KIND = "study"


def tune(
    table: ScoreTable,
    guardrails: Guardrails,
    objective: str | Mapping[str, float],
    *,
    metric: str = "pr_auc",
    sweep: int = 256,
    trials: int = 30,
    seconds: float | None = None,
    seed: int = 0,
    journal: str | Path | None = None,
    cross_checks: bool | int = True,
    pareto: Sequence[str] | None = None,
    noise: bool = True,
    propose: Propose = ax_search.propose,
    progress: Callable[[Trial], None] | None = None,
) -> Tuning:
    """Maximise f_objective(w) over the weights w under guardrails, [Pinterest 2020] "Bayesian optimization".

    Trial 0 is the baseline; then a Sobol sweep, Ax from the baseline and the first 8 of the sweep, and Nelder-Mead and
    random search at as many evaluations as Ax has had. The same seed gives the same trials, resumed or not.

    Args:
        table: The rows to tune on: not the ones that the weights are judged on later.
        guardrails: The baseline, what must remain of it, bounds, and the margin.
        objective: A head, or values per head (what one of its engagements is worth).
        metric: "pr_auc", "mean_ap", "ndcg@K" or "expected_utility@K".
        sweep: Points of the sweep.
        trials: Proposals of Ax; 0 searches by the sweep (and the cross-checks) alone.
        seconds: A budget for Ax's phase, proposing and evaluating: no proposal is begun after it.
        seed: Of every draw, >= 0.
        journal: A file that keeps every trial as it ends. If it is there the study goes on from it; it must have been
            begun with the same table, guardrails, objective, metric, `pareto`, `noise` and seed. Budgets (`sweep`,
            `trials`, `seconds`, `cross_checks`) may differ: a larger one adds trials to those that are there. Only a
            sweep below 8 may not grow beyond what it was, as it is all that Ax starts from (`starts`).
        cross_checks: Nelder-Mead and random search at as many evaluations as Ax; a number = at so many each.
        pareto: Two or more heads that Ax maximises together, for their frontier; `best` still goes by `objective`.
        noise: Tell Ax the paired standard errors as noise. All trials are measured on the same rows, so the error is
            in part common to neighbouring weights, and on smooth tables exact values come a few tenths of a per cent
            nearer to the optimum; but with few positives the metric jumps between neighbours, and a process that
            believes every jump loses its way (docs/tuning.md). What the noise means for fresh rows is the business of
            the margin.
        propose: The search that proposes; another one for tests.
        progress: Called with every trial, journaled before or new.

    Returns:
        All trials and what follows from them; `best` is None, with a reason, when none is feasible.

    Raises:
        InputError: every fault at once: unknown heads, guardrails that do not fit the table, budgets that are none; a
            metric without a value on these rows; a journal that is locked, damaged, or of other settings. Nothing is
            journaled then.
        ValueError: an unknown metric.

    >>> tuning = tune(table, guardrails, "long_click", journal="runs/tune/journal.jsonl")        # doctest: +SKIP
    >>> print(tuning.utility.to_toml())                                                          # doctest: +SKIP
    """
    together = tuple(pareto or ())
    raise_faults(
        [
            *faults_of(table, guardrails, objective),
            *_budget_faults(sweep, trials, seconds, seed, cross_checks),
            *_pareto_faults(pareto, table),
            *_start_faults(guardrails, sweep, trials),
        ]
    )
    begin = time.perf_counter()
    evaluator = Evaluator(table, guardrails, objective, metric, needed=together)
    preparing = time.perf_counter() - begin
    values = {head: float(value) for head, value in zip(table.heads, evaluator.combination) if value != 0.0}
    opened = (
        Journal.open(
            journal, KIND, _settings(table, guardrails, values, metric, together, seed, noise, min(STARTS, sweep))
        )
        if journal
        else None
    )
    try:
        study = Study(
            evaluator, opened, seed=seed, pareto=together, noise=noise, progress=progress, preparing=preparing
        )
        study.baseline()
        study.sweep(sweep)
        study.model_based(trials, propose, seconds)
        starts = min(STARTS, sweep)
        equal = starts + len(study.phase(AX)) if trials else 0
        checks = equal if cross_checks is True else int(cross_checks)
        study.nelder_mead(checks)
        study.random(checks)
    finally:
        if opened is not None:
            opened.close()
    guarded = [head for head in table.heads if head in guardrails.floors or head in values]
    return Tuning(
        trials=tuple(study.trials),
        guardrails=guardrails,
        metric=evaluator.metric,
        label=evaluator.label,
        objective=values,
        pareto=together or tuple(guarded),
        space=study.space,
        starts=min(STARTS, len(study.phase(SWEEP))),
        observations=tuple(study.observation(trial) for trial in study.observed()),
        objectives=study.objectives,
        constraints=study.constraints,
    )


def _settings(
    table: ScoreTable,
    guardrails: Guardrails,
    values: Mapping[str, float],
    metric: str,
    pareto: Sequence[str],
    seed: int,
    noise: bool,
    starts: int,
) -> dict[str, Any]:
    """What a trial's meaning depends on: everything but the budgets, and what they change of Ax's first model."""
    return {
        "table": {"name": table.name, "rows": table.rows, "heads": list(table.heads), "sha256": table.fingerprint},
        "guardrails": guardrails.to_dict(),
        "objective": dict(values),
        "metric": metric,
        "pareto": list(pareto),
        "seed": int(seed),
        "noise": noise,
        "starts": starts,
    }


def _budget_faults(sweep: int, trials: int, seconds: float | None, seed: int, cross_checks: bool | int) -> list[Fault]:
    """Budgets and seed that are none."""
    least = {"sweep": (sweep, 1), "trials": (trials, 0), "seed": (seed, 0), "cross_checks": (int(cross_checks), 0)}
    faults = [
        Fault(f"`{name}` must be an integer >= {low}", value=value)
        for name, (value, low) in least.items()
        if int(value) != value or value < low
    ]
    if seconds is not None and not seconds > 0:
        faults.append(Fault("`seconds` must be > 0, or None for no budget", value=seconds))
    return faults


def _start_faults(guardrails: Guardrails, sweep: int, trials: int) -> list[Fault]:
    """Too few points for a first model: it needs two, and a baseline off the bounds is none of them."""
    space = guardrails.space()
    inside = space.contains(space.shares([float(guardrails.baseline[head]) for head in guardrails.heads]))[0]
    if inside or sweep != 1 or trials < 1:
        return []
    what = "`sweep` must be >= 2 for `trials` > 0, as the baseline breaks the bounds and cannot be told to the model"
    return [Fault(what, value=sweep)]


def _pareto_faults(pareto: Sequence[str] | None, table: ScoreTable) -> list[Fault]:
    if pareto is None:
        return []
    heads = ", ".join(table.heads)
    faults = [Fault(f"`pareto`: unknown head `{h}` (the heads are {heads})") for h in pareto if h not in table.heads]
    if isinstance(pareto, str) or len(set(pareto)) != len(pareto) or len(pareto) < 2:
        faults.append(Fault("`pareto` must name at least two different heads", value=str(pareto)))
    return faults
