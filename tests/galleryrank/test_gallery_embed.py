"""`galleryrank embed`: what it writes, the same bytes every time, a killed run goes on, new photos, refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.gallery import Embeddings, GalleryEncoder
from galleryrank.cli import main

FAST_RANKER = [
    "network.hidden=[8]", "network.embedding_dim=4", "training.epochs=1", "training.batch_size=512", "baselines=[]",
    "training.precision=float32",
]  # fmt: skip


def contents(run: Path) -> dict[str, bytes]:
    """The files of a run but for those that say how long it took."""
    files = [run / "vectors.parquet", run / "vectors.npy", run / "map.png", *(run / "encoder").iterdir()]
    return {file.name: file.read_bytes() for file in files if file.name not in ("history.json", "manifest.json")}


def test_a_run_holds_what_a_colleague_needs(embedded: Path, photo_world: Path) -> None:
    assert {path.name for path in embedded.iterdir()} == {
        "run.json", "encoder", "vectors.parquet", "vectors.npy", "map.png", "metrics.json", "report.html",
    }  # fmt: skip
    record, metrics = (json.loads((embedded / f"{name}.json").read_text()) for name in ("run", "metrics"))
    assert record["settings"]["training"]["epochs"] == 2
    assert "torch" in record["versions"]
    vectors, encoder = Embeddings.open(embedded / "vectors.parquet"), GalleryEncoder.load(embedded / "encoder")
    assert vectors.encoder == encoder.fingerprint
    assert metrics["meta"]["fingerprint"] == encoder.fingerprint[:12]
    assert (len(vectors), vectors.dim) == (metrics["vectors"], metrics["dim"]) == (80, 192)
    assert len(metrics["tasks"]) + len(metrics["left_out"]) == 31
    assert [row["epoch"] for row in metrics["history"]] == [0, 1]
    photos = pq.read_metadata(photo_world / "photos.parquet").num_rows
    masked = sum(tally["count"] for tally in metrics["photos"]["masked"].values())
    assert masked > 0  # the world has damaged files
    assert metrics["photos"]["sound"] == photos - masked
    page = (embedded / "report.html").read_text()
    assert "<img" in page  # the map
    assert "photos that could not be used" in page


def test_the_vectors_that_the_data_set_names_are_made(embedded: Path, photo_world: Path) -> None:
    made = Embeddings.open(photo_world / "vectors.parquet")
    assert np.array_equal(made.matrix, Embeddings.open(embedded / "vectors.parquet").matrix)


def test_embedding_twice_gives_the_same_bytes(
    embedded: Path, photo_world: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    again = tmp_path / "again"
    assert main(["embed", str(photo_world), "--out", str(again), "--format", "json", *quick]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((again / "metrics.json").read_text())
    assert contents(again) == contents(embedded)
    assert any("is of this encoder already" in note for note in printed["notes"])


def test_a_folder_with_something_else_is_refused(
    embedded: Path, photo_world: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = contents(embedded)
    (tmp_path / "notes.txt").write_text("mine")
    for out, more, expected in (
        (embedded, [], "finished"),
        (embedded, ["--set", "seed=3"], "another settings"),
        (tmp_path, [], "not empty"),
    ):
        assert main(["embed", str(photo_world), "--out", str(out), *quick, *more]) == 2
        assert expected in capsys.readouterr().err
    assert contents(embedded) == before
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


LONG = ["--set", "training.epochs=5", "--set", "training.patience=5"]


@pytest.fixture(scope="module")
def whole(photo_world: Path, quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run of five epochs writes when nobody kills it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(["embed", str(photo_world), "--out", str(out), *quick, *LONG]) == 0
    return contents(out)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_to_the_same_vectors(
    photo_world: Path, quick: list[str], whole: dict[str, bytes], tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "killed"
    command = ["embed", str(photo_world), "--out", str(out), *quick, *LONG]
    process = subprocess.Popen(
        [sys.executable, "-m", "galleryrank", *command], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    for _ in range(1200):
        if (out / "checkpoint" / "checkpoint.json").exists():  # after the first epoch
            break
        assert process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.02)
    process.send_signal(how)
    assert process.wait() == (130 if how == signal.SIGINT else -how)
    assert not (out / "encoder").exists()
    assert not (out / "report.html").exists()
    assert main(command) == 0
    assert not (out / "checkpoint").exists()
    assert contents(out) == whole


def test_a_killed_run_does_not_go_on_with_other_photos_or_attributes(
    photo_world: Path,
    quick: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed when the encoder was saved and its vectors were not: the encoder is used again, but for the same data."""
    world, out = tmp_path / "world", tmp_path / "run"
    shutil.copytree(photo_world, world)
    command = ["embed", str(world), "--out", str(out), *quick]

    def kill(*args: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Embeddings, "write", kill)
        assert main(command) == 130
    assert (out / "encoder").is_dir()
    assert not (out / "report.html").exists()
    items, photos = (pq.read_table(world / name) for name in ("items.parquet", "photos.parquet"))
    pool = items.column_names.index("pool")
    other = items.set_column(pool, "pool", pa.array(~items["pool"].to_numpy(zero_copy_only=False).astype(bool)))
    for name, table, changed in (("items", items, other), ("photos", photos, photos.slice(1))):
        pq.write_table(changed, world / f"{name}.parquet")
        assert main(command) == 2
        assert "photos or attributes have changed" in capsys.readouterr().err
        pq.write_table(table, world / f"{name}.parquet")
    assert main(command) == 0
    assert len(json.loads((out / "run.json").read_text())["data"]) == 64


