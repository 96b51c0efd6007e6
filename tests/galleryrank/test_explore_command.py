"""`galleryrank explore` on a small marketplace: what it writes, and what it refuses."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from features import Dataset, InputError
from features.schema import ROLES
from galleryrank.cli import main
from galleryrank.cli_explore import app
from galleryrank.console import Log
from galleryrank.explore import explore_into, explore_run
from galleryrank.explore_page import default_role, read_choices, read_rows, read_thumbnails, shown_requests
from galleryrank.explore_page.rows import whole_requests
from galleryrank.run_directory import RunDirectory, training_sample
from optimization import ScoreTable, utility_pr_auc
from ranking import Ranker

HAND = {"closeup": 0.1, "click": 0.2, "long_click": 0.5, "save": 0.2}


@pytest.fixture(scope="module")
def run(ranker: Ranker, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory as `fit` leaves it, around the session's ranker."""
    path, dataset = tmp_path_factory.mktemp("explored") / "run", Dataset.open(world)
    RunDirectory(path).write(
        {"command": "fit", "dataset": str(world.resolve()), "settings": {}, "schema": dataset.schema.to_dict()}
        | {"data_sha256": dataset.data_hash(), "training_sample": training_sample(dataset)}
    )
    ranker.save(path / "model")
    return path


@pytest.fixture(scope="module")
def tuned(run: Path) -> Path:
    """A sweep without Ax, in the folder where `explore` looks first."""
    hand = ",".join(f"{head}={weight}" for head, weight in HAND.items())
    options = ["--maximise", "long_click", "--baseline", hand, "--keep", "0.8", "--margin", "0", "--keep", "save=0.7"]
    out = run / "weights"
    assert main(["tune", str(run), "--out", str(out), "--quiet", "--trials", "0", "--sweep", "24", *options]) == 0
    return out


def explored(run: Path, out: Path, **options: Any) -> str:
    plain: dict[str, Any] = {
        "weights": None, "data": None, "role": None, "rows": 100_000, "requests": 3, "photos": True, "keep": (),
        "seed": 0, "out": out, "quiet": True,
    }  # fmt: skip
    explore_run(run, **(plain | options))
    return out.read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_command_writes_a_page_with_the_tuning_of_the_run(run: Path, tuned: Path) -> None:
    done = CliRunner().invoke(app, [str(run), "--requests", "4", "--quiet"])
    assert (done.exit_code, done.output) == (0, "")
    page = (run / "explore.html").read_text(encoding="utf-8")
    data = data_of(page)
    metrics = json.loads((tuned / "metrics.json").read_text())
    assert [each["name"] for each in data["named"]] == ["hand-picked", "equal", "tuned"]
    assert data["named"][0]["weights"] == [HAND[head["name"]] for head in data["heads"]]
    assert dict(zip(metrics["signs"], data["named"][2]["weights"])) == metrics["trials"][metrics["best"]]["weights"]
    floors = {rule["head"]: rule["floor"] for rule in metrics["guardrails"]["rules"]}
    assert {head["name"]: head["floor"] for head in data["heads"]} == floors
    assert [point["weights"] for point in data["cloud"]] == [
        list(trial["weights"].values()) for trial in metrics["trials"]
    ]
    assert len(data["requests"]) == 4
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_rows_are_those_that_tune_ranks(ranker: Ranker, world: Path) -> None:
    """The same probabilities, labels and weights as a score table, request by request, and items in their order."""
    dataset = Dataset.open(world)
    rows, table = read_rows(ranker, dataset, "test"), ScoreTable.from_ranker(ranker, dataset, "test")
    weights = [[0.25, 0.25, 0.25, 0.25], [0.1, 0.0, 0.9, 0.0]]
    ours = utility_pr_auc(rows.probabilities, rows.labels, weights, rows.weights)
    theirs = utility_pr_auc(table.probabilities, table.labels, weights, table.row_weights)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    log = dataset.table(columns=["request_id", "item_id"])
    ids = log.column("request_id").take(pa.array(rows.log_rows)).to_pylist()
    requests = np.repeat(np.arange(len(rows.sizes)), rows.sizes)
    assert len(set(zip(ids, requests))) == len(set(ids)) == len(rows.sizes)
    assert log.column("item_id").take(pa.array(rows.log_rows)).to_pylist() == rows.items.to_pylist()
    for start, size in zip(rows.starts, rows.sizes):
        own = rows.items.slice(start, size).to_pylist()
        assert own == sorted(own)


