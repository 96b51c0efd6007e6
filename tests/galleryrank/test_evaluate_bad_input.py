"""`evaluate`: what cannot be measured or compared is refused with exit code 2, all of it at once, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import Dataset
from galleryrank.cli import main
from galleryrank.run_directory import row_hashes
from galleryrank.streams import print_json
from ranking import Ranker

ROWS, ITEMS = 400, 10
TOML = """
name = "shop"
[files]
impressions = "log.parquet"
[columns]
request = "request"
item = "item"
[heads.click]
[heads.save]
[heads.never]
[split]
by = "column"
column = "role"
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a head that never happens, and scores of all three heads."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    p = rng.random((ROWS, 2)) * 0.6
    log = pd.DataFrame(
        {
            "request": np.arange(ROWS) // ITEMS,
            "item": np.arange(ROWS) % ITEMS,
            "platform": rng.choice(["web", "app"], ROWS),
            **{head: (rng.random(ROWS) < p[:, j]).astype(np.int8) for j, head in enumerate(("click", "save"))},
            "never": np.zeros(ROWS, np.int8),
            "role": "test",
        }
    )
    log.to_parquet(folder / "log.parquet", index=False)
    (folder / "dataset.toml").write_text(TOML)
    scores = log[["request", "item"]].assign(click=p[:, 0], save=p[:, 1], never=0.001)
    scores.to_parquet(folder / "scores.parquet", index=False)
    return folder


