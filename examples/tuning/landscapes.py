"""How near the optimum a search comes, and whether what it returns keeps its guardrails on rows nobody tuned on.

    python examples/tuning/landscapes.py [--only reach|margin] [--out runs/tuning/landscapes]

Reach: five score tables, a search seed each. The optimum is the best feasible point of a dense grid over the simplex
(12,341 points), refined around it. Every search has 30 evaluations, the baseline among them. Exit code 1 unless Ax's
best feasible trial is within 1 % of the optimum on all five. Beside it, Ax that is told no standard errors.

Margin: twenty tables are tuned by Ax without a margin and with the default one. A guardrail "holds" when it holds as it
is declared, without any margin: on a fresh table of the same size, and in the population (a table of two million
rows). Exit code 1 unless all of them hold on at least 18 of the 20 fresh tables with the default margin.

Results are kept per table: a run that was killed goes on where it was. About an hour of one core.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import BASELINE, FLOORS, HEADS, synthetic_table

from evaluation.gallery.resumable import KeptResults
from optimization import Guardrails, ScoreTable, tune
from optimization.evaluating import Evaluator
from optimization.guardrails import MARGIN

OBJECTIVE = "long_click"
ROWS, POPULATION = 40_000, 2_000_000
REACH_SEEDS, MARGIN_SEEDS, FRESH = range(5), range(100, 120), 1000  # a fresh table has its table's seed + FRESH
EVALUATIONS, START = 30, 9  # of each search; Ax begins with the baseline and eight points of the sweep
GRID, REFINEMENTS, REFINED = 40, (1 / 80, 1 / 320, 1 / 1280), 400
SEARCHES = ("ax", "sweep", "nelder_mead", "random")
EXACT = "ax without errors"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=("reach", "margin"))
    parser.add_argument("--out", type=Path, default=Path("runs/tuning/landscapes"))
    arguments = parser.parse_args()
    kept = KeptResults(arguments.out)
    good = True
    if arguments.only != "margin":
        good &= reach(kept)
    if arguments.only != "reach":
        good &= margin(kept)
    return 0 if good else 1


def rails(margin: float) -> Guardrails:
    return Guardrails(BASELINE, dict.fromkeys(HEADS, 1), FLOORS, margin=margin)


# ------------------------------------------------------------------------------------------------------------- reach
def reach(kept: KeptResults) -> bool:
    """Print how near each search comes on every table; whether Ax is within 1 % on all."""
    settings = {"rows": ROWS, "evaluations": EVALUATIONS, "margin": MARGIN, "grid": GRID}
    print(f"### Reach: best feasible objective in {EVALUATIONS} evaluations, as a share of the dense grid's optimum\n")
    names = (*SEARCHES, EXACT)
    print(f"| table | optimum | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    shares = []
    for seed in REACH_SEEDS:
        result = kept.of(f"reach {seed}", settings | {"seed": seed}, lambda seed=seed: reach_one(seed))
        row = [result[name] / result["optimum"] for name in names]
        shares.append(row)
        print(f"| {seed} | {result['optimum']:.5f} | {' | '.join(f'{share:.4f}' for share in row)} |", flush=True)
    lowest = np.min(shares, axis=0)
    print(f"| lowest | | {' | '.join(f'{share:.4f}' for share in lowest)} |\n")
    good = bool(lowest[0] >= 0.99)
    print(f"Ax within 1 % of the optimum on every table: {'holds' if good else 'DOES NOT HOLD'}.\n")
    return good


def reach_one(seed: int) -> dict[str, Any]:
    """The optimum of one table, and the best feasible objective of each search (0 where it found none)."""
    table, guardrails = synthetic_table(seed, ROWS), rails(MARGIN)
    tuning = tune(table, guardrails, OBJECTIVE, sweep=EVALUATIONS - 1, trials=EVALUATIONS - START, seed=seed)
    found = {name: tuning.best_of(name, EVALUATIONS) for name in SEARCHES}
    exact = tune(
        table, guardrails, OBJECTIVE, sweep=START - 1, trials=EVALUATIONS - START, seed=seed, noise=False,
        cross_checks=False,
    )  # fmt: skip
    found[EXACT] = exact.best_of("ax", EVALUATIONS)
    best = {name: 0.0 if trial is None else trial.objective for name, trial in found.items()}
    return best | {"optimum": dense_optimum(table, guardrails)}


def dense_optimum(table: ScoreTable, guardrails: Guardrails) -> float:
    """The highest feasible objective on a grid over the simplex, refined three times around its best point."""
    evaluator = Evaluator(table, guardrails, OBJECTIVE)
    steps = [c for c in itertools.product(range(GRID + 1), repeat=len(HEADS) - 1) if sum(c) <= GRID]
    grid = np.array([[*c, GRID - sum(c)] for c in steps]) / GRID
    best, value = best_feasible(evaluator, grid)
    random = np.random.default_rng(0)
    for width in REFINEMENTS:
        near = np.maximum(best + width * random.standard_normal((REFINED, len(HEADS))), 0.0)
        best, value = best_feasible(evaluator, np.vstack([best, near / near.sum(axis=1, keepdims=True)]))
    return value


def best_feasible(evaluator: Evaluator, shares: np.ndarray) -> tuple[np.ndarray, float]:
    outcomes = evaluator.outcomes(shares)
    value, best = max((outcome.objective, i) for i, outcome in enumerate(outcomes) if outcome.holds)
    return shares[best], value


# ------------------------------------------------------------------------------------------------------------ margin
def margin(kept: KeptResults) -> bool:
    """Print how often the guardrails of the returned weights hold elsewhere; whether 18 of 20 with the margin."""
    margins = (0.0, MARGIN)
    found: dict[float, list[dict[str, Any]]] = {m: [] for m in margins}
    for seed, m in itertools.product(MARGIN_SEEDS, margins):
        settings = {"rows": ROWS, "population": POPULATION, "evaluations": EVALUATIONS, "seed": seed, "margin": m}
        result = kept.of(f"margin {m:g} {seed}", settings, lambda seed=seed, m=m: margin_one(seed, m))
        found[m].append(result)
        print(f"table {seed}, margin {m:g}: fresh {result['fresh']}", file=sys.stderr, flush=True)
    print(f"### Margin: guardrails of Ax's best of {EVALUATIONS} evaluations, on rows nobody tuned on\n")
    print("| margin | all hold on the fresh table | in the population | mean objective in the population |")
    print("|---|---|---|---|")
    for m, results in found.items():
        counts = [sum(not r[where] for r in results) for where in ("fresh", "population")]
        mean = np.mean([r["objective"] for r in results])
        print(f"| {m:g} | {counts[0]} of {len(results)} | {counts[1]} of {len(results)} | {mean:.5f} |")
    good = sum(not r["fresh"] for r in found[MARGIN]) >= 18
    print(
        f"\nAll hold on at least 18 of 20 fresh tables with the default margin: {'holds' if good else 'DOES NOT HOLD'}."
    )
    return good


def margin_one(seed: int, margin: float) -> dict[str, Any]:
    """The guardrails that the weights found on one table break on a fresh one and in the population."""
    guardrails = rails(margin)
    tuning = tune(
        synthetic_table(seed, ROWS), guardrails, OBJECTIVE, sweep=START - 1, trials=EVALUATIONS - START, seed=seed,
        cross_checks=False,
    )  # fmt: skip
    best = tuning.best_of("ax")
    weights = BASELINE if best is None else best.weights
    everyone = population()
    return {
        "fresh": broken(guardrails, weights, synthetic_table(seed + FRESH, ROWS)),
        "population": broken(guardrails, weights, everyone),
        "objective": Evaluator(everyone, guardrails, OBJECTIVE).outcome([weights[h] for h in HEADS]).objective,
        "weights": dict(weights),
    }


def broken(guardrails: Guardrails, weights: dict[str, float], table: ScoreTable) -> Sequence[str]:
    return [str(violation.head) for violation in guardrails.violations(weights, table) if violation.rule == "S3-S5"]


@cache
def population() -> ScoreTable:
    return synthetic_table(99_999, POPULATION)


if __name__ == "__main__":
    sys.exit(main())
