"""Speed and memory on workload W, beside the hand-tuned limit: one command, JSON lines on stdout.

    python benchmarks/workload.py --benchmarks ../shared/benchmarks [--rows 1000000] [--rounds 2]

Every measurement is a process of its own on one thread, batch 4096; ours and the limit's alternate, so that load on the
machine falls on both. Rates are rows per CPU-second. The last lines are the ratios that are asked for:

    train_bf16, train_fp32    ours over the limit's autocast / plain variant
    epoch_over_short_run      speed of a whole epoch over the speed of a fifth of it
    peak_mb                   largest memory of the process that read, encoded and trained on all rows
    score_parquet             Parquet to Parquet, float32 and bfloat16, all rows, the projection of the items included
                              (the limit reports its own, over a tenth of the rows, without that projection)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HEADS = ("closeup", "click", "save", "long_click")
SCHEMA = """
name = "workload_w"
[files]
impressions = "{impressions}"
vectors = "items.parquet"
[columns]
request = "request_id"
item = "item_id"
user = "user_id"
categorical = ["user_id", "item_id", "c0", "c1", "c2", "c3", "c4", "c5"]
numeric = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"]
[heads.closeup]
[heads.click]
[heads.save]
[heads.long_click]
[split]
by = "request"
fractions = {{ train = 0.9, calibrate = 0.01, tune = 0.0, test = 0.09 }}
[policy]
duplicates = "keep"
"""
# The allocator settings under which the limit was measured; ours sets its own (multitask/malloc.py).
LIMIT_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}


def emit(name: str, **values: object) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


# ------------------------------------------------------------------------------------------------ one measurement
def peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def config(precision: str):
    from multitask import TrainingConfig
    from ranking import EncodingConfig, NetworkConfig, RankerConfig

    return RankerConfig(
        encoding=EncodingConfig(min_count=1),
        network=NetworkConfig(embedding_dim=16, hidden=(512, 256, 128), tower_hidden=64, dropout=0.0),
        training=TrainingConfig(epochs=1, batch_size=4096, precision=precision),
    )


class Clock:
    """Hears of the loop's progress: CPU and wall seconds from its first report to the last step of the epoch."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float, float]] = []

    def __call__(self, event) -> None:
        if event.metrics is None:
            self.marks.append((event.step, time.process_time(), time.perf_counter()))

    def rates(self) -> tuple[float, float]:
        (step, cpu, wall), (last, last_cpu, last_wall) = self.marks[0], self.marks[-1]
        rows = (last - step) * 4096
        return rows / (last_cpu - cpu), rows / (last_wall - wall)


