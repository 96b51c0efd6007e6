"""The commands as a user runs them: check, fit, score, evaluate; what they write, and what they say."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import Dataset
from galleryrank.cli import main
from galleryrank.settings import load_config

FAST = [
    "network.hidden=[8]", "network.embedding_dim=4", "training.epochs=2", "training.batch_size=512",
    "trees.rounds=5", "trees.early_stopping=0", "trees.threads=1", "training.precision=float32",
]  # fmt: skip
SETS = [part for setting in FAST for part in ("--set", setting)]


@pytest.fixture(scope="module")
def run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report."""
    out = tmp_path_factory.mktemp("runs") / "a"
    assert main(["fit", str(world), "--out", str(out), "--quiet", *SETS]) == 0
    assert main(["evaluate", str(out), "--quiet"]) == 0
    return out


def test_a_run_directory_holds_what_a_colleague_needs(run: Path) -> None:
    names = {p.name for p in run.iterdir()}
    assert names == {"run.json", "model", "baselines", "metrics.json", "report.html"}
    assert {p.name for p in (run / "baselines").iterdir()} == {"lightgbm", "importance"}
    record = json.loads((run / "run.json").read_text())
    assert record["settings"]["network"]["hidden"] == [8]
    assert record["settings"]["training"]["seed"] == 0
    assert len(record["data_sha256"]) >= 1
    assert "torch" in record["versions"]


def test_metrics_hold_every_head_with_intervals(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics["heads"]) == ["closeup", "click", "long_click", "save"]
    click = metrics["heads"]["click"]
    for key in ("ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio"):
        assert click[key]["low"] <= click[key]["value"] <= click[key]["high"]
    assert metrics["stages"] == ["sampled (logged)", "naive (logged)", "corrected (logged)", "calibrated"]
    assert set(metrics["comparisons"]) == {"lightgbm", "importance"}
    assert metrics["position"] is not None
    assert metrics["meta"]["role"] == "test"


def test_evaluate_json_on_stdout_is_metrics_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(run), "--format", "json", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "metrics.json").read_text())
    assert printed["heads"] == json.loads((run / "metrics.json").read_text())["heads"]