def test_above_the_limit_whole_requests_are_drawn(ranker: Ranker, world: Path) -> None:
    dataset = Dataset.open(world)
    every, some = read_rows(ranker, dataset), read_rows(ranker, dataset, limit=400, seed=1)
    assert len(every.probabilities) > 600
    assert some.all_rows == every.all_rows == len(every.probabilities)
    assert some.all_requests == len(every.sizes)
    assert 300 < len(some.probabilities) <= 400
    place = {row: at for at, row in enumerate(every.log_rows.tolist())}
    kept = np.array([place[row] for row in some.log_rows.tolist()])
    assert (some.probabilities == every.probabilities[kept]).all()
    requests = np.repeat(np.arange(len(every.sizes)), every.sizes)
    assert np.isin(requests, requests[kept]).sum() == len(kept)  # no request is cut
    again, other = (read_rows(ranker, dataset, limit=400, seed=seed) for seed in (1, 2))
    assert (again.log_rows == some.log_rows).all()
    assert set(other.log_rows.tolist()) != set(some.log_rows.tolist())


def test_a_request_longer_than_the_limit_stays_whole() -> None:
    assert whole_requests(np.zeros(50, np.int64), 10, seed=0).tolist() == list(range(50))


def test_shown_requests_have_an_engagement_and_say_where_the_log_had_them(ranker: Ranker, world: Path) -> None:
    dataset = Dataset.open(world)
    rows = read_rows(ranker, dataset)
    shown = shown_requests(rows, dataset, "tune", count=5)
    assert len({request.start for request in shown}) == 5
    log = dataset.table(columns=["request_id", "item_id", "position"]).to_pandas()
    for request in shown:
        span = slice(request.start, request.start + len(request.items))
        assert (rows.labels[span] == 1.0).any()
        own = log[log["request_id"].astype(str) == request.request]
        where = dict(zip(own["item_id"].astype(str), own["position"]))
        assert dict(zip(request.items, request.positions)) == where


def test_without_a_tuning_the_models_own_weights_are_the_reference(run: Path, ranker: Ranker, tmp_path: Path) -> None:
    choices = read_choices(ranker, None, keep=["0.9"])
    assert list(choices.named) == ["the model's own", "equal"]
    assert sum(choices.named["the model's own"].values()) == pytest.approx(1.0)
    assert choices.floors == dict.fromkeys(ranker.heads, 0.9)
    assert choices.cloud.shape == (256, 4)
    np.testing.assert_allclose(choices.cloud.sum(axis=1), 1.0)
    bare = tmp_path / "run"
    shutil.copytree(run, bare, ignore=shutil.ignore_patterns("weights"))
    page = explored(bare, tmp_path / "explore.html")
    assert "a Sobol sweep" in page
    assert [each["label"] for each in data_of(page)["named"]] == ["the model's own = equal"]  # this model's are equal


def test_a_long_tuning_is_thinned_to_its_frontier_first(ranker: Ranker, tuned: Path) -> None:
    from optimization.pareto import non_dominated

    every, some = read_choices(ranker, tuned), read_choices(ranker, tuned, most=12)
    trials = json.loads((tuned / "metrics.json").read_text())["trials"]
    best = non_dominated([list(trial["values"].values()) for trial in trials])
    assert len(every.cloud) == len(trials) == 25
    assert len(some.cloud) == 12
    assert some.source == "12 of the tuning's 25 trials"
    frontier, kept = every.cloud[best].tolist(), some.cloud.tolist()
    if len(frontier) <= 12:
        assert all(weights in kept for weights in frontier)
    else:
        assert all(weights in frontier for weights in kept)


def test_bad_input_is_refused(
    run: Path, tuned: Path, ranker: Ranker, importance: Ranker, world: Path, tmp_path: Path
) -> None:
    out = tmp_path / "explore.html"

    def refused(words: str, **options: Any) -> None:
        with pytest.raises(InputError, match=words):
            explored(run, out, **options)
        assert not out.exists()

    refused("must be calibrate, tune or test", role="train")
    refused("is not a tuning", weights=tmp_path)
    with pytest.raises(InputError) as error:
        explored(run, out, keep=["sav=0.9", "click=x", "save=-1"])
    assert len(error.value.faults) == 3
    with pytest.raises(InputError, match="must be a file, not a folder"):
        explored(run, tmp_path)
    with pytest.raises(InputError, match="is not a run directory"):
        explored(tmp_path, out)
    with pytest.raises(InputError, match=r"there are neither tune nor calibrate rows.*--role test"):
        default_role(without_roles(world, tmp_path / "only test", "train", "test"))
    with pytest.raises(InputError, match="an importance-weighted single head"):
        read_rows(importance, Dataset.open(world))
    other = tmp_path / "other"
    shutil.copytree(tuned, other)
    metrics = json.loads((other / "metrics.json").read_text())
    metrics["signs"]["save"] = -1
    (other / "metrics.json").write_text(json.dumps(metrics))
    refused(r"must weigh the model's heads .*save \+1.*got .*save -1", weights=other)
    (other / "metrics.json").write_text("{}")
    refused("is not the metrics.json of `galleryrank tune`", weights=other)