def train(dataset: Path, precision: str) -> None:
    """Read, validate, encode and train one epoch; then the speed of a fifth of the rows, and of the whole epoch."""
    import torch

    from features import Dataset
    from ranking.fitting import prepare
    from ranking.heads import HeadTree
    from ranking.network_fitting import fit_network
    from ranking.rates import training_rate
    from ranking.training_rows import multi_head_rows

    torch.set_num_threads(1)
    began = time.process_time()
    settings = config(precision)
    data = prepare(Dataset.open(dataset), settings, lambda _: None)
    prepared = time.process_time() - began
    tree = HeadTree.build(HEADS, {}, "any_head")
    rows = multi_head_rows(data.train, tree, training_rate(data.schema, settings, data.train))
    few = data.held_out.inputs.slice(0, 1)
    speeds = {}
    for name, part in (("short", rows.select(torch.arange(len(rows) // 5))), ("epoch", rows)):
        clock = Clock()
        fit_network(
            data.encoders, part, tree.nodes, settings, few, lambda z: 0.0, checkpoint=None, progress=clock, device="cpu"
        )
        speeds[name], speeds[name + "_wall"] = clock.rates()
        del part
    emit(
        "ours_train", precision=precision, rows=len(rows), rows_per_cpu_s=round(speeds["epoch"]),
        rows_per_wall_s=round(speeds["epoch_wall"]), short_run_rows_per_cpu_s=round(speeds["short"]),
        read_validate_encode_rows_per_cpu_s=round(len(rows) / prepared), peak_mb=round(peak_mb()),
    )  # fmt: skip


def save(dataset: Path, model: Path) -> None:
    """Train on the data set and save the model that `score` measures."""
    import torch

    from ranking import Ranker

    torch.set_num_threads(1)
    Ranker.fit(dataset, config("bfloat16")).save(model)


def score(model: Path, log: Path, precision: str) -> None:
    import torch

    from ranking import Ranker, score_parquet

    torch.set_num_threads(1)
    ranker = Ranker.load(model)
    began, wall = time.process_time(), time.perf_counter()
    rows = score_parquet(ranker, log, log.with_suffix(f".{precision}.scores"), precision=precision)
    cpu = time.process_time() - began
    emit(
        "ours_score_parquet", precision=precision, rows=rows, rows_per_cpu_s=round(rows / cpu),
        rows_per_wall_s=round(rows / (time.perf_counter() - wall)), peak_mb=round(peak_mb()),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ all of them
def child(*arguments: str, environment: dict[str, str] | None = None, cwd: Path | None = None) -> list[dict]:
    """Run a measurement in a process of its own and pass its JSON lines through."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"} | (environment or {})
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="", flush=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, default=Path("../shared/benchmarks"))
    parser.add_argument("--data", type=Path, default=Path("runs/workload_w"), help="where W lies or is made")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        verb, *rest = arguments.only
        {"train": train, "save": save, "score": score}[verb](*(Path(r) if "/" in r else r for r in rest))
        return

    data, rows, me = arguments.data.resolve(), arguments.rows, str(Path(__file__).resolve())
    limit_dir = arguments.benchmarks.resolve()
    if not (data / "impressions.parquet").exists():
        child(str(limit_dir / "make_workload.py"), "--out", str(data), "--requests", str(max(rows // 20, 50)))
    toml = data / "dataset.toml"
    toml.write_text(SCHEMA.format(impressions="impressions.parquet"), encoding="utf-8")

    def limit(variant: str, what: str = "train") -> list[dict]:
        return child(
            str(limit_dir / "limit_torch.py"), "--data", str(data), "--rows", str(rows), "--train", variant,
            "--what", what, environment=LIMIT_MALLOC, cwd=limit_dir,
        )  # fmt: skip

    found: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for precision, variant in (("bfloat16", "autocast"), ("float32", "plain")):
            theirs = next(r for r in limit(variant) if r["metric"] == "train")["value"]
            ours = child(me, "--only", "train", str(toml), precision)[-1]
            found.setdefault(f"train_{precision}_over_limit", []).append(ours["rows_per_cpu_s"] / theirs)
            found.setdefault(f"epoch_over_short_run_{precision}", []).append(
                ours["rows_per_cpu_s"] / ours["short_run_rows_per_cpu_s"]
            )
            found.setdefault("peak_mb", []).append(ours["peak_mb"])
    model, log = data / "model", data / "candidates.parquet"
    if not model.exists():
        child(me, "--only", "save", str(toml), str(model))
    import pyarrow.parquet as pq

    keys = ["request_id", "user_id", "item_id", *(f"c{j}" for j in range(6)), *(f"n{j}" for j in range(10))]
    pq.write_table(pq.read_table(data / "impressions.parquet", columns=keys), log, row_group_size=65536)
    for _ in range(arguments.rounds):
        theirs = next(r for r in limit("manual", "score") if r["metric"] == "score_parquet_proj_bf16")["value"]
        for precision in ("float32", "bfloat16"):
            ours = child(me, "--only", "score", str(model), str(log), precision)[-1]
            found.setdefault(f"score_parquet_{precision}_rows_per_cpu_s", []).append(ours["rows_per_cpu_s"])
            found.setdefault(f"score_parquet_{precision}_over_limit", []).append(ours["rows_per_cpu_s"] / theirs)
    for name, values in found.items():
        emit(name, median=round(statistics.median(values), 3), values=[round(v, 3) for v in values])


if __name__ == "__main__":
    main()
