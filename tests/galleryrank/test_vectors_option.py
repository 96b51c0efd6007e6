"""--vectors of fit, score and evaluate: other galleries, none, new items; another encoder's are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galleryrank.cli import main

ONE, OTHER = "a1" * 32, "b2" * 32
FAST = [
    "network.hidden=[8]", "network.embedding_dim=4", "training.epochs=1", "training.batch_size=512", "trees.rounds=3",
    "trees.early_stopping=0", "trees.threads=1", "training.precision=float32", 'baselines=["lightgbm"]',
]  # fmt: skip
SETS = ["--quiet", *(part for setting in FAST for part in ("--set", setting))]
GALLERY = """
[gallery]
image = "jpeg"
max_photos = 12
[gallery.tasks]
binary = ["pool"]
"""


def stamped(table: pa.Table, encoder: str) -> pa.Table:
    said = {"encoder": encoder, "photos": "c" * 64, "dim": 64, "version": 1}
    return table.replace_schema_metadata({"galleryrank.embedding": json.dumps(said)})


@pytest.fixture(scope="module")
def data(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A marketplace with photos in its description, whose vectors were made by encoder ONE."""
    folder = tmp_path_factory.mktemp("vectors") / "data"
    shutil.copytree(world.parent, folder)
    table = pq.read_table(folder / "vectors.parquet")
    pq.write_table(stamped(table, ONE), folder / "vectors.parquet")
    pq.write_table(stamped(table, OTHER), folder.parent / "other.parquet")
    ids = table["item_id"].to_numpy()
    new = table.set_column(0, "item_id", pa.array(ids + 10**6))
    pq.write_table(stamped(new, ONE), folder.parent / "new.parquet")
    pq.write_table(stamped(table.filter(pa.array(ids % 4 != 0)), ONE), folder.parent / "partial.parquet")
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text.replace("[columns]", 'photos = "photos.parquet"\n[columns]') + GALLERY)
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    out = data.parent / "run"
    assert main(["fit", str(data), "--out", str(out), *SETS]) == 0
    return out


def coverage(metrics: Path) -> float:
    return json.loads(metrics.read_text())["meta"]["rows with an item vector"]


def test_the_fingerprint_is_in_the_model(run: Path) -> None:
    for model in (run / "model", run / "baselines" / "lightgbm"):
        assert json.loads((model / "config.json").read_text())["embedding"]["encoder"] == ONE


def test_evaluate_takes_the_data_sets_vectors_and_tells_their_coverage(run: Path, data: Path, tmp_path: Path) -> None:
    out = ["--quiet", "--out", str(tmp_path)]
    assert main(["evaluate", str(run), *out]) == 0
    assert coverage(tmp_path / "metrics.json") == 1.0
    whole = json.loads((tmp_path / "metrics.json").read_text())["heads"]["click"]["auc"]["value"]
    assert main(["evaluate", str(run), *out, "--vectors", str(data.parent / "partial.parquet")]) == 0
    items = pd.read_parquet(data / "impressions.parquet", columns=["item_id", "role"]).query("role == 'test'")
    assert coverage(tmp_path / "metrics.json") == pytest.approx((items["item_id"] % 4 != 0).mean())
    assert json.loads((tmp_path / "metrics.json").read_text())["heads"]["click"]["auc"]["value"] != whole


