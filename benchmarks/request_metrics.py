"""Per-request metrics of 100,000 requests x 20: ours beside pytrec_eval and ir_measures, in one run.

CPU seconds of this process on one thread, the median of `--repeats`. Ours is the whole default set (NDCG@10, MRR,
recall@10, hit rate@10, mean AP, GAUC) with intervals, from arrays of request ids, labels and scores as they come: dense
(every request has 20 rows, in order), ragged and shuffled (10 to 30 rows, in no order), with ties, and a log whose rows
were sampled. The trec_eval family takes dictionaries; making them from the arrays is shown apart, as is the
evaluation of the five of these metrics that it has. `differ` is the largest difference of the means on untied scores.

    python benchmarks/request_metrics.py [--requests 100000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from evaluation.per_request import DEFAULT_METRICS, request_metrics

ROWS = 20
TOLERANCE = 1e-9
TREC = {"ndcg@10": "ndcg_cut_10", "mrr": "recip_rank", "recall@10": "recall_10", "hit_rate@10": "success_10",
        "mean_ap": "map"}  # fmt: skip

Log = dict[str, Any]


def make_log(requests: int, *, ragged: bool, levels: int = 0, sampled: bool = False) -> Log:
    """A tenth of the rows is positive, and scores know something of it; exact in float32, which the peers hold."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(10, 31, requests) if ragged else np.full(requests, ROWS)
    ids = np.repeat(np.arange(requests), sizes)
    labels = (rng.random(len(ids)) < 0.1).astype(np.float64)
    noise = rng.standard_normal(len(ids)) + labels
    # whole numbers: without ties the place of each row in the order of the noise, below 2^24
    scores = np.empty(len(ids))
    scores[np.argsort(noise)] = np.arange(len(ids))
    if levels:
        scores = np.floor(scores * levels / len(ids))
    weights = None
    if sampled:
        kept = (labels == 1.0) | (rng.random(len(ids)) < 0.2)
        weights = np.where(labels == 1.0, 1.0, 5.0)[kept]
        ids, labels, scores = ids[kept], labels[kept], scores[kept]
    if ragged:
        turned = rng.permutation(len(ids))
        ids, labels, scores = ids[turned], labels[turned], scores[turned]
        weights = None if weights is None else weights[turned]
    return {"labels": labels, "scores": scores, "groups": ids, "weights": weights}


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of this process, and what was returned."""
    gc.collect()
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def dictionaries(log: Log) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """The log as the trec_eval family takes it; requests without a positive are not judged."""
    judged: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    columns = (log[name].tolist() for name in ("labels", "scores", "groups"))
    for row, (label, score, request) in enumerate(zip(*columns)):
        query, document = str(request), str(row)
        judged.setdefault(query, {})[document] = int(label)
        run.setdefault(query, {})[document] = score
    positive = set(np.unique(log["groups"][log["labels"] == 1.0]).astype(str).tolist())
    judged = {query: rows for query, rows in judged.items() if query in positive}
    return judged, {query: run[query] for query in judged}


def by_pytrec_eval(judged: Any, run: Any) -> dict[str, float]:
    import pytrec_eval

    asked = {"ndcg_cut.10", "recip_rank", "recall.10", "success.10", "map"}
    found = pytrec_eval.RelevanceEvaluator(judged, asked).evaluate(run)
    return {ours: float(np.mean([query[theirs] for query in found.values()])) for ours, theirs in TREC.items()}


def by_ir_measures(judged: Any, run: Any) -> dict[str, float]:
    import ir_measures
    from ir_measures import AP, RR, R, Success, nDCG

    asked = {"ndcg@10": nDCG @ 10, "mrr": RR, "recall@10": R @ 10, "hit_rate@10": Success @ 10, "mean_ap": AP}
    found = ir_measures.calc_aggregate(list(asked.values()), judged, run)
    return {name: float(found[measure]) for name, measure in asked.items()}


def peers(log: Log, ours: float, values: dict[str, float]) -> float:
    """Print the peers' seconds on `log`; the largest difference of a mean from `values`."""
    making, (judged, run) = cpu(lambda: dictionaries(log))
    print(f"  {'making the dictionaries':<34}{making:>8.2f} s{making / ours:>8.0f}")
    worst = 0.0
    for name, call in {"pytrec_eval": by_pytrec_eval, "ir_measures": by_ir_measures}.items():
        try:
            seconds, found = cpu(lambda call=call: call(judged, run))
        except ImportError:
            print(f"  {name:<34}{'not installed':>10}")
            continue
        difference = max(abs(found[metric] - values[metric]) for metric in TREC)
        worst = max(worst, difference)
        print(
            f"  {name + ', five of the six':<34}{seconds:>8.2f} s{seconds / ours:>8.0f}{difference:>10.0e}", flush=True
        )
    return worst


def table_of(log: Log) -> pd.DataFrame:
    return request_metrics(log["labels"], log["scores"], log["groups"], log["weights"], metrics=DEFAULT_METRICS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    words = parser.parse_args()
    cases: dict[str, dict[str, Any]] = {
        "dense": {"ragged": False},
        "ragged and shuffled": {"ragged": True},
        "dense, 10 different scores": {"ragged": False, "levels": 10},
        "constant scores": {"ragged": False, "levels": 1},
        "ragged, rows sampled at 0.2": {"ragged": True, "sampled": True},
    }
    print(f"{words.requests:,} requests of {ROWS} rows (on average), {len(DEFAULT_METRICS)} metrics with intervals; "
          "CPU seconds, one thread")  # fmt: skip
    print(f"  {'':<34}{'median':>10}{'/ ours':>8}{'differ':>10}")
    worst = 0.0
    for name, settings in cases.items():
        log = make_log(words.requests, **settings)
        runs = [cpu(lambda log=log: table_of(log)) for _ in range(words.repeats)]
        ours = float(np.median([seconds for seconds, _ in runs]))
        print(f"{name:<36}{ours:>8.2f} s{1:>8}", flush=True)
        if not settings.get("levels") and not settings.get("sampled"):
            values = runs[-1][1].set_index("metric")["value"].to_dict()
            worst = max(worst, peers(log, ours, values))
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
