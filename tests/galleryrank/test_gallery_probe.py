"""`galleryrank probe`: the arms of table 2, a hold-out of numbers, a killed run, and what is refused."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.gallery.probe import HoldoutProbe
from features import InputError
from features.gallery import GalleryData
from galleryrank.cli import main
from galleryrank.holdout import held_out
from galleryrank.probe import truth_columns

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
        pa.array([1.5, 2.5, np.inf, 3.5] * 20),
        pa.array([[1, 2]] * 80),
        pa.array([date(2026, 1, day % 28 + 1) for day in range(80)]),
    ],
    ids=["one class", "none observed", "eight items", "one item of another class", "infinite", "lists", "dates"],
)
def test_a_hold_out_that_cannot_be_probed(
    values: pa.Array, photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = with_holdout(photo_world, tmp_path / "data", values)
    assert probe(folder, embedded, tmp_path / "run", "--no-end-to-end") == 2
    message = capsys.readouterr().err
    assert "star_rating" in message
    assert "Traceback" not in message


def fault_of(folder: Path, has_vector: np.ndarray) -> str:
    with pytest.raises(InputError) as error:
        held_out(GalleryData.open(folder), "star_rating", has_vector)
    return str(error.value)


def test_a_fault_of_the_hold_out_names_row_value_and_type(photo_world: Path, tmp_path: Path) -> None:
    every = np.ones(80, bool)
    numbers = np.arange(80.0)
    numbers[[7, 9]] = np.inf, -np.inf
    folder = with_holdout(photo_world, tmp_path / "infinite", pa.array(numbers))
    assert "row 7: must be finite, got inf (2 rows; then row 9: -inf)" in fault_of(folder, every)
    folder = with_holdout(photo_world, tmp_path / "lists", pa.array([[1, 2]] * 80))
    assert "must be numbers, text or booleans to be probed, got type list" in fault_of(folder, every)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1.0, 2.0, None, 5.0] * 20), ["1", "2", "5"]),
        (pa.array([1.5, 2.0, None, 5.0] * 20), ["1.5", "2.0", "5.0"]),
        (pa.array([1, None, 3, 3] * 20), ["1", "3"]),
        (pa.array(["two", "one", None, "one"] * 20).dictionary_encode(), ["one", "two"]),
        (pa.array([True, False, None, False] * 20), ["False", "True"]),
        (pa.array([1, 2] * 40).cast(pa.decimal128(21, 2)), ["1", "2"]),
    ],
    ids=["whole floats", "fractions", "integers", "words", "booleans", "decimals"],
)
def test_classes_are_shown_as_they_were_meant(
    values: pa.Array, expected: list[str], photo_world: Path, tmp_path: Path
) -> None:
    data = GalleryData.open(with_holdout(photo_world, tmp_path / "data", values))
    found = held_out(data, "star_rating", np.ones(80, bool))
    assert list(HoldoutProbe(found.labels, found.design).names) == expected


def test_columns_of_the_truth_are_finite_and_not_held_out(photo_world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(photo_world, folder)
    items = pq.read_table(folder / "items.parquet")
    gaps = pa.array([None, 2.0, 4.0, 3.0] * 20)
    items = items.append_column("star_hint", gaps).append_column("none", pa.nulls(80, pa.float64()))
    items = items.append_column("endless", pa.array([np.inf] + [0.0] * 79))
    pq.write_table(items, folder / "items.parquet")
    data = GalleryData.open(folder)
    found = truth_columns(data, ["star_*"])  # star_rating is held out
    assert found[:4].tolist() == [[3.0], [2.0], [4.0], [3.0]]
    for patterns, words in (
        (["star_rating"], ["star_rating", "holdout"]),
        (["none", "endless"], ["`none`", "`endless`", "must be finite and known"]),
        (["star_r*"], ["matches no column"]),
    ):
        with pytest.raises(InputError) as error:
            truth_columns(data, patterns)
        assert all(word in str(error.value) for word in words), error.value
