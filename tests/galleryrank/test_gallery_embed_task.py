"""`galleryrank embed --task`: the vectors of one attribute, by an encoder with modulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.gallery import Embeddings
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
    report = (tmp_path / "pool" / "report.html").read_text()
    assert "vectors of the one task" in report
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
