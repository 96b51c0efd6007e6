"""The whole evaluation report of a large log, with the share of each part, and the comparison of two models.

The report is what `galleryrank evaluate --against` makes of 4 heads and 10 slices: every metric with its interval, the
slices, calibration tests, ranking within requests, the gate against a baseline, the utility, the pictures and the page.
The wall time is taken first, as users get it; the parts are then timed one after the other on one thread (CPU seconds).
The yardstick of the two-model comparison are two calls of scikit-learn's `average_precision_score`, without interval.

    python benchmarks/evaluation_report.py [--rows 1000000] [--threads 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evaluation import evaluate_predictions, write_metrics_json, write_report
from evaluation.comparison import compare
from evaluation.slicing.slices import Slices

HEADS = ("closeup", "click", "long_click", "save")
RATES = np.array([0.16, 0.10, 0.04, 0.02])


def make_log(rows: int, per_request: int = 20) -> dict[str, Any]:
    """A shuffled log of 4 heads, whose requests differ, in 10 slices of two columns; two models that know much."""
    rng = np.random.default_rng(3)
    requests = rng.integers(0, max(1, rows // per_request), rows)
    logits = np.log(RATES / (1 - RATES)) - 0.6 + 0.8 * rng.standard_normal((rows, 1))
    logits = logits + 0.4 * rng.standard_normal(requests.max() + 1)[requests][:, None]
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    candidate, baseline = (
        (1 / (1 + np.exp(-logits - 0.3 * rng.standard_normal(logits.shape)))).astype(np.float32) for _ in range(2)
    )
    return {
        "labels": labels,
        "probabilities": candidate,
        "requests": requests,
        "names": HEADS,
        "p_any": 1.0 - np.prod(1.0 - candidate.astype(float), axis=1),
        "stages": {"corrected": (0.97 * candidate).astype(np.float32)},
        "utility": {"closeup": 0.1, "click": 0.2, "long_click": 0.5, "save": 0.2},
        "slices": [
            Slices.of(
                "platform", rng.choice(["web", "ios", "tv", "car", "watch"], rows, p=[0.5, 0.3, 0.1, 0.08, 0.02])
            ),
            Slices.of("position", rng.integers(1, 21, rows)),
        ],
        "times": np.arange(rows),
        "baseline": ("production", baseline),
    }


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, processor seconds, and what was returned."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def report(log: dict[str, Any], threads: int, folder: Path) -> list[tuple[str, float, float]]:
    """(step, wall, processor seconds) of the whole report."""
    wall, cpu, found = timed(lambda: evaluate_predictions(**log, threads=threads))
    steps = [("numbers", wall, cpu)]
    wall, cpu, _ = timed(lambda: write_metrics_json(folder / "metrics.json", found.metrics))
    steps.append(("metrics.json", wall, cpu))
    wall, cpu, _ = timed(lambda: write_report(folder / "report.html", found.metrics))
    return [*steps, ("pictures and page", wall, cpu)]


def parts(log: dict[str, Any]) -> dict[str, float]:
    """Processor seconds of each part of the numbers, one after the other on this thread."""
    from unittest import mock

    seconds: dict[str, float] = {}

    def run_timed(calls: dict[str, Callable[[], Any]], threads: int | None) -> dict[str, Any]:
        found = {}
        for name, call in calls.items():
            _, seconds[name], found[name] = timed(call)
        return found

    with mock.patch("evaluation.summary.evaluating.run_parts", run_timed):
        _, total, _ = timed(lambda: evaluate_predictions(**log))
    return {**seconds, "checks and laying out": total - sum(seconds.values())}


def two_models(log: dict[str, Any]) -> tuple[float, float, float]:
    """Processor seconds of a paired AP comparison of one head, and of scikit-learn's two values; the largest gap."""
    from sklearn.metrics import average_precision_score

    y, ours, theirs = log["labels"][:, :1], log["probabilities"][:, :1], log["baseline"][1][:, :1]
    _, cpu, table = timed(lambda: compare(y, ours, theirs, log["requests"], names=HEADS[:1], metrics=("ap",)))
    _, reference, values = timed(lambda: [average_precision_score(y[:, 0], p[:, 0]) for p in (ours, theirs)])
    gap = max(abs(table["ours"][0] - values[0]), abs(table["theirs"][0] - values[1]))
    return cpu, reference, float(gap)


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    small = make_log(5_000)
    with tempfile.TemporaryDirectory() as folder:
        report(small, arguments.threads, Path(folder))  # imports and fonts are not what is measured
        log = make_log(arguments.rows)
        slices = sum(part.count for part in log["slices"])
        print(f"{arguments.rows:,} rows x {len(HEADS)} heads x {slices} slices, {arguments.threads} thread(s)")
        steps = report(log, arguments.threads, Path(folder))
    for name, wall, cpu in [*steps, ("whole report", sum(s[1] for s in steps), sum(s[2] for s in steps))]:
        print(f"  {name:<26}{wall:7.2f} s{cpu:9.2f} CPU s")
    print("parts of the numbers, one thread:")
    for name, cpu in sorted(parts(log).items(), key=lambda item: -item[1]):
        print(f"  {name:<26}{cpu:18.2f} CPU s")
    cpu, reference, gap = two_models(log)
    print(f"two models' AP with a paired interval, one head: {cpu:.2f} CPU s; scikit-learn's two values alone "
          f"{reference:.2f}; largest difference of a value {gap:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
