from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from evaluation.gallery.ablation import COLUMNS, Variant, ablation_table
from evaluation.gallery.ablation_figure import ablation_figure
from evaluation.gallery.ablation_measures import (
    FEWEST_JUDGED,
    AblationProbe,
    ReviewPhotos,
    alike,
    judged_items,
    vectors_by_row,
)
from evaluation.gallery.latency import latency
from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_design import ProbeDesign
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.source import PhotoSource


@pytest.fixture(scope="module")
def variants(colour_config: EncoderConfig) -> list[Variant]:
    narrow = colour_config.model_copy(update={"embed_dim": 8})
    return [
        Variant("multitask", colour_config),
        Variant("random, 8 wide", narrow, trained=False),
        Variant("unknown", colour_config.model_copy(update={"backbone": "no_such_network"})),
    ]


@pytest.fixture(scope="module")
def arguments(colours: GalleryData, colour_photos: PhotoSource, colour_folder: Path) -> dict[str, Any]:
    rows = np.arange(1, 80)
    stars = colours.holdout("stars").to_numpy()[rows]
    jpegs = pq.read_table(colour_folder / "photos.parquet").column("jpeg").to_pylist()
    return {
        "probe": AblationProbe(HoldoutProbe(stars, ProbeDesign.split(rows, test=0.3), seeds=[0]), rows),
        # the photos of the first ten galleries themselves, and one that cannot be read
        "review": ReviewPhotos([*jpegs[::3][:10], b"not an image"], np.arange(1, 12)),
        "attributes": ["bright", "coin", "price"],
        "photos": {32: colour_photos},
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture(scope="module")
def table(colours: GalleryData, variants: list[Variant], arguments: dict[str, Any], folder: Path) -> pd.DataFrame:
    return ablation_table(colours, variants, folder=folder, **arguments)


def test_every_row_is_measured(table: pd.DataFrame) -> None:
    assert list(table.columns) == COLUMNS
    rows = table.set_index("variant")
    assert rows["dim"].tolist()[:2] == [192, 8]
    assert rows["paradigm"].tolist()[:2] == ["multitask, pseudo-uniform", "random weights"]
    assert rows.loc["multitask", "epochs"] > 0 == rows.loc["random, 8 wide", "epochs"]
    for name in ("probe", "same_item", "photo_ms", "gallery_ms"):
        assert (rows[name][:2] > 0).all()
    assert (rows["probe"][:2] > rows["majority"][:2]).all()  # colours are easy
    assert (rows["same_item"][:2] > 3 * rows["same_item_chance"][:2]).all()


def test_neighbours_are_judged_only_among_enough_items(colours: GalleryData, colour_config: EncoderConfig) -> None:
    matrix = np.random.default_rng(0).normal(size=(80, 4))
    matrix[0] = 0.0  # without a vector
    matrix[:, 0] += 20.0 * np.asarray(colours.attributes(["bright"]).column(0))
    for validation, enough in ((0.2, False), (0.8, True)):
        config = colour_config.model_copy(update={"validation": validation})
        held = judged_items(colours, matrix.any(axis=1), config)
        assert 0 not in held
        assert (len(held) >= FEWEST_JUDGED) == enough
        found = alike(colours, ["bright"], matrix, config)
        assert bool(found) == enough
    assert found["same_attribute"] > 0.9 > found["same_attribute_chance"]


def test_a_row_that_cannot_be_made_says_why(table: pd.DataFrame) -> None:
    row = table.set_index("variant").loc["unknown"]
    assert "no_such_network" in row["reason"]
    assert np.isnan(row["probe"])


def test_parameters_are_the_encoders_without_its_heads(
    colours: GalleryData, variants: list[Variant], colour_photos: PhotoSource, table: pd.DataFrame
) -> None:
    encoder = GalleryEncoder.untrained(colours, variants[1].config, photos=colour_photos, progress=False, device="cpu")
    network = encoder.network
    total = sum(p.numel() for module in (network.backbone, network.project) for p in module.parameters())
    assert table.loc[1, "parameters"] == total
    assert table.loc[1, "trainable"] == 0
    assert table.loc[0, "trainable"] == table.loc[0, "parameters"]


def test_rows_are_kept_and_made_again_when_their_settings_change(
    colours: GalleryData,
    variants: list[Variant],
    arguments: dict[str, Any],
    table: pd.DataFrame,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not list(folder.glob("checkpoints/*"))  # those of finished rows are gone

    def refuse(*_: Any, **__: Any) -> None:
        raise InterruptedError("a kept row must not be made again")

    monkeypatch.setattr(GalleryEncoder, "fit", refuse)
    said: list[str] = []
    again = ablation_table(colours, variants[:2], folder=folder, progress=said.append, **arguments)
    numbers = [name for name in COLUMNS if name not in ("variant", "backbone", "paradigm", "pooling", "reason")]
    pd.testing.assert_frame_equal(again[numbers].astype(float), table[:2][numbers].astype(float))
    assert said == ["row 1 of 2: multitask", "row 2 of 2: random, 8 wide"]
    changed = [Variant("multitask", variants[0].config.model_copy(update={"seed": 1}))]
    with pytest.raises(InterruptedError):
        ablation_table(colours, changed, folder=folder, **arguments)


def test_only_what_is_asked_for_is_measured(
    colours: GalleryData, variants: list[Variant], colour_photos: PhotoSource
) -> None:
    table = ablation_table(colours, variants[1:2], photos={32: colour_photos}, device="cpu")
    assert table[["probe", "same_item", "same_attribute"]].isna().all(axis=None)
    assert table["reason"].isna().all()
    with pytest.raises(ValueError, match="different names"):
        ablation_table(colours, [variants[0], variants[0]])


def test_vectors_come_in_the_order_of_the_items_with_zeros_for_items_without_photos(
    colours: GalleryData, variants: list[Variant], colour_photos: PhotoSource
) -> None:
    encoder = GalleryEncoder.untrained(colours, variants[1].config, photos=colour_photos, progress=False, device="cpu")
    vectors = encoder.embed(colours, photos=colour_photos, device="cpu")
    matrix = vectors_by_row(vectors, colours)
    assert matrix.shape == (80, 8)
    assert not matrix[0].any()
    assert np.array_equal(matrix[1:].astype(np.float32), vectors.matrix)


def test_latency_leaves_the_threads_as_they_were(colours: GalleryData, variants: list[Variant]) -> None:
    encoder = GalleryEncoder.untrained(colours, variants[1].config, progress=False, device="cpu")
    threads = torch.get_num_threads()
    found = latency(encoder.network, repeats=5, photos=4)
    assert set(found) == {"photo_ms", "gallery_ms"}
    assert torch.get_num_threads() == threads
    with pytest.raises(ValueError, match="at least 5"):
        latency(encoder.network, repeats=4)


def test_paradigms_in_words(colour_config: EncoderConfig) -> None:
    triplet = colour_config.model_copy(update={"loss": "triplet", "mining": "hard"})
    assert Variant("a", triplet).paradigm == "triplet, hard"
    assert Variant("a", colour_config.model_copy(update={"loss": "kendall"})).paradigm == "multitask, Kendall"
    pretrained = colour_config.model_copy(update={"weights": Path("weights.pt")})
    assert Variant("a", pretrained, trained=False).paradigm == "frozen pretrained"


def test_the_figure_names_the_measured_rows(table: pd.DataFrame) -> None:
    svg = ablation_figure(table)
    assert "multitask" in svg
    assert "random, 8 wide" in svg
    assert "unknown" not in svg