@pytest.fixture
def refused(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """The message of `evaluate` with the shop's scores and further arguments; a later one of a name wins."""
    out = tmp_path / "out"

    def call(*arguments: str, scores: Path | None = None, plain: bool = False) -> str:
        own = [] if plain else ["--scores", str(scores or shop / "scores.parquet"), "--data", str(shop)]
        of_a_run = bool(arguments) and Path(arguments[0]).is_dir()  # it would write into the run itself
        own += ["--out", str(out)] if (of_a_run or not plain) and "--out" not in arguments else []
        assert main(["evaluate", *own, *arguments, "--quiet"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert not out.exists()
        message: str = said.err
        return message

    return call


def test_options_that_contradict_one_another(refused: Callable[..., str], shop: Path) -> None:
    scores = str(shop / "scores.parquet")
    alone = refused("--gate", "rules.toml", "--junit", str(shop), "--logged-position", "--vectors", "v.parquet", "run")
    for part in ("6 errors", "--scores: is another", "--gate: needs", "--junit: needs", "--junit: must be a file"):
        assert part in alone, alone
    assert "--logged-position" in alone
    assert "--vectors" in alone
    nothing = refused(plain=True)
    assert "RUN: is missing: name a run directory, or --scores" in nothing
    bare = refused("--scores", scores, plain=True)
    assert "needs --data" in bare
    assert "needs --out" in bare
    assert "another baseline" in refused("--against", scores, "--against-scores", scores)
    assert "--utility" in refused("--counterfactual")
    assert "replays the old one" in refused("--counterfactual", "--logged-position", plain=True)
    assert "calibrate, tune or test" in refused("--role", "train")
    assert "text or json" in refused("--format", "yaml")
    both = refused("runs/a", "--scores", scores, plain=True)
    assert "is another candidate than RUN" in both
    assert "needs --data" not in both  # with RUN it would need none


def test_the_tests_for_ci_do_not_replace_the_report(refused: Callable[..., str], shop: Path, tmp_path: Path) -> None:
    for name in ("report.html", "metrics.json", "../out/report.html"):
        junit = str(tmp_path / "out" / name)
        assert "would overwrite" in refused("--against", str(shop / "scores.parquet"), "--junit", junit)


def test_every_source_is_looked_at_before_any_is_read(refused: Callable[..., str], shop: Path, tmp_path: Path) -> None:
    """A run that is none, a baseline that is none and rules that are none are one message."""
    rules = tmp_path / "rules.toml"
    rules.write_text("level = 2\n[tolerance]\nap = 7\nauk = 1\n")
    message = refused(str(shop), "--against", str(tmp_path), "--gate", str(rules), plain=True)
    for part in (
        "no run.json",
        "neither a run directory nor a model",
        "level",
        "[tolerance].ap: ",
        "[tolerance].auk: ",
    ):
        assert part in message, message
    assert "does not exist" in refused("--against", str(tmp_path / "nowhere"))
    assert "does not exist" in refused("--against", str(tmp_path / "nowhere.parquet"))
    rules.write_text("[heads.seve]\nap = 0.9\n")
    unknown = refused("--against", str(shop / "scores.parquet"), "--gate", str(rules))
    assert "[heads.seve]: unknown head (the heads are click, save, never)" in unknown
    rules.write_text('[slice_values]\nplatform = ["tv"]\n')
    assert "no slices of it are asked for" in refused("--against", str(shop / "scores.parquet"), "--gate", str(rules))
    assert "there is no such column; there are request, item, platform" in refused("--slice", "plattform")


def test_models_scored_on_different_rows(refused: Callable[..., str], shop: Path, tmp_path: Path) -> None:
    scores = pd.read_parquet(shop / "scores.parquet")
    path = tmp_path / "fewer.parquet"
    scores.drop(index=[7, 8, 399]).to_parquet(path, index=False)
    expected = f"{path}: must score every one of the 400 test rows of shop: 3 of them have no score, the first being "
    for message in (refused(scores=path), refused("--against", str(path))):
        assert f"{expected}request 0, item 7" in message
    scores.assign(request=scores["request"] + 1_000).to_parquet(path, index=False)
    message = refused("--against-scores", str(path))
    assert "400 of them have no score" in message
    assert "400 rows of the file are not in the log at all" in message


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("click", float("nan"), "`click`, row 5: a score must be a number within [0, 1], got nan"),
        ("click", None, "`click`, row 5: a score must be a number within [0, 1], got null"),
        ("save", 1.5, "`save`, row 5: a score must be a number within [0, 1], got 1.5"),
        ("item", None, "`item`, row 5: an id must not be null"),
    ],
)
def test_scores_that_are_none(
    refused: Callable[..., str], shop: Path, tmp_path: Path, column: str, value: float | None, expected: str
) -> None:
    table = pq.read_table(shop / "scores.parquet")
    values = table[column].to_pylist()
    values[5] = value
    at = table.column_names.index(column)
    pq.write_table(
        table.set_column(at, column, pa.array(values, table.schema.field(at).type)), tmp_path / "bad.parquet"
    )
    message = refused(scores=tmp_path / "bad.parquet")
    assert expected in message
    assert message == refused("--against", str(tmp_path / "bad.parquet"))


def test_the_candidate_must_have_the_baselines_heads(
    refused: Callable[..., str], shop: Path, world_run: Path, ranker: Ranker, importance: Ranker, tmp_path: Path
) -> None:
    missing = refused("--against", str(world_run))  # of another log altogether
    assert f"{world_run}: --against: has heads that the candidate" in missing
    assert "lacks: closeup, long_click" in missing
    importance.save(tmp_path / "single")
    single = refused(str(world_run), "--against", str(tmp_path / "single"), plain=True)
    assert "one score and no probability per head" in single
    pq.write_table(pq.read_table(shop / "scores.parquet").drop_columns(["save"]), tmp_path / "two.parquet")
    assert "column `save`: is missing" in refused(scores=tmp_path / "two.parquet")


def test_rows_that_trained_the_baseline(
    world: Path, make_run: Callable[[Ranker, Path], Path], ranker: Ranker, world_run: Path, tmp_path: Path,
    refused: Callable[..., str],
) -> None:  # fmt: skip
    """A baseline whose fit called these rows train rows is refused; one that had a column less is none the worse."""
    older = make_run(ranker, tmp_path / "older")
    record = json.loads((older / "run.json").read_text())
    record["schema"]["columns"]["numeric"] = record["schema"]["columns"]["numeric"][:-1]
    (older / "run.json").write_text(json.dumps(record))
    # what is refused here is the column to slice by: the baseline itself is accepted
    accepted = refused(str(world_run), "--against", str(older), "--slice", "nowhere", plain=True)
    assert "no such column" in accepted
    assert "trained" not in accepted
    seen = row_hashes(Dataset.open(world), "test")[:1]
    record["training_sample"][0] = f"{int(seen[0]):016x}"
    (older / "run.json").write_text(json.dumps(record))
    for baseline in (older, older / "model"):
        message = refused(str(world_run), "--against", str(baseline), plain=True)
        assert f"the baseline {older} was fitted: its test rows may have been trained on" in message


def test_a_new_order_needs_propensities(refused: Callable[..., str]) -> None:
    assert "propensit" in refused("--counterfactual", "--utility", "click=1")


def test_a_head_without_positives_is_null_and_decides_nothing(shop: Path, tmp_path: Path) -> None:
    """Its metrics are null with a reason, never 0, and the verdict cannot be pass."""
    arguments = ["--scores", str(shop / "scores.parquet"), "--data", str(shop), "--out", str(tmp_path), "--quiet"]
    assert main(["evaluate", *arguments, "--against", str(shop / "scores.parquet")]) == 3
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    never = metrics["heads"]["never"]
    assert never["ap"]["value"] is None
    assert "positive" in never["ap"]["reason"]
    [test] = [t for t in metrics["gate"]["tests"] if t["head"] == "never"]
    assert test["outcome"] == "undecided"
    assert test["reason"] is not None
    assert "never" in metrics["gate"]["sentence"]


def test_a_closed_pipe_does_not_change_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """`| head` must not turn a regression into a pass: what cannot be printed ends nothing."""

    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError

    redirected = []
    monkeypatch.setattr("builtins.print", closed)
    monkeypatch.setattr("os.dup2", lambda new, old: redirected.append(old))
    print_json({"verdict": "regression"})
    assert len(redirected) == 1
