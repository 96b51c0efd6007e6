"""Tuned weights against the oracle's, where the truth is known: regret in true expected utility.

    python examples/tuning/marketplace.py [--worlds 5] [--out runs/tuning/marketplace]

In every world a ranker is fitted on the log of a marketplace, and `tune` (sweep, Ax, cross-checks) finds weights on the
tune rows from the hand-picked ones, for two goals:

    long_click    the highest PR-AUC of long clicks that keeps 98 % of every other head, the article's goal
    value         the highest `expected_utility@10` with what one engagement is worth, no guardrails

The verdict of the test rows stands beside what the weights are truly worth: expected utility per request by the world's
own probabilities, over requests of the day after the log, as a percentage below the oracle's weights (the best for this
ranker by dense search on the truth of other requests). Results are kept per world; about two minutes of one core each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.stats import t

from evaluation.gallery.resumable import KeptResults
from galleryrank.simulate_worlds import FLOOR, HAND_PICKED, VALUES, FittedWorld, Sizes
from optimization import Guardrails, ScoreTable, candidates, judge, tune
from optimization.online.simulated import Market
from optimization.online.true_utility import oracle_weights

TRIALS, SWEEP = 30, 256
REQUESTS = 20_000  # that judge; the oracle is searched on half as many others
GOALS: dict[str, tuple[dict[str, float], str, bool]] = {
    "long_click": ({"long_click": 1.0}, "pr_auc", True),
    "value": (VALUES, "expected_utility@10", False),
}


def world(seed: int) -> dict[str, Any]:
    """The regrets of one world, and what the test rows said."""
    with TemporaryDirectory() as folder:
        fitted = FittedWorld(Path(folder), seed, Sizes(), lambda _: None)
        dataset, ranker = fitted.dataset(), fitted.ranker()
        tables = {role: ScoreTable.from_ranker(ranker, dataset, role) for role in ("tune", "test")}
        heads, signs = tables["tune"].heads, dict(zip(tables["tune"].heads, tables["tune"].signs))
        weights = {"hand-picked": HAND_PICKED, "equal": dict.fromkeys(heads, 1.0 / len(heads))}
        said = {}
        for goal, (objective, metric, guarded) in GOALS.items():
            floors = {head: FLOOR for head in heads if guarded and head not in objective}
            rails = Guardrails(HAND_PICKED, signs, floors)
            tuning = tune(tables["tune"], rails, objective, metric=metric, sweep=SWEEP, trials=TRIALS, seed=seed)
            best = tuning.baseline if tuning.best is None else tuning.best
            weights[f"tuned for {goal}"] = dict(best.weights)
            sets = candidates(best.weights, HAND_PICKED, signs)
            said[goal] = judge(tables["test"], sets, rails, objective=objective, metric=metric).sentence()
        market = Market(fitted.world, fitted.table(), VALUES, seed=seed)
        judging, study = (
            market.true_utility(n, part, 1) for n, part in ((REQUESTS, "judge"), (REQUESTS // 2, "study"))
        )
        truth = judging.per_request(oracle_weights(study, Guardrails(HAND_PICKED, signs).space()))
        worth = {name: judging.per_request([mix[head] for head in heads]) for name, mix in weights.items()}
    regret = {name: float(100 * (truth - each).mean() / truth.mean()) for name, each in worth.items()}
    return {"regret": regret, "weights": weights, "said": said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/tuning/marketplace"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = KeptResults(arguments.out)
    settings = {"values": VALUES, "hand_picked": HAND_PICKED, "floor": FLOOR, "trials": TRIALS, "sweep": SWEEP}
    found = []
    for seed in range(arguments.worlds):
        found.append(kept.of(f"world {seed}", settings | {"seed": seed}, lambda seed=seed: world(seed)))
        print(f"world {seed}: {found[-1]['said']['long_click']}\n", flush=True)
    names = list(found[0]["regret"])
    print(f"| regret, % below the oracle's weights | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for seed, result in enumerate(found):
        cells = [f"{result['regret'][name]:+.3f}" for name in names]
        print(f"| world {seed} | {' | '.join(cells)} |")
    table = np.array([[result["regret"][name] for name in names] for result in found])
    print(f"| mean | {' | '.join(f'{mean:+.3f}' for mean in table.mean(axis=0))} |")
    if len(found) > 1:
        half = t.ppf(0.975, len(found) - 1) * table.std(axis=0, ddof=1) / np.sqrt(len(found))
        spans = [(mean - h, mean + h) for mean, h in zip(table.mean(axis=0), half)]
        print(f"| 95 % over worlds | {' | '.join(f'{low:+.3f} to {high:+.3f}' for low, high in spans)} |")


if __name__ == "__main__":
    main()
