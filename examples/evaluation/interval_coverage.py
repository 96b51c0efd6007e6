"""Do the 95 % intervals hold what they promise? A thousand simulated logs with strongly clustered requests.

    python examples/evaluation/interval_coverage.py [--logs 1000] [--requests 100 300 1000 3000] [--out runs/coverage]

A request's rows share an effect (standard deviation 1.5 on the logit), so some requests are full of positives and most
have none, and both models see part of it. The truth is the PR-AUC of an endless log, taken from ten million rows. For
every size of log: the share of logs whose interval contains the truth, clustered by request as everywhere in this
project and, beside it, with every row as its own cluster, as if rows were independent. Exit code 0 when, from 300
requests on, the clustered intervals of AP and of the paired difference cover between 93 and 97 % and the others do
not, else 1. A hundred requests, of which a few hold most positives, are shown too: they are fewer than theory asks for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation import Clusters, average_precision
from evaluation.comparison import compare
from evaluation.metrics import all_heads
from evaluation.metrics_json import jsonable, write_metrics_json
from evaluation.reliability import wilson_interval

Floats = NDArray[np.float64]

CANDIDATES = 20
ENDLESS = 500_000  # requests
LOWEST, HIGHEST = 0.93, 0.97
ENOUGH = 300  # requests


def clustered_log(random: np.random.Generator, requests: int) -> tuple[Floats, Floats, Floats]:
    """Labels and the scores of two models, `(R x 20,)` each, request by request."""
    shape = (requests, CANDIDATES)
    shared = random.normal(0, 1.5, (requests, 1))
    own = random.normal(size=shape)
    labels = random.random(shape) < 1 / (1 + np.exp(4.2 - shared - own))
    first = own + 0.6 * shared + 0.5 * random.normal(size=shape) + 0.3 * random.normal(size=(requests, 1))
    second = own + 0.4 * shared + 0.5 * random.normal(size=shape) + 0.6 * random.normal(size=(requests, 1))
    return labels.astype(float).ravel(), _probability(first), _probability(second)


def _probability(score: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(4 - score))).ravel()


def covered(
    labels: Floats, first: Floats, second: Floats, clusters: Clusters, truth: tuple[float, float]
) -> list[bool]:
    """Whether the intervals of AP and of the paired difference contain the truth."""
    ap = all_heads(labels[:, None], first[:, None], clusters)[0].estimates["ap"]
    table = compare(labels[:, None], first[:, None], second[:, None], clusters, metrics=("ap",))
    low, high = float(table["low"].iloc[0]), float(table["high"].iloc[0])
    return [ap.low <= truth[0] <= ap.high, low <= truth[0] - truth[1] <= high]


def study(logs: int, sizes: Sequence[int]) -> pd.DataFrame:
    """Coverage by number of requests, clustered and not, with Wilson intervals of the simulation itself."""
    labels, first, second = clustered_log(np.random.default_rng(1), ENDLESS)
    truth = average_precision(labels, first), average_precision(labels, second)
    print(f"truth: AP {truth[0]:.4f} and {truth[1]:.4f} at a base rate of {labels.mean():.4f}", flush=True)
    records = []
    for requests in sizes:
        found = np.empty((logs, 2, 2), bool)
        clustered = Clusters(np.repeat(np.arange(requests), CANDIDATES), requests)
        single = Clusters(np.arange(requests * CANDIDATES), requests * CANDIDATES)
        for log in range(logs):
            drawn = clustered_log(np.random.default_rng([requests, log]), requests)
            for way, clusters in enumerate((clustered, single)):
                found[log, way] = covered(*drawn, clusters, truth)
        for way, name in enumerate(("by request", "rows as if independent")):
            for column, what in enumerate(("AP", "paired difference of AP")):
                share = float(found[:, way, column].mean())
                low, high = wilson_interval(share, logs)
                records.append(
                    {"requests": requests, "clusters": name, "interval": what, "coverage": share}
                    | {"coverage_low": low, "coverage_high": high}
                )
        print(pd.DataFrame(records[-4:]).to_string(index=False, header=requests == sizes[0]), flush=True)
    return pd.DataFrame(records)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=1000)
    parser.add_argument("--requests", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--out", type=Path, default=Path("runs/coverage"))
    a = parser.parse_args()
    if a.logs < 1 or min(a.requests) < 2:
        parser.error("--logs must be at least 1 and --requests at least 2")
    table = study(a.logs, a.requests)
    judged = table[table["requests"] >= ENOUGH]
    clustered = judged["clusters"] == "by request"
    right = judged["coverage"].between(LOWEST, HIGHEST)
    holds = bool(right[clustered].all() and not right[~clustered].any())
    a.out.mkdir(parents=True, exist_ok=True)
    settings = {"logs": a.logs, "candidates": CANDIDATES}
    write_metrics_json(a.out / "coverage.json", {"settings": settings, "table": jsonable(table), "holds": holds})
    print({"holds": holds})
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