def test_every_option_at_fault_is_told_at_once_and_before_scoring(
    run: Path, ranker: Ranker, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the command, and of what the demo calls; also where the run itself is none."""
    monkeypatch.setattr("galleryrank.explore.read_rows", lambda *_, **__: pytest.fail("scored"))
    bad: dict[str, Any] = {"rows": 0, "requests": -1, "seed": -2, "weights": tmp_path / "x"}
    keep = ["sav=0.9", "save=-1"]
    options = ["--rows: must be at least 1, got 0", "--requests: must be at least 1, got -1"]
    options += ["--seed: must be at least 0, got -2", "--out: must be a file, not a folder"]
    of_the_model = ["is not a tuning", "unknown head `sav`", "must be a finite share > 0, got -1"]
    with pytest.raises(InputError) as error:
        explored(run, tmp_path, **bad, keep=keep, role="train", data=tmp_path)
    for words in [*options, *of_the_model, "`role` must be calibrate, tune or test", "dataset.toml"]:
        assert sum(words in str(fault) for fault in error.value.faults) == 1, words
    assert len(error.value.faults) == 9
    with pytest.raises(InputError) as error:
        explored(tmp_path, tmp_path, **bad, keep=keep)
    assert [str(fault).removesuffix(f", got '{tmp_path}'") for fault in error.value.faults[:4]] == options
    assert "is not a run directory" in str(error.value.faults[4])
    with pytest.raises(InputError) as error:
        explore_into(ranker, Dataset.open(world), "tune", bad.pop("weights"), tmp_path, Log(True), **bad, keep=keep)
    assert len(error.value.faults) == 7
    done = CliRunner().invoke(app, [str(run), "--rows", "0", "--keep", "x=y", "--quiet"])
    assert isinstance(done.exception, InputError)
    assert len(done.exception.faults) == 2


def without_roles(world: Path, folder: Path, *kept: str) -> Dataset:
    """The data set with the rows of some roles alone."""
    shutil.copytree(world.parent, folder)
    dataset = Dataset.open(world)
    roles = np.array(ROLES)[dataset.roles]
    (file,) = dataset.impression_files
    pq.write_table(pq.read_table(file).filter(pa.array(np.isin(roles, kept))), folder / file.name)
    return Dataset.open(folder)


def test_rows_are_tune_rows_else_calibrate_rows_and_the_page_says_so(
    run: Path, tuned: Path, world: Path, tmp_path: Path
) -> None:
    page = explored(run, tmp_path / "explore.html", weights=tuned)
    dataset = Dataset.open(world)
    assert data_of(page)["rows"] == dataset.count("tune") != dataset.count("test")
    assert "<title>Try utility weights: marketplace, tune rows</title>" in page
    assert "judge your choice on the test rows. The tuned weights were chosen on the tune rows" in page
    page = explored(run, tmp_path / "test.html", role="test")
    assert data_of(page)["rows"] == dataset.count("test")
    assert "weights chosen here can no longer be judged on them" in page
    assert default_role(without_roles(world, tmp_path / "no tune", "train", "calibrate", "test")) == "calibrate"


def test_facts_tell_requests_apart(ranker: Ranker, world: Path) -> None:
    """Those of the user come first; what is constant, or differs within some request, is not said of any."""
    dataset = Dataset.open(world)
    shown = shown_requests(read_rows(ranker, dataset), dataset, "tune", count=12)
    names = list(dict.fromkeys(name for request in shown for name in request.facts))
    assert names[0] == "segment"
    assert len({request.facts["segment"] for request in shown}) > 1
    log = dataset.table("tune", ["request_id", "user_id", "item_id", *names, "picnic_area", "pool"]).to_pandas()
    spread = log.groupby("request_id").nunique()
    assert (spread[names] == 1).all().all()
    assert (log[names].nunique() > 1).all()
    assert (spread["picnic_area"] == 1).any()  # as it happens: the same for all candidates of some request
    assert not {"picnic_area", "pool"} & set(names)
    one = shown_requests(read_rows(ranker, dataset), dataset, "tune", count=1)
    assert list(one[0].facts) == names[: len(one[0].facts)] != []


def test_photos_are_small_covers_and_what_is_missing_is_said(photo_world: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(photo_world)
    items = dataset.table(columns=["item_id"])["item_id"].combine_chunks().slice(0, 30)
    found = read_thumbnails(dataset, items)
    known = {str(item) for item in items.unique().to_pylist()}
    assert set(found.images) <= known
    assert len(found.images) > len(known) // 2
    assert (found.note == "") == (set(found.images) == known)
    kind, content = next(iter(found.images.values())).split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert (image.format, image.size) == ("JPEG", (112, 112))
    broken = tmp_path / "world"
    shutil.copytree(photo_world, broken)
    (broken / "photos.parquet").write_bytes(b"PAR1")
    note = read_thumbnails(Dataset.open(broken), items)
    assert note.images == {}
    assert note.note.startswith("Photos are not shown: ")
    assert "photos.parquet" in html.unescape(note.note)
