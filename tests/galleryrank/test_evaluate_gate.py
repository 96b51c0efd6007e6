"""`evaluate --against`: the exit codes, what is compared with what, and what is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from evaluation import average_precision
from evaluation.measured.scored_log import ScoredLog
from features import Dataset, ItemVectors
from galleryrank.cli import main
from galleryrank.evaluate_sources import open_source, source_scores
from ranking import Ranker

REQUESTS, ITEMS = 150, 10
TOML = """
name = "shop"
[files]
impressions = "log.parquet"
[columns]
request = "request"
item = "item"
[heads.click]
[heads.save]
[split]
by = "column"
column = "role"
"""


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty report: its figures take longer than all the rest, and the first test here draws them."""
    monkeypatch.setattr("galleryrank.evaluate.write_report", lambda path, *_, **__: path.write_text("report"))


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log whose true probabilities are known, and scores: those, nearly those, and noise for click on the web."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(4)
    rows = REQUESTS * ITEMS
    z, error = rng.normal(size=rows), rng.normal(size=rows)
    log = pd.DataFrame(
        {
            "request": np.repeat(np.arange(REQUESTS), ITEMS),
            "item": np.tile(np.arange(ITEMS), REQUESTS),
            "platform": np.repeat(rng.choice(["web", "app"], REQUESTS), ITEMS),
            "click": (rng.random(rows) < sigmoid(z - 1)).astype(np.int8),
            "save": (rng.random(rows) < sigmoid(z - 1.5)).astype(np.int8),
            "role": "test",
        }
    )
    log.to_parquet(folder / "log.parquet", index=False)
    (folder / "dataset.toml").write_text(TOML)
    web = (log["platform"] == "web").to_numpy()
    for name, click in (("true", z), ("near", z + 0.5 * error), ("broken", np.where(web, 2 * error, z))):
        scores = log[["request", "item"]].assign(click=sigmoid(click - 1), save=sigmoid(z - 1.5))
        scores.sample(frac=1.0, random_state=5).to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def gate(shop: Path, candidate: str, baseline: str, out: Path, *more: str) -> int:
    ours, theirs = (str(shop / f"{name}.parquet") for name in (candidate, baseline))
    return main(["evaluate", "--scores", ours, "--data", str(shop), "--against", theirs, "--out", str(out), *more])


