"""PR-AUC of every head for many weight vectors: ours beside scikit-learn, and influences beside `evaluation`.

Then the metrics that are means over requests, on the plain rows: there is nothing to compare their speed with.

Both sides run alternately in one process on one thread and CPU seconds are compared, so that what else the machine does
weighs on both. scikit-learn's and `evaluation`'s times are taken on `--reference-vectors` vectors and scaled.

    python benchmarks/objective.py [--rows 1000000] [--vectors 50]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evaluation.average_precision import ap_influence
from evaluation.clusters import Clusters
from optimization.objective.metrics import make_metric
from optimization.objective.pr_auc import UtilityObjective, utilities, utility_pr_auc
from optimization.score_table import ScoreTable

TOLERANCE = 1e-9
RATES = np.array([0.16, 0.10, 0.04, 0.02])  # of close-up, click, long click, save


@dataclass(frozen=True)
class Case:
    """A log and weight vectors."""

    probabilities: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    row_weights: np.ndarray | None
    requests: Clusters


def make_case(rows: int, vectors: int, requests: int, *, weighted: str = "", signed: bool = False,
              missing: float = 0.0) -> Case:  # fmt: skip
    """Four heads whose outputs know something of their labels; all utilities > 0 unless `signed`."""
    rng = np.random.default_rng(3)
    labels: np.ndarray = rng.random((rows, 4)) < RATES
    noise = rng.standard_normal((rows, 1)) + rng.standard_normal((rows, 4))
    logits = np.log(RATES / (1 - RATES)) - 0.5 + labels + 0.6 * noise
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    table = labels.astype(np.int8)
    if missing:
        table = labels.astype(np.float32)
        table[rng.random(table.shape) < missing] = np.nan
    weights = rng.dirichlet(np.ones(4), vectors) * ([1, 1, 1, -1] if signed else 1)
    row_weights = {
        "": None, "sampled": np.where(labels.any(axis=1), 1.0, 10.0), "all different": rng.random(rows) + 0.5,
    }[weighted]  # fmt: skip
    return Case(probabilities, table, weights, row_weights, Clusters(rng.integers(0, requests, rows), requests))


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of this process, and what was returned."""
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def by_scikit_learn(case: Case, vectors: int) -> np.ndarray:
    """`average_precision_score`, called per vector and head."""
    from sklearn.metrics import average_precision_score

    out = np.empty((vectors, 4))
    for values, scores in zip(out, utilities(case.probabilities, case.weights[:vectors])):
        for head, labels in enumerate(case.labels.T):
            known = ~np.isnan(labels) if labels.dtype.kind == "f" else slice(None)
            weights = None if case.row_weights is None else case.row_weights[known]
            values[head] = average_precision_score(labels[known], scores[known], sample_weight=weights)
    return out


def by_evaluation(case: Case) -> np.ndarray:
    """`ap_influence` per head under the first vector, summed per request."""
    scores, out = utilities(case.probabilities, case.weights[:1])[0], []
    for labels in case.labels.T:
        known = ~np.isnan(labels) if labels.dtype.kind == "f" else np.ones(len(labels), bool)
        of_rows = np.zeros(len(labels))
        weights = None if case.row_weights is None else case.row_weights[known]
        of_rows[known] = ap_influence(labels[known], scores[known], weights)[1]
        out.append(case.requests.sums(of_rows))
    return np.stack(out, axis=1)


def measure(case: Case, repeats: int, reference_vectors: int) -> dict[str, float]:
    """Seconds for all vectors and of one call of `influences`, ratios to the references, largest differences."""
    ours, theirs, sums, slow_sums = [], [], [], []
    vectors = min(reference_vectors, len(case.weights))
    table = case.probabilities, case.labels
    prepared = UtilityObjective(*table, case.row_weights, case.requests)
    for _ in range(repeats):
        seconds, found = cpu(lambda: utility_pr_auc(*table, case.weights, case.row_weights))
        ours.append(seconds)
        seconds, expected = cpu(lambda: by_scikit_learn(case, vectors))
        theirs.append(seconds * len(case.weights) / vectors)
        seconds, (_, influences) = cpu(lambda: prepared.influences(case.weights[0]))
        sums.append(seconds)
        seconds, slow = cpu(lambda: by_evaluation(case))
        slow_sums.append(seconds)
    return {
        "seconds": float(np.median(ours)), "fastest": min(ours), "scikit_learn": float(np.median(theirs)),
        "ratio": float(np.median(np.divide(theirs, ours))),
        "difference": float(np.abs(found[:vectors] - expected).max()),
        "influences_ms": 1e3 * float(np.median(sums)),
        "influences_ratio": float(np.median(np.divide(slow_sums, sums))),
        "influences_difference": float(np.abs(influences - slow).max() / np.abs(slow).max()),
    }  # fmt: skip


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "negative weight": {"signed": True},
    "row weights 1 and 10": {"weighted": "sampled"},
    "row weights all different": {"weighted": "all different"},
    "5 % of labels missing": {"missing": 0.05},
    "all of these": {"signed": True, "weighted": "all different", "missing": 0.05},
}


def request_metrics(case: Case, repeats: int) -> None:
    """Seconds of the other metrics: prepared once, values of all vectors, influences of one."""
    table = ScoreTable.of(case.probabilities, case.labels, case.requests, ("a", "b", "c", "d"))
    print(f"\n{'':<28}{'all vectors':>12}{'preparing':>12}{'influences':>13}")
    for name in ("mean_ap", "ndcg@10", "expected_utility@10"):
        seconds, prepared = cpu(lambda name=name: make_metric(name).prepare(table))
        values = [cpu(lambda prepared=prepared: prepared.values(case.weights))[0] for _ in range(repeats)]
        errors = [cpu(lambda prepared=prepared: prepared.influences(case.weights[0]))[0] for _ in range(repeats)]
        print(
            f"{name:<28}{np.median(values):>10.2f} s{seconds:>10.2f} s{1e3 * np.median(errors):>10.0f} ms", flush=True
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--vectors", type=int, default=50)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--reference-vectors", type=int, default=1, help="for scikit-learn, scaled to --vectors")
    words = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"4 heads, {words.vectors} vectors, {words.rows:,} rows, {words.requests:,} requests; CPU seconds, one thread"
    )
    print(f"{'':<28}{'all vectors':>12}{'fastest':>9}{'scikit-learn':>14}{'ratio':>7}{'differ':>9}"
          f"{'influences':>13}{'ratio':>7}{'differ':>9}")  # fmt: skip
    worst = 0.0
    for name, settings in CASES.items():
        row = measure(make_case(words.rows, words.vectors, words.requests, **settings), words.repeats,
                      words.reference_vectors)  # fmt: skip
        worst = max(worst, row["difference"], row["influences_difference"])
        print(f"{name:<28}{row['seconds']:>10.2f} s{row['fastest']:>7.2f} s{row['scikit_learn']:>12.1f} s"
              f"{row['ratio']:>7.0f}{row['difference']:>9.0e}{row['influences_ms']:>10.0f} ms"
              f"{row['influences_ratio']:>7.0f}{row['influences_difference']:>9.0e}", flush=True)  # fmt: skip
    request_metrics(make_case(words.rows, words.vectors, words.requests), words.repeats)
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
