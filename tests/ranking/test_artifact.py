"""A model on disk: what is loaded scores bit for bit like what was saved; anything changed is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import InputError
from features.artifact import sha256
from ranking import NetworkConfig, Prepared, Ranker, RankerConfig, Utility, fit_prepared
from ranking.artifact import FORMAT


@pytest.fixture(scope="module")
def rows(prepared: Prepared, ranker: Ranker) -> pd.DataFrame:
    columns = ranker.encoders.required_columns(serving_position=True)
    return prepared.dataset.table("test", columns).to_pandas().head(500)


@pytest.mark.parametrize("kind", ["ranker", "trees", "importance"])
def test_what_is_loaded_scores_bit_for_bit_alike(
    kind: str, rows: pd.DataFrame, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    saved: Ranker = request.getfixturevalue(kind)
    saved.save(tmp_path / "model")
    loaded = Ranker.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(rows), saved.predict(rows), check_exact=True)
    assert loaded.utility == saved.utility
    assert loaded.schema == saved.schema
    assert loaded.config == saved.config


def test_the_directory_holds_what_it_promises(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "model")
    names = {p.name for p in (tmp_path / "model").iterdir()}
    assert names == {
        "manifest.json", "model.safetensors", "config.json", "encoders.json", "calibration.json", "utility.json",
        "metrics.json", "README.md",
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]  # no temporary sibling is left
    card = (tmp_path / "model" / "README.md").read_text()
    assert "`long_click` (implies click, wanted)" in card


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "calibration.json", "utility.json"])
def test_a_changed_byte_is_refused_by_file(ranker: Ranker, tmp_path: Path, name: str) -> None:
    path = ranker.save(tmp_path / "model") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*changed"):
        Ranker.load(tmp_path / "model")


def test_all_missing_and_changed_files_are_named(ranker: Ranker, tmp_path: Path) -> None:
    model = ranker.save(tmp_path / "model")
    (model / "utility.json").unlink()
    (model / "config.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        Ranker.load(model)
    assert "utility.json: is missing" in str(caught.value)
    assert "config.json" in str(caught.value)


def test_tensors_of_another_network_are_refused(ranker: Ranker, tmp_path: Path) -> None:
    """A consistent directory (checksums fit) whose configuration asks for another network."""
    model = ranker.save(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config["config"]["network"]["hidden"] = [24, 8]
    (model / "config.json").write_text(json.dumps(config))
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["sha256"]["config.json"] = sha256(model / "config.json")
    (model / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"network\.trunk\.layers\.0\.weight` must be \(24,"):
        Ranker.load(model)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a model directory"):
        Ranker.load(tmp_path)


def test_saving_again_replaces_the_model(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "model")
    ranker.with_utility(Utility(save=1.0)).save(tmp_path / "model")
    assert Ranker.load(tmp_path / "model").utility == Utility(save=1.0)
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_no_pickle_is_anywhere(ranker: Ranker, tmp_path: Path) -> None:
    """A pickle begins with a protocol byte 0x80 and ends with a full stop; torch archives are zip files."""
    for path in ranker.save(tmp_path / "model").iterdir():
        start = path.read_bytes()[:4]
        assert start[:1] != b"\x80", path
        assert start != b"PK\x03\x04", path


def test_a_rate_is_not_lost(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "model")
    assert Ranker.load(tmp_path / "model").negative_rate() == ranker.negative_rate() == pytest.approx(0.2)
    assert np.isfinite(ranker.calibration.serving[0].slope)


def test_a_manifest_that_does_not_list_the_model_is_refused(ranker: Ranker, tmp_path: Path) -> None:
    """A deleted entry would let a changed file pass; a damaged key must not end in a KeyError."""
    model = ranker.save(tmp_path / "model")
    manifest = json.loads((model / "manifest.json").read_text())
    whole = dict(manifest["sha256"])
    del manifest["sha256"]["utility.json"]
    for damaged in (manifest, {"format": FORMAT, "sha257": whole}, {"format": FORMAT, "sha256": []}):
        (model / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(InputError, match="does not list the files"):
            Ranker.load(model)
    for damaged in ([], {"sha256": whole}, {"format": FORMAT + 1, "sha256": whole}):
        (model / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(InputError, match="formats 2, 3 and 4 only"):
            Ranker.load(model)


@pytest.mark.parametrize("kind", ["ranker", "trees"])
def test_a_model_of_format_1_is_refused_by_its_number(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It has no `vector_scale`, and its trees know one column less of a query: what it would score is unknown."""
    saved: Ranker = request.getfixturevalue(kind)
    model = saved.save(tmp_path / "model")
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    with pytest.raises(InputError, match=r"manifest\.json: this version reads formats 2, 3 and 4 only, got 1$"):
        Ranker.load(model)


@pytest.mark.parametrize("trunk", ["shared_bottom", "mmoe", "ple"])
@pytest.mark.parametrize("cross_layers", [0, 2])
@pytest.mark.parametrize("tower_hidden", [0, 5])
def test_every_architecture_can_be_loaded(
    prepared: Prepared,
    small: RankerConfig,
    rows: pd.DataFrame,
    tmp_path: Path,
    trunk: str,
    cross_layers: int,
    tower_hidden: int,
) -> None:
    network = NetworkConfig(trunk=trunk, cross_layers=cross_layers, tower_hidden=tower_hidden, hidden=(8, 4))
    training = small.training.model_copy(update={"epochs": 1})
    saved = fit_prepared(prepared, small.model_copy(update={"network": network, "training": training}))
    loaded = Ranker.load(saved.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.predict(rows), saved.predict(rows), check_exact=True)


def test_a_booster_that_the_manifest_does_not_list_is_refused(trees: Ranker, tmp_path: Path) -> None:
    model = trees.save(tmp_path / "model")
    manifest = json.loads((model / "manifest.json").read_text())
    del manifest["sha256"]["booster_click.txt"]
    (model / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"does not list booster_click\.txt"):
        Ranker.load(model)