def metrics_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def test_a_worse_candidate_is_a_regression(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Exit code 1; the sentence comes last; JUnit tells CI which head and which slice fell."""
    junit = tmp_path / "ci" / "gate.xml"
    assert gate(shop, "broken", "true", tmp_path, "--slice", "platform", "--junit", str(junit)) == 1
    metrics = metrics_of(tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith(metrics["verdict"]["sentence"])
    assert metrics["verdict"]["word"] == metrics["gate"]["verdict"] == "regression"
    assert metrics["baseline"] == str(shop / "true.parquet")
    assert set(metrics["fingerprints"]) == {"data", "candidate", "baseline"}
    outcomes = {(t["head"], t["slice"]): t["outcome"] for t in metrics["gate"]["tests"]}
    assert outcomes["click", "web"] == outcomes["click", "all"] == "regression"
    assert outcomes["save", "all"] == outcomes["click", "app"] == "holds"
    cases = list(ElementTree.parse(junit).getroot().iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None]
    assert len(cases) == len(outcomes) == 6
    assert {case.get("classname") for case in failed} == {"galleryrank.gate.all", "galleryrank.gate.platform"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ci", "metrics.json", "report.html"]


@pytest.mark.usefixtures("no_pictures")
def test_a_better_candidate_passes(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With --format json stdout is metrics.json and nothing else."""
    assert gate(shop, "true", "broken", tmp_path, "--quiet", "--format", "json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == metrics_of(tmp_path)
    assert printed.err == ""
    assert metrics_of(tmp_path)["verdict"]["word"] == "pass"


@pytest.mark.usefixtures("no_pictures")
def test_too_few_rows_are_inconclusive_and_rules_decide(shop: Path, tmp_path: Path) -> None:
    """The same scores: 3 under the default rules, 0 under rules that forgive half of every head's PR-AUC."""
    assert gate(shop, "near", "true", tmp_path / "strict", "--quiet") == 3
    rules = tmp_path / "rules.toml"
    rules.write_text('slices = ["platform"]\n[tolerance]\nap = 0.5\n[slice_values]\nplatform = ["tv", "web"]\n')
    assert gate(shop, "near", "true", tmp_path / "mild", "--quiet", "--gate", str(rules), "--slice", "platform") == 0
    found = metrics_of(tmp_path / "mild")["gate"]
    assert found["rules"]["slices"] == ["platform"]
    empty = [t for t in found["tests"] if t["slice"] == "tv"]
    assert [(t["rows"], t["outcome"]) for t in empty] == [(0, "not tested")] * 2


@pytest.mark.usefixtures("no_pictures")
def test_a_baseline_may_lack_heads(shop: Path, tmp_path: Path) -> None:
    """What production does not predict is measured, not gated, and that is said."""
    scores = pq.read_table(shop / "true.parquet").drop_columns(["save"])
    pq.write_table(scores, tmp_path / "old.parquet")
    arguments = ["evaluate", "--scores", str(shop / "true.parquet"), "--data", str(shop), "--out", str(tmp_path)]
    assert main([*arguments, "--against-scores", str(tmp_path / "old.parquet"), "--quiet"]) == 0
    metrics = metrics_of(tmp_path)
    assert {t["head"] for t in metrics["gate"]["tests"]} == {"click"}
    assert list(metrics["heads"]) == ["click", "save"]
    assert any("Not gated" in note and "save" in note for note in metrics["notes"])


@pytest.mark.usefixtures("no_pictures")
def test_scores_alone_are_measured_as_the_model_that_made_them(
    world_run: Path, world: Path, ranker: Ranker, tmp_path: Path
) -> None:
    """Through a file the numbers are the run's own, and neither beats the other: every d is (1 - c) of the metric."""
    rows = Dataset.open(world).table("test")
    ids = rows.select(["request_id", "item_id"]).to_pandas()
    ids.join(ranker.predict(rows)).to_parquet(tmp_path / "scores.parquet", index=False)
    file = ["--scores", str(tmp_path / "scores.parquet"), "--data", str(world), "--out", str(tmp_path / "file")]
    assert main(["evaluate", *file, "--against", str(world_run), "--utility", "click=1", "--quiet"]) in (0, 3)
    mine = metrics_of(tmp_path / "file")
    assert mine["utility"] is not None
    for test in mine["gate"]["tests"]:
        assert test["candidate"] == pytest.approx(test["baseline"], rel=1e-6)
        assert test["d"] == pytest.approx(0.02 * test["baseline"], rel=1e-4)
        assert test["candidate"] == pytest.approx(mine["heads"][test["head"]]["ap"]["value"], rel=1e-12)
    assert mine["meta"]["model"].startswith("scores of")


@pytest.mark.usefixtures("no_pictures")
def test_a_run_is_gated_by_a_run_and_by_a_model(
    world_run: Path, world: Path, trees: Ranker, tmp_path: Path, make_run: Callable[[Ranker, Path], Path]
) -> None:
    """Both are scored alike; the run's own position, slices of the position, and what each was."""
    other = make_run(trees, tmp_path / "trees")
    arguments = ["evaluate", str(world_run), "--against", str(other), "--out", str(tmp_path / "out"), "--quiet"]
    assert main([*arguments, "--slice", "position", "--slice", "users.segment"]) in (0, 1, 3)
    metrics = metrics_of(tmp_path / "out")
    tests = metrics["gate"]["tests"]
    assert {t["column"] for t in tests} == {"all", "position", "users.segment"}
    dataset = Dataset.open(world)
    rows = dataset.table("test").to_pandas()
    p = trees.predict(rows)
    for test in tests:
        if test["overall"]:
            expected = average_precision(rows[test["head"]], p[test["head"]])
            assert test["baseline"] == pytest.approx(expected, abs=1e-9)
    log = ScoredLog.read(dataset, "test")
    model = source_scores(open_source(other / "model", "--against"), dataset, log, logged_position=False)
    assert model.probabilities.tolist() == p.to_numpy().tolist()
    assert model.fingerprint == metrics["fingerprints"]["baseline"]
    at_logged = source_scores(open_source(other, "--against"), dataset, log, logged_position=True)
    assert at_logged.probabilities.tolist() == trees.predict(rows, logged_position=True).to_numpy().tolist()


def test_production_keeps_the_vectors_of_its_own_encoder(
    world: Path, ranker: Ranker, tmp_path: Path, make_run: Callable[[Ranker, Path], Path]
) -> None:
    """A candidate with a new gallery encoder brings vectors that mean nothing to production: that is told."""
    known = ranker.encoders.vectors
    assert known is not None
    old = ItemVectors(known.key, known.matrix, "0ld")
    run = make_run(replace(ranker, encoders=replace(ranker.encoders, vectors=old)), tmp_path / "old")
    table = pq.read_table(world.parent / "vectors.parquet")
    for encoder in ("0ld", "new"):
        named = {"galleryrank.embedding": json.dumps({"encoder": encoder, "version": 1})}
        pq.write_table(table.slice(0, 150).replace_schema_metadata(named), tmp_path / f"{encoder}.parquet")
    found = {}
    for encoder in ("0ld", "new"):
        dataset = Dataset.open(world, vectors=tmp_path / f"{encoder}.parquet")
        source = replace(open_source(run / "model", "--against"), run=None)  # no record says which vectors to take
        found[encoder] = source_scores(source, dataset, ScoredLog.read(dataset, "test"), logged_position=False)
    p = ranker.predict(Dataset.open(world).table("test")).to_numpy()
    assert np.array_equal(found["new"].probabilities, p)
    assert any("item vectors that it was fitted with" in note for note in found["new"].notes)
    assert not np.array_equal(found["0ld"].probabilities, p)
    assert all("item vectors" not in note for note in found["0ld"].notes)
    assert all(any("no record of its fit" in note for note in scores.notes) for scores in found.values())


@pytest.mark.usefixtures("no_pictures")
def test_what_a_new_order_would_have_earned_is_told(
    world_run: Path, world: Path, ranker: Ranker, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """For a run and for the same scores in a file: the estimators that need no model agree."""
    arguments = ["--counterfactual", "--utility", "click=1", "--out", str(tmp_path)]
    assert main(["evaluate", str(world_run), *arguments]) == 0
    assert "in the new order" in " ".join(capsys.readouterr().err.split())
    by_run = metrics_of(tmp_path)["counterfactual"]["table"]
    rows = Dataset.open(world).table("test")
    ids = rows.select(["request_id", "item_id"]).to_pandas()
    ids.join(ranker.predict(rows)).to_parquet(tmp_path / "scores.parquet", index=False)
    file = ["--scores", str(tmp_path / "scores.parquet"), "--data", str(world), "--quiet"]
    assert main(["evaluate", *file, *arguments]) == 0
    by_file = metrics_of(tmp_path)["counterfactual"]["table"]
    assert {line["estimator"] for line in by_run} >= {"logged", "ips", "snips"}
    for mine, theirs in zip(by_run, by_file, strict=True):
        if mine["estimator"] in ("logged", "ips", "snips"):
            assert mine["value"] is not None
            assert mine["value"] == pytest.approx(theirs["value"], rel=1e-3)


@pytest.mark.usefixtures("no_pictures")
def test_an_interrupt_leaves_what_was_there(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Exit code 130, wherever it comes: no file is half written, and metrics.json is the last one to be there."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("galleryrank.evaluate.measure_scores", "galleryrank.evaluate.write_metrics_json"):
        with monkeypatch.context() as patch:
            patch.setattr(name, interrupted)
            assert gate(shop, "near", "true", tmp_path / "out", "--quiet") == 130
        assert "interrupted" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]
    shutil.rmtree(tmp_path / "out")