def test_evaluate_at_the_logged_position_says_so(run: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(run), "--logged-position", "--quiet", "--out", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["position"] is None
    assert metrics["meta"]["position"] == "as logged"
    assert any("replays" in note for note in metrics["notes"])


def test_score_writes_the_whole_log(run: Path, world: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    log = str(world.parent / "impressions.parquet")
    assert main(["score", str(run), log, "--out", str(out), "--utility", "save=1", "--quiet"]) == 0
    scores = pd.read_parquet(out)
    assert len(scores) == pq.read_metadata(log).num_rows
    assert (scores["utility"] - scores["save"]).abs().max() < 1e-6
    again = tmp_path / "again.parquet"
    assert main(["score", str(run / "model"), log, "--out", str(again), "--quiet"]) == 0


def test_a_finished_fit_is_not_overwritten(run: Path, world: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["fit", str(world), "--out", str(run), "--quiet", *SETS]) == 2
    assert "finished" in capsys.readouterr().err
    assert main(["fit", str(world), "--out", str(run), "--quiet", "--set", "seed=5"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_an_interrupted_fit_goes_on_with_what_is_missing(run: Path, world: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(run, part)
    shutil.rmtree(part / "baselines" / "importance")
    before = (part / "model" / "manifest.json").stat().st_mtime_ns
    assert main(["fit", str(world), "--out", str(part), "--quiet", *SETS]) == 0
    assert (part / "baselines" / "importance" / "manifest.json").is_file()
    assert (part / "model" / "manifest.json").stat().st_mtime_ns == before


def test_check_prints_a_draft_that_loads(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = world.parent / "impressions.parquet"
    bare = tmp_path / "log.parquet"
    table = pq.read_table(log)
    keep = [c for c in table.column_names if not c.startswith(("true_", "conditional_"))]
    pq.write_table(table.select(keep).slice(0, 5000), bare)
    assert main(["check", str(bare)]) == 0
    drafted = capsys.readouterr().out
    (tmp_path / "dataset.toml").write_text(drafted)
    schema = Dataset.open(tmp_path).schema
    assert schema.columns.request == "request_id"
    assert {"closeup", "click", "long_click", "save"} <= set(schema.heads)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset.toml", "log.parquet"]
    assert main(["check", str(tmp_path)]) == 0
    assert "no faults" in capsys.readouterr().err


def test_check_writes_where_it_is_told_and_never_over_a_file(world: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.parquet"
    pq.write_table(pq.read_table(world.parent / "impressions.parquet").slice(0, 2000), log)
    out = tmp_path / "dataset.toml"
    assert main(["check", str(log), "--out", str(out), "--quiet"]) == 0
    text = out.read_text()
    assert main(["check", str(log), "--out", str(out), "--quiet"]) == 2
    assert out.read_text() == text


@pytest.mark.parametrize("verb", ["check", "fit", "score", "evaluate", "demo"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture) -> None:
    assert main([verb, "--help"]) == 0
    assert "Example:" in capsys.readouterr().out


def test_an_edited_description_is_noticed(
    run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Neither a resumed fit nor an evaluation may mix two descriptions of the same rows."""
    folder, part = tmp_path / "data", tmp_path / "run"
    shutil.copytree(world.parent, folder)
    shutil.copytree(run, part)
    shutil.rmtree(part / "baselines" / "importance")
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text.replace("serving_value = 1", "serving_value = 2"))
    assert main(["fit", str(folder), "--out", str(part), "--quiet", *SETS]) == 2
    assert "another dataset.toml" in capsys.readouterr().err
    (folder / "dataset.toml").write_text(re.sub(r'by = "column"\ncolumn = "role"[^\n]*', 'by = "request"', text))
    assert main(["evaluate", str(run), "--data", str(folder), "--quiet"]) == 2
    assert "may have been trained on" in capsys.readouterr().err


def test_heads_are_matched_by_name(run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A description with the heads in another order gives the same numbers; with other heads it is refused."""
    folder = tmp_path / "data"
    shutil.copytree(world.parent, folder)
    text = (folder / "dataset.toml").read_text()
    blocks = re.findall(r"^\[heads\.\w+\]\n(?:(?!\[).*\n)*", text, flags=re.MULTILINE)
    for block in blocks:
        text = text.replace(block, "")
    (folder / "dataset.toml").write_text(text + "\n" + "\n".join(reversed(blocks)))
    assert main(["evaluate", str(run), "--data", str(folder), "--out", str(tmp_path / "e"), "--quiet"]) == 0
    got, expected = (json.loads((p / "metrics.json").read_text()) for p in (tmp_path / "e", run))
    assert got["heads"]["click"] == expected["heads"]["click"]
    (folder / "dataset.toml").write_text(text + "\n" + "\n".join(b for b in blocks if "save" not in b))
    assert main(["evaluate", str(run), "--data", str(folder), "--quiet"]) == 2
    assert "save" in capsys.readouterr().err


def test_baselines_are_what_their_names_say() -> None:
    for override in ("model=lightgbm", "objective=importance"):
        settings = load_config(None, [override])
        made = {name: settings.baseline(name) for name in ("lightgbm", "importance", "importance_lightgbm")}
        assert {n: (c.model, c.objective) for n, c in made.items()} == {
            "lightgbm": ("lightgbm", "multi_head"),
            "importance": ("network", "importance"),
            "importance_lightgbm": ("lightgbm", "importance"),
        }


def test_a_demo_does_not_write_into_a_fit(run: Path, capsys: pytest.CaptureFixture) -> None:
    before = sorted(p.name for p in run.iterdir())
    assert main(["demo", "--out", str(run), "--quiet"]) == 2
    assert "holds a fit" in capsys.readouterr().err
    assert sorted(p.name for p in run.iterdir()) == before


def test_rows_written_anew_are_recognised(
    run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Another file with the same rows under another split: its hash is new, its rows are not."""
    folder = tmp_path / "data"
    shutil.copytree(world.parent, folder)
    log = pq.read_table(folder / "impressions.parquet")
    at = log.column_names.index("role")
    turned = pa.array([{"train": "test", "test": "train"}.get(r, r) for r in log["role"].to_pylist()])
    pq.write_table(log.set_column(at, "role", turned), folder / "impressions.parquet", compression="gzip")
    assert main(["evaluate", str(run), "--data", str(folder), "--quiet"]) == 2
    assert "100% of a sample of the training rows" in capsys.readouterr().err


def test_a_moved_or_a_new_log_is_evaluated(run: Path, world: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(world.parent, moved)
    assert main(["evaluate", str(run), "--data", str(moved), "--out", str(tmp_path / "m"), "--quiet"]) == 0
    new = tmp_path / "new"
    shutil.copytree(world.parent, new)
    log = pq.read_table(new / "impressions.parquet")
    at = log.column_names.index("request_id")
    fresh = pa.array(log["request_id"].to_numpy() + 10_000_000)
    pq.write_table(log.set_column(at, "request_id", fresh), new / "impressions.parquet")
    assert main(["evaluate", str(run), "--data", str(new), "--out", str(tmp_path / "n"), "--quiet"]) == 0