def test_the_cache_of_the_frozen_part_lies_in_the_run_until_it_ends(
    photo_world: Path, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    fit = GalleryEncoder.fit

    def watched(*args: object, **named: object) -> GalleryEncoder:
        encoder = fit(*args, **named)  # type: ignore[arg-type]
        found.extend(path.name for path in (tmp_path / "run" / "cache").iterdir())
        return encoder

    monkeypatch.setattr(GalleryEncoder, "fit", watched)
    more = ["--set", "train=last_block", "--set", "cache=prefix"]
    assert main(["embed", str(photo_world), "--out", str(tmp_path / "run"), *quick, *more]) == 0
    assert [name.startswith("prefix-") for name in found] == [True]
    assert not (tmp_path / "run" / "cache").exists()


@pytest.fixture(scope="module")
def new_photos(photo_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Items that are new: other ids, no attributes, some of the world's photos."""
    folder = tmp_path_factory.mktemp("new")
    photos = pq.read_table(photo_world / "photos.parquet", columns=["item_id", "order", "jpeg"])
    few = photos.filter(pa.array(photos["item_id"].to_numpy() < 12))
    few = few.set_column(0, "item_id", pa.array(few["item_id"].to_numpy() + 1000))
    pq.write_table(few, folder / "photos.parquet")
    pq.write_table(pa.table({"item_id": np.unique(few["item_id"].to_numpy())}), folder / "items.parquet")
    (folder / "dataset.toml").write_text(
        'name = "new"\n[files]\nitems = "items.parquet"\nphotos = "photos.parquet"\n[columns]\nitem = "item_id"\n'
        '[gallery]\nimage = "jpeg"\norder = "order"\n'
    )
    return folder


def test_new_photos_by_the_same_encoder_are_scored_and_others_are_refused(
    embedded: Path,
    photo_world: Path,
    new_photos: Path,
    quick: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    new, other, run = tmp_path / "new", tmp_path / "other", tmp_path / "run"
    assert main(["embed", str(new_photos), "--encoder", str(embedded), "--out", str(new), "--quiet"]) == 0
    assert main(["embed", str(photo_world), "--out", str(other), "--untrained", *quick]) == 0
    vectors, old = Embeddings.open(new / "vectors.parquet"), Embeddings.open(embedded / "vectors.parquet")
    assert vectors.encoder == old.encoder
    assert vectors.ids.min() >= 1000
    np.testing.assert_allclose(vectors.matrix, old.matrix[vectors.ids - 1000], atol=1e-5)
    assert not (new / "encoder").exists()  # the one that was given is not copied
    assert not (new / "map.png").exists()  # nothing to colour it by

    sets = [part for setting in FAST_RANKER for part in ("--set", setting)]
    assert main(["fit", str(photo_world), "--out", str(run), "--quiet", *sets]) == 0
    log = pq.read_table(photo_world / "impressions.parquet").slice(0, 200)
    moved = pa.array(np.where(log["item_id"].to_numpy() < 12, log["item_id"].to_numpy() + 1000, log["item_id"]))
    pq.write_table(log.set_column(log.column_names.index("item_id"), "item_id", moved), tmp_path / "log.parquet")
    score = ["score", str(run), str(tmp_path / "log.parquet"), "--out", str(tmp_path / "s.parquet"), "--quiet"]
    assert main([*score, "--vectors", str(new / "vectors.parquet")]) == 0
    assert pd.read_parquet(tmp_path / "s.parquet")["click"].between(0, 1).all()
    (tmp_path / "s.parquet").unlink()
    capsys.readouterr()
    assert main([*score, "--vectors", str(other / "vectors.parquet")]) == 2
    message = capsys.readouterr().err
    assert "galleryrank embed DATASET --encoder ENCODER_DIR --out DIR" in message
    assert old.encoder[:12] in message
    assert not (tmp_path / "s.parquet").exists()


def test_another_encoder_leaves_the_data_sets_vectors_alone(
    embedded: Path, photo_world: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    loud = [option for option in quick if option != "--quiet"]
    assert main(["embed", str(photo_world), "--out", str(tmp_path / "run"), "--untrained", *loud]) == 0
    assert "was left as it is" in capsys.readouterr().err
    named = Embeddings.open(photo_world / "vectors.parquet").encoder
    assert named == Embeddings.open(embedded / "vectors.parquet").encoder
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["tasks"] == metrics["history"] == []
    assert metrics["meta"]["fingerprint"] != named[:12]
    assert any("untrained weights are never" in note for note in metrics["notes"])


def test_untrained_vectors_never_become_the_data_sets_own(
    embedded: Path, photo_world: Path, quick: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "world"
    shutil.copytree(photo_world, folder)
    (folder / "vectors.parquet").unlink()
    assert main(["embed", str(folder), "--out", str(tmp_path / "untrained"), "--untrained", *quick]) == 0
    assert not (folder / "vectors.parquet").exists()
    given = ["--encoder", str(embedded), "--quiet"]
    assert main(["embed", str(folder), "--out", str(tmp_path / "given"), *given]) == 0
    notes = json.loads((tmp_path / "given" / "metrics.json").read_text())["notes"]
    assert any("also written to" in note for note in notes)
    assert Embeddings.open(folder / "vectors.parquet").encoder == Embeddings.open(embedded / "vectors.parquet").encoder


@pytest.mark.parametrize("command", ["embed", "fit"])
def test_the_held_out_column_is_refused_by_every_trainer(
    command: str, photo_world: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, out = tmp_path / "world", tmp_path / "run"
    shutil.copytree(photo_world, folder)
    text = (folder / "dataset.toml").read_text()
    before, after = {
        "embed": ('multiclass = ["', 'multiclass = ["star_rating", "'),
        "fit": ('numeric = ["', 'numeric = ["star_rating", "'),
    }[command]
    assert before in text
    (folder / "dataset.toml").write_text(text.replace(before, after))
    assert main([command, str(folder), "--out", str(out), *(quick if command == "embed" else ["--quiet"])]) == 2
    message = capsys.readouterr().err
    assert "star_rating" in message
    assert "hold" in message
    assert not out.exists()


def test_options_that_contradict_each_other(
    embedded: Path, photo_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = ["--out", str(tmp_path / "run")]
    for more, expected in (
        (["--encoder", str(embedded), "--untrained"], "--untrained"),
        (["--encoder", str(embedded), "--set", "seed=1"], "--set"),
        (["--encoder", str(photo_world)], str(photo_world)),
        (["--device", "abacus"], "--device"),
        (["--format", "xml"], "--format"),
        (["--set", "pooling=median", "--set", "photo_size=8", "--set", "colour=blue"], "3 errors"),
        (["--set", "backbone=no_such_network"], "no_such_network"),
    ):
        assert main(["embed", str(photo_world), *out, *more]) == 2, more
        message = capsys.readouterr().err
        assert expected in message, message
        assert "Traceback" not in message
        assert not (tmp_path / "run").exists()
