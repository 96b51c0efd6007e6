"""Where the time of a tuning study goes: proposing weights by a Gaussian process, or evaluating them?

    python benchmarks/tuning.py [--rows 1000000] [--trials 30] [--sweep 256]

A study of four heads with three guardrails on made-up rows, one thread. Prints wall and CPU seconds of every phase; the
share of evaluation is that of the model-based phase, and of the whole study with its sweep and cross-checks.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from optimization import Guardrails, ScoreTable, tune
from optimization.trials import PHASES

HEADS = ("closeup", "save", "click", "long_click")
BASELINE = {"closeup": 0.2, "save": 0.2, "click": 0.3, "long_click": 0.3}
FLOORS = {"closeup": 0.95, "save": 0.9, "click": 1.0}
CANDIDATES = 20


def made_up(rows: int, seed: int = 0) -> ScoreTable:
    """Rows of four correlated engagements with rates of about .10, .02, .04 and .015."""
    random = np.random.default_rng(seed)
    drivers = 0.7 * random.standard_normal((rows, 1)) + 0.7 * random.standard_normal((rows, 4))
    logits = np.array([-2.4, -4.1, -3.4, -4.5]) + drivers
    labels = (random.random((rows, 4)) < 1.0 / (1.0 + np.exp(-logits))).astype(np.int8)
    seen = logits + random.standard_normal((rows, 4)) * (0.3, 0.5, 0.5, 1.2)
    probabilities = (1.0 / (1.0 + np.exp(-seen))).astype(np.float32)
    return ScoreTable.of(probabilities, labels, np.arange(rows) // CANDIDATES, HEADS, name="made-up rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--sweep", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = made_up(arguments.rows)
    guardrails = Guardrails(BASELINE, dict.fromkeys(HEADS, 1), FLOORS)
    wall, cpu = time.perf_counter(), time.process_time()
    tuning = tune(table, guardrails, "long_click", sweep=arguments.sweep, trials=arguments.trials)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{arguments.rows:,} rows, {len(tuning.trials)} trials: {wall:.1f} s wall, {cpu:.1f} s CPU\n")
    print("| phase | trials | proposing, s | evaluating, s | evaluating, share |\n|---|---|---|---|---|")
    for phase in (*PHASES, None):
        trials = [trial for trial in tuning.trials if phase in (None, trial.phase)]
        parts = [sum(trial.seconds[what] for trial in trials) for what in ("proposing", "evaluating")]
        share = parts[1] / sum(parts) if sum(parts) else float("nan")
        print(f"| {phase or 'all'} | {len(trials)} | {parts[0]:.2f} | {parts[1]:.2f} | {share:.3f} |")


if __name__ == "__main__":
    main()
