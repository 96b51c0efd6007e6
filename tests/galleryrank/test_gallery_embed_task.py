"""`galleryrank embed --task`: the vectors of one attribute, by an encoder with modulation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.gallery import Embeddings, GalleryEncoder
from galleryrank.cli import main


@pytest.fixture(scope="module")
def modulated(photo_world: Path, quick: list[str]) -> Path:
    out = photo_world.parent / "modulated"
    options = ["--set", "modulation=true", "--set", "modulation_tasks=2"]
    assert main(["embed", str(photo_world), "--out", str(out), *quick, *options]) == 0
    return out


def test_a_tasks_vectors_have_a_fingerprint_of_their_own(modulated: Path, photo_world: Path, tmp_path: Path) -> None:
    own = Embeddings.open(modulated / "vectors.parquet")
    before = (photo_world / "vectors.parquet").stat()
    arguments = ["embed", str(photo_world), "--encoder", str(modulated), "--quiet", "--device", "cpu"]
    assert main([*arguments, "--task", "pool", "--out", str(tmp_path / "pool")]) == 0
    found = Embeddings.open(tmp_path / "pool" / "vectors.parquet")
    assert found.encoder != own.encoder
    assert np.array_equal(found.ids, own.ids)
    assert not np.allclose(found.matrix, own.matrix, atol=1e-3)
    assert (photo_world / "vectors.parquet").stat() == before  # one task's are never the data set's own
    assert (own.task, found.task) == (None, "pool")
    assert "vectors of the one task" in (tmp_path / "pool" / "report.html").read_text()
    assert main([*arguments, "--out", str(tmp_path / "all")]) == 0
    assert Embeddings.open(tmp_path / "all" / "vectors.parquet").encoder == own.encoder


def test_what_is_refused(
    modulated: Path, embedded: Path, photo_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["embed", str(photo_world), "--task", "sauna", "--out", str(tmp_path / "out")]
    for options, message in (
        (["--encoder", str(modulated)], "must be one of chain, "),
        (["--encoder", str(embedded)], "was made without modulation"),
        ([], "--task needs --encoder"),
    ):
        assert main([*arguments, *options]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_tasks_vectors_are_searched_under_its_masks(
    modulated: Path, photo_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the encoder that `--encoder` named, on a data set that names no vectors of its own."""
    toml = (photo_world / "dataset.toml").read_text()
    data = photo_world / "without_vectors.toml"
    data.write_text("\n".join(line for line in toml.splitlines() if not line.startswith("vectors = ")) + "\n")
    encoder, out = shutil.copytree(modulated / "encoder", tmp_path / "encoder"), tmp_path / "pool"
    options = ["--quiet", "--device", "cpu"]
    embed = ["embed", str(data), "--encoder", str(encoder), "--task", "pool", "--out", str(out), *options]
    assert main(embed) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["meta"]["task"] == "pool"
    assert any("the masks of the one task 'pool'" in note for note in metrics["notes"])
    assert "the masks of the one task" in (out / "report.html").read_text()
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(pq.read_table(photo_world / "photos.parquet", columns=["jpeg"])["jpeg"][0].as_py())
    reviews = str(photo_world / "review_photos.parquet")
    retrieve = ["retrieve", str(data), "--embedded", str(out), *options, "--out"]
    assert main([*retrieve, str(tmp_path / "by_photo"), "--photo", str(photo), "--reviews", reviews]) == 0
    found = json.loads((tmp_path / "by_photo" / "metrics.json").read_text())
    vectors = Embeddings.open(out / "vectors.parquet")
    (query,) = GalleryEncoder.load(encoder).embed([[photo.read_bytes()]], task="pool", device="cpu").matrix
    cosine = vectors.matrix @ query / np.linalg.norm(vectors.matrix, axis=1) / np.linalg.norm(query)
    assert found["results"][0]["item"] == vectors.ids[cosine.argmax()]
    assert found["results"][0]["similarity"] == pytest.approx(float(cosine.max()), abs=1e-5)
    assert (found["meta"]["task"], found["meta"]["fingerprint"]) == ("pool", vectors.encoder[:12])
    shutil.rmtree(encoder)
    assert main([*retrieve, str(tmp_path / "gone"), "--item", "7"]) == 2
    assert "is no longer there" in " ".join(capsys.readouterr().err.split())


def test_masks_and_groups_are_told(modulated: Path, photo_world: Path, quick: list[str], tmp_path: Path) -> None:
    notes = json.loads((modulated / "metrics.json").read_text())["notes"]
    assert any(note.startswith("Modulation: how far each task's masks are from 1") for note in notes)
    assert main(["embed", str(photo_world), "--out", str(tmp_path / "s"), *quick, "--set", "sharing=variance"]) == 0
    notes = json.loads((tmp_path / "s" / "metrics.json").read_text())["notes"]
    assert any(note.startswith("Hidden layers of the heads (variance): ") for note in notes)
    assert "Hidden layers of the heads (variance)" in (tmp_path / "s" / "report.html").read_text()