def test_another_encoder_is_refused_by_evaluate_and_score(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = str(data.parent / "other.parquet")
    edited = tmp_path / "data"  # the photos were embedded anew, by another encoder, under the same file name
    shutil.copytree(data, edited)
    shutil.copy(other, edited / "vectors.parquet")
    log, scores = str(data / "impressions.parquet"), tmp_path / "s.parquet"
    for command in (
        ["evaluate", str(run), "--data", str(edited)],
        ["evaluate", str(run), "--vectors", other],
        ["score", str(run), log, "--out", str(scores), "--vectors", other],
    ):
        assert main([*command, "--quiet"]) == 2
        message = capsys.readouterr().err
        for part in (ONE[:12], OTHER[:12], "galleryrank embed DATASET --encoder ENCODER_DIR --out DIR", ".parquet: "):
            assert part in message, message
    assert not scores.exists()


def test_new_items_are_scored_without_a_refit(run: Path, data: Path, tmp_path: Path) -> None:
    log = pq.read_table(data / "impressions.parquet").slice(0, 400)
    at = log.column_names.index("item_id")
    ids = log["item_id"].to_numpy()
    mixed = np.where(np.arange(400) % 2 == 0, ids + 10**6, ids)  # every other candidate is new
    pq.write_table(log.set_column(at, "item_id", pa.array(mixed)), tmp_path / "log.parquet")
    command = ["score", str(run), str(tmp_path / "log.parquet"), "--quiet", "--out"]
    assert main([*command, str(tmp_path / "without.parquet")]) == 0
    assert main([*command, str(tmp_path / "with.parquet"), "--vectors", str(data.parent / "new.parquet")]) == 0
    without, seen = (pd.read_parquet(tmp_path / f"{name}.parquet")["click"].to_numpy() for name in ("without", "with"))
    np.testing.assert_allclose(seen[1::2], without[1::2], rtol=1e-5)
    assert (np.abs(seen[::2] - without[::2]) > 1e-6).mean() > 0.9


def test_a_fit_without_galleries_stays_without(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "none"
    assert main(["fit", str(data), "--out", str(out), "--vectors", "none", *SETS]) == 0
    assert json.loads((out / "run.json").read_text())["vectors"] is False
    assert json.loads((out / "model" / "config.json").read_text())["embedding"] is None
    assert main(["evaluate", str(out), "--quiet"]) == 0
    assert "rows with an item vector" not in json.loads((out / "metrics.json").read_text())["meta"]
    assert main(["evaluate", str(out), "--data", str(data), "--quiet"]) == 0  # the data set may have what it likes
    new = str(data.parent / "new.parquet")
    for command in (["evaluate", str(out)], ["score", str(out), str(data / "impressions.parquet"), "--out", "s"]):
        assert main([*command, "--vectors", new, "--quiet"]) == 2
        assert "without item vectors" in capsys.readouterr().err
    assert main(["fit", str(data), "--out", str(out), *SETS]) == 2  # another fit
    assert "another dataset.toml" in capsys.readouterr().err


def test_a_fit_on_other_vectors_finds_them_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "other"
    monkeypatch.chdir(data.parent)
    assert main(["fit", str(data), "--out", str(out), "--vectors", "other.parquet", *SETS]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(out), "--quiet"]) == 0  # and not the data set's own, which it could not use
    assert coverage(out / "metrics.json") == 1.0


def test_an_edited_gallery_is_no_other_log(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """An interrupted fit goes on when only the reading of photos was changed, and is still told what did change."""
    part, folder = tmp_path / "part", tmp_path / "data"
    shutil.copytree(run, part)
    shutil.copytree(data, folder)
    shutil.rmtree(part / "baselines")
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text.replace("max_photos = 12", "max_photos = 44"))
    assert main(["fit", str(folder), "--out", str(part), *SETS]) == 0
    assert (part / "baselines" / "lightgbm" / "manifest.json").is_file()
    assert main(["evaluate", str(part), "--quiet"]) == 0
    (folder / "dataset.toml").write_text(text.replace("serving_value = 1", "serving_value = 2"))
    assert main(["fit", str(folder), "--out", str(part), *SETS]) == 2
    assert "another dataset.toml" in capsys.readouterr().err


def test_vectors_that_are_not_made_yet(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "vectors.parquet").unlink()
    assert main(["fit", str(folder), "--out", str(tmp_path / "run"), *SETS]) == 2
    message = capsys.readouterr().err
    assert f"galleryrank embed {folder / 'dataset.toml'} --out DIR" in message
    assert "--vectors none" in message
    assert main(["fit", str(data), "--out", str(tmp_path / "run"), "--vectors", "absent.parquet", *SETS]) == 2
    assert "absent.parquet" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_of_vectors_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    part = tmp_path / "part"
    shutil.copytree(run, part)
    record = json.loads((part / "run.json").read_text())
    for damage in (True, 3, ["a"]):
        (part / "run.json").write_text(json.dumps(record | {"vectors": damage}))
        assert main(["evaluate", str(part)]) == 2
        assert "vectors" in capsys.readouterr().err
