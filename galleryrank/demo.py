"""`galleryrank demo`: the whole story on the synthetic marketplace, where the truth is known."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from evaluation.formatting import format_interval, format_number
from evaluation.gallery.ablation_measures import vectors_by_row
from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_design import ALL_LABELS, ProbeDesign
from features import Dataset, Fault, InputError, encode_log, make_world
from features.gallery import EncoderConfig, GalleryData, GalleryEncoder, open_photos
from galleryrank.console import Log
from galleryrank.embed import embed_into
from galleryrank.embedded import open_run
from galleryrank.evaluate import evaluate_into
from galleryrank.explore import explore_into
from galleryrank.fit import fit_into
from galleryrank.gallery_run import GalleryRun
from galleryrank.run_directory import RunDirectory
from galleryrank.settings import RunConfig
from galleryrank.tune import TuneOptions, tune_into
from multitask import TrainingConfig
from optimization import ScoreTable
from ranking import Ranker, TreesConfig, Utility, score_parquet
from ranking.heads import STAGES
from ranking.rates import training_rate

NEGATIVE_RATE = 0.1
REQUESTS = 50_000
PHOTOS = 8  # of a property at most
SHOWN = 5  # candidates of the example request
HAND_PICKED = {"closeup": 0.1, "click": 0.2, "long_click": 0.5, "save": 0.2}
PROPOSALS = 5  # of Bayesian optimisation


def run_demo(out: Path, seed: int, quiet: bool) -> None:
    """Generate, embed the photos, fit, score, evaluate, tune, explore; print what was corrected against the truth."""
    say = Log(quiet)
    run = RunDirectory(out)
    if run.record_file.is_file():
        record = run.read()
        if record["command"] != "demo" or record["settings"].get("seed") != seed:
            raise InputError(Fault("holds a fit, or a demo with another seed: choose another --out", file=out))
    elif out.exists() and not (out.is_dir() and set(os.listdir(out)) <= {"world", "gallery"}):
        raise InputError(Fault("is not empty and holds no demo: choose another --out", file=out))
    world = _world(out, seed, say)
    embed_demo(world, out / "gallery", seed, say)
    dataset = Dataset.open(world)
    if run.model.is_dir():
        say("the model of an earlier demo is used: the world of a seed is always the same")
        ranker = Ranker.load(run.model)
    else:
        ranker = fit_into(run, dataset, demo_settings(seed), say, command="demo")
    scores = out / "scores.parquet"
    rows = score_parquet(ranker, [str(f) for f in dataset.impression_files], scores)
    say(f"scored {rows:,} rows -> {scores}")
    evaluate_into(run, ranker, dataset, "test", False, out, say)
    tune_demo(ranker, dataset, out / "weights", seed, say)
    explore_into(ranker, dataset, "tune", out / "weights", out / "explore.html", say)
    _truth(ranker, dataset, out, say)
    _one_request(ranker, dataset, say)


def _world(out: Path, seed: int, say: Log) -> Path:
    """The marketplace's dataset.toml; one that an earlier demo finished is used again."""
    description = out / "world" / "dataset.toml"
    if description.is_file():
        say("the world of an earlier demo is used")
        return description
    say(
        f"[bold]generating a marketplace[/bold] with photos: {REQUESTS:,} requests; of the rows without engagement "
        f"that training sees only {NEGATIVE_RATE:.0%} are in the log"
    )
    return make_world(out / "world", seed=seed, requests=REQUESTS, negative_rate=NEGATIVE_RATE, photos=PHOTOS)


def embed_demo(world: Path, out: Path, seed: int, say: Log) -> None:
    """Learn gallery embeddings from the world's photos, and probe them for the stars that training never saw."""
    data = GalleryData.open(world)
    if not (out / "report.html").is_file():
        say("[bold]learning gallery embeddings[/bold] from the photos, on 31 attributes at once")
        settings = demo_encoder(seed)
        record = {"command": "demo", "settings": settings.model_dump(mode="json"), "dataset": str(world.resolve())}
        gallery = GalleryRun.claim(out, record)
        metrics, pictures = embed_into(gallery, data, settings, None, say)
        gallery.finish(metrics, pictures, say, title="galleryrank: gallery embeddings of the demo")
    encoder, embeddings = open_run(out)
    if data.schema.vectors is not None and not data.schema.vectors.exists():
        embeddings.write(data.schema.vectors)
    stars = data.holdout("star_rating").to_pandas()
    vectors = vectors_by_row(embeddings, data)
    rows = np.flatnonzero(stars.notna().to_numpy() & vectors.any(axis=1))
    photos = open_photos(data, encoder.preprocessing.size)
    random = GalleryEncoder.untrained(data, encoder.config, photos=photos).embed(data, photos=photos)
    probe = HoldoutProbe(stars.to_numpy()[rows], ProbeDesign.by_folds(rows), budgets=[ALL_LABELS], seeds=[0])
    arms = {"the encoder": vectors[rows], "the same, untrained": vectors_by_row(random, data)[rows]}
    table = probe.run(arms, heads=["linear"], control=False).accuracy()
    say.table(
        "Star rating, which the encoder never saw, read from its vectors (linear probe, 5 folds)",
        ("vectors of", "accuracy", "95 % interval"),
        [
            (r["arm"], format_number(r["accuracy"]), format_interval(r["low"], r["high"]))
            for r in table.to_dict("records")
        ],
    )


def tune_demo(ranker: Ranker, dataset: Dataset, out: Path, seed: int, say: Log) -> None:
    """Utility weights for long clicks that keep 95 % of every other head: a sweep, and a few proposals of Ax."""
    table, test = (ScoreTable.from_ranker(ranker, dataset, role) for role in ("tune", "test"))
    options = TuneOptions("long_click", trials=PROPOSALS, seed=seed)
    baseline = Utility.from_mapping(HAND_PICKED)
    tune_into(out, table, test, baseline, options, say, out.parent, cross_checks=False)


def demo_encoder(seed: int) -> EncoderConfig:
    """The built-in network with short vectors, on four photos of a gallery per epoch: the demo has two minutes."""
    return EncoderConfig.model_validate(
        {"seed": seed, "embed_dim": 64, "sample_photos": 4, "photo_budget": 128, "training": {"epochs": 8}}
    )


def demo_settings(seed: int) -> RunConfig:
    """The defaults, with fewer and faster trees: the demo has two minutes."""
    return RunConfig(
        seed=seed,
        utility=HAND_PICKED,
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
        stage: np.exp(ranker.log_probabilities(logits, rate, stage, logged_position=True, inputs=log.inputs)).mean(0)
        for stage in STAGES
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
