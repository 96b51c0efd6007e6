"""`galleryrank demo`: the whole story on the synthetic marketplace, where the truth is known."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from evaluation.formatting import format_number
from features import Dataset, Fault, InputError, encode_log
from features.world import make_world
from galleryrank.console import Log
from galleryrank.evaluate import evaluate_into
from galleryrank.fit import fit_into
from galleryrank.run_directory import RunDirectory
from galleryrank.settings import RunConfig
from multitask import TrainingConfig
from ranking import Ranker, TreesConfig, score_parquet
from ranking.heads import STAGES
from ranking.rates import training_rate

NEGATIVE_RATE = 0.1
REQUESTS = 50_000
SHOWN = 5  # candidates of the example request


def run_demo(out: Path, seed: int, quiet: bool) -> None:
    """Generate, check, fit, score, evaluate; print what was corrected against the truth."""
    say = Log(quiet)
    run = RunDirectory(out)
    if run.record_file.is_file():
        record = run.read()
        if record["command"] != "demo" or record["settings"].get("seed") != seed:
            raise InputError(Fault("holds a fit, or a demo with another seed: choose another --out", file=out))
    elif out.exists() and not (out.is_dir() and set(os.listdir(out)) <= {"world"}):
        raise InputError(Fault("is not empty and holds no demo: choose another --out", file=out))
    say(
        f"[bold]generating a marketplace[/bold]: {REQUESTS:,} requests; of the rows without engagement that training "
        f"sees only {NEGATIVE_RATE:.0%} are in the log"
    )
    dataset = Dataset.open(make_world(out / "world", seed=seed, requests=REQUESTS, negative_rate=NEGATIVE_RATE))
    settings = demo_settings(seed)
    if run.model.is_dir():
        say("the model of an earlier demo is used: the world of a seed is always the same")
        ranker = Ranker.load(run.model)
    else:
        ranker = fit_into(run, dataset, settings, say, command="demo")
    scores = out / "scores.parquet"
    rows = score_parquet(ranker, [str(f) for f in dataset.impression_files], scores)
    say(f"scored {rows:,} rows -> {scores}")
    evaluate_into(run, ranker, dataset, "test", False, out, say)
    _truth(ranker, dataset, out, say)
    _one_request(ranker, dataset, say)


def demo_settings(seed: int) -> RunConfig:
    """The defaults, with fewer and faster trees: the demo has two minutes."""
    return RunConfig(
        seed=seed,
        training=TrainingConfig(seed=seed, epochs=15),
        trees=TreesConfig(rounds=80, learning_rate=0.1, max_bin=63),
    )


def _truth(ranker: Ranker, dataset: Dataset, out: Path, say: Log) -> None:
    """Per head: mean as learned on the sampled log, after the correction, after the refit, and the true mean."""
    log = encode_log(dataset, ranker.encoders, "test", serving_position=False)
    columns = [f"true_{head}" for head in ranker.heads]
    trained = dataset.table("train", [*columns, "keep_prob"])
    weight = 1.0 / np.asarray(trained["keep_prob"])
    true = dataset.table("test", columns)
    logits = ranker.scorer.logits(log.inputs)
    rate = training_rate(ranker.schema, ranker.config, log)
    means = {
        stage: np.exp(ranker.log_probabilities(logits, rate, stage, logged_position=True)).mean(0) for stage in STAGES
    }
    table: dict[str, dict[str, float]] = {
        head: {stage: float(mean[j]) for stage, mean in means.items()}
        | {"true": float(np.mean(true[f"true_{head}"]))}
        | {"true in training": float(np.average(trained[f"true_{head}"], weights=weight))}
        for j, head in enumerate(ranker.heads)
    }
    (out / "truth.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    say.table(
        "Mean probability on the test rows against the truth; tastes drift, so the training weeks had other rates",
        ("head", "raw mean", "per-head formula", "corrected mean", "after refit", "true rate", "true rate in training"),
        [
            (head, *(format_number(r[k]) for k in (*STAGES, "true", "true in training")))
            for head, r in table.items()
        ],
    )  # fmt: skip


def _one_request(ranker: Ranker, dataset: Dataset, say: Log) -> None:
    """The best candidates of one test request, and what each engagement adds to their utility."""
    request = dataset.schema.columns.request
    columns = list(dict.fromkeys([request, *ranker.encoders.required_columns(serving_position=True)]))
    if dataset.schema.columns.item not in columns:
        columns.append(dataset.schema.columns.item)
    rows = dataset.table("test", columns).to_pandas()
    one = rows[rows[request] == rows[request].iloc[0]]
    top = ranker.rank(one, k=SHOWN, explain=True)
    item = dataset.schema.columns.item
    say.table(
        f"Request {one[request].iloc[0]}: the best {SHOWN} of {len(one)}, and what each engagement adds to the utility",
        ("rank", item, "utility", *ranker.heads),
        [
            (str(r["rank"]), str(r[item]), format_number(r["utility"]),
             *(format_number(r[f"utility_{h}"]) for h in ranker.heads))
            for r in top.to_dict("records")
        ],
    )  # fmt: skip
