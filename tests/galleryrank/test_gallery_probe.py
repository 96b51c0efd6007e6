"""`galleryrank probe`: the arms of table 2, a hold-out of numbers, a killed run, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.gallery.probe import HoldoutProbe
from galleryrank.cli import main

pytestmark = pytest.mark.usefixtures("quick_probes")


def probe(world: Path, encoder: Path, out: Path, *more: str) -> int:
    fast = ["--device", "cpu", "--quiet", "--seeds", "1", "--epochs", "1"]
    return main(["probe", str(world), "--encoder", str(encoder), "--out", str(out), *fast, *more])


def metrics_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())


def test_every_arm_is_probed_at_every_budget(
    photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "run"
    more = ["--truth", "latent_*", "--format", "json"]
    assert probe(photo_world, embedded, out, *more) == 0
    metrics = metrics_of(out)
    assert json.loads(capsys.readouterr().out) == metrics
    assert metrics["attribute"] == "star_rating"
    assert {row["arm"] for row in metrics["accuracy"]} == {"the encoder", "random encoder", "truth", "end to end"}
    assert len({row["budget"] for row in metrics["accuracy"]}) == 2
    assert 0 < metrics["majority"]["accuracy"] < 1
    assert metrics["control"]
    assert metrics["times"]
    assert "random encoder" in (out / "report.html").read_text()
    assert probe(photo_world, embedded, out, *more) == 2
    assert "finished" in capsys.readouterr().err


def with_holdout(world: Path, folder: Path, values: pa.Array) -> Path:
    """The world with another column under `star_rating`."""
    shutil.copytree(world, folder)
    items = pq.read_table(folder / "items.parquet")
    at = items.column_names.index("star_rating")
    pq.write_table(items.set_column(at, "star_rating", values), folder / "items.parquet")
    return folder


def test_a_killed_probe_goes_on_and_a_number_is_probed_as_one_too(
    photo_world: Path, embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_holdout(photo_world, tmp_path / "data", pa.array(np.random.default_rng(0).normal(size=80)))
    out, run = tmp_path / "run", HoldoutProbe.run

    def killed(self: HoldoutProbe, *arguments: Any, **more: Any) -> Any:
        run(self, *arguments, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(HoldoutProbe, "run", killed)
    assert probe(folder, embedded, out, "--no-end-to-end") == 130
    kept = {file.name: file.stat().st_mtime_ns for file in (out / "fits").rglob("*.json")}
    assert kept
    monkeypatch.setattr(HoldoutProbe, "run", run)
    assert probe(folder, embedded, out, "--no-end-to-end") == 0
    again = {file.name: file.stat().st_mtime_ns for file in (out / "fits").rglob("*.json")}
    assert kept.items() <= again.items()
    metrics = metrics_of(out)
    assert len(metrics["classes"]) == 5
    assert list(metrics["values"]) == ["star_rating"]
    assert any("--no-end-to-end" in note for note in metrics["notes"])


def test_what_cannot_be_probed(
    photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for more, expected in (
        (["--holdout", "pool"], ["--holdout", "star_rating", "pool"]),
        (["--seeds", "0"], ["--seeds"]),
        (["--device", "abacus"], ["--device"]),
    ):
        assert probe(photo_world, embedded, tmp_path / "run", *more) == 2, more
        message = capsys.readouterr().err
        assert "Traceback" not in message
        for words in expected:
            assert words in message, message
        assert not (tmp_path / "run").exists()
    assert probe(photo_world, photo_world, tmp_path / "run") == 2
    assert "encoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "values",
    [
        pa.array([3] * 80),
        pa.nulls(80, pa.int64()),
        pa.array([1, 2] * 4 + [None] * 72),
        pa.array([1] * 79 + [2]),
    ],
    ids=["one class", "none observed", "eight items", "one item of another class"],
)
def test_a_hold_out_of_which_too_little_is_known(
    values: pa.Array, photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = with_holdout(photo_world, tmp_path / "data", values)
    assert probe(folder, embedded, tmp_path / "run", "--no-end-to-end") == 2
    message = capsys.readouterr().err
    assert "star_rating" in message
    assert "Traceback" not in message
