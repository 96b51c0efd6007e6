"""The Airbnb example: what prepare.py makes of the data; that no fold's encoder sees its test rows; the claims."""

from __future__ import annotations

import importlib
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_design import ALL_LABELS, ProbeDesign
from evaluation.gallery.value_probe import probe_values
from features import InputError
from features.gallery import EncoderConfig, GalleryData, GalleryEncoder, open_photos
from galleryrank.exits import run
from galleryrank.settings import load_config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "airbnb"
REAL = ROOT.parent / "shared" / "data" / "airbnb_galleries"
WEIGHTS = ROOT.parent / "shared" / "data" / "backbone_squeezenet1_1" / "squeezenet1_1_caffe_rgb_fp16.pt"

needs_real = pytest.mark.skipif(
    not (REAL.is_dir() and WEIGHTS.is_file()), reason="the Airbnb galleries or the weights are not at ../shared/data"
)


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The example's modules, which import each other by name as they do when a script is run."""
    names = ("prepare", "galleries", "measures", "compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        yield {name: importlib.import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


# -------------------------------------------------------------------------------------------- on made-up galleries
def made_up(folder: Path, listings: int = 24, seed: int = 0) -> Path:
    """Files like the real ones: listings of two kinds, whose photos differ in colour, three photos each."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, listings)
    photos = []
    for listing in range(listings):
        for place in range(3):
            pixels = rng.integers(0, 120, (20, 30, 3)) + 120 * (np.arange(3) == kind[listing])
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
            photos.append((f"l{listing:02d}", "abc"[place], buffer.getvalue()))
    price = np.exp(4 + kind + 0.1 * rng.normal(size=listings))
    table = pd.DataFrame(
        {
            "listing_id": [f"l{listing:02d}" for listing in range(listings)],
            "title": "a place",
            "category": np.array(["Treehouses", "Beachfront"])[kind],
            "location": np.array(["Hove England United Kingdom", "Uvita Puntarenas Costa Rica", "Lille Belgium"])[
                np.arange(listings) % 3
            ],
            "guests": rng.integers(1, 9, listings).astype(np.float32),
            "bedrooms": np.where(np.arange(listings) == 3, np.nan, 2.0 + kind).astype(np.float32),
            "price_night": price.astype(np.float32),
            "amenities_count": rng.integers(5, 50, listings).astype(np.float32),
            "rating_mean": rng.uniform(4, 5, listings),
            "group": np.arange(listings).astype(np.int32),
        }
    )
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "listings.parquet")
    taken = pd.DataFrame(photos, columns=["listing_id", "photo", "jpeg"])
    pq.write_table(pa.Table.from_pandas(taken, preserve_index=False), folder / "photos.parquet")
    return folder


@pytest.fixture(scope="module")
def prepared(scripts: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("airbnb")
    scripts["prepare"].main([str(made_up(folder / "in")), str(folder / "deep" / "out")])
    return folder / "deep" / "out"


def test_country_is_what_a_place_ends_in(scripts: dict[str, ModuleType]) -> None:
    places = {
        "Boone North Carolina United States": "United States",
        "United Kingdom": "United Kingdom",
        "Bijagua de Upala Alajuela Costa Rica Costa Rica": "Costa Rica",
        "La Finette Diego Martin Regional Corporation Trinidad & Tobago": "Trinidad & Tobago",
        "Castries St Lucia": "St Lucia",
        "Santa Lucia Italy ": "Italy",
        "Mueang Chiang Mai District Chiang Mai Thailand": "Thailand",
        "Άνω Κορακιάνα Ιόνιο Greece": "Greece",
        "Sexten/Moos Italy": "Italy",
        "['What this place offers', 'Hair dryer']": None,
        "": None,
    }
    found = scripts["prepare"].country_of(pd.Series([*places, None], dtype="str"))
    assert [None if pd.isna(country) else country for country in found] == [*places.values(), None]


def test_photos_stay_where_they_are(prepared: Path) -> None:
    assert sorted(path.name for path in prepared.iterdir()) == ["dataset.toml", "items.parquet"]
    data = GalleryData.open(prepared)
    assert (len(data), len(data.photos)) == (24, 72)
    assert data.photos.files[0].resolve() == (prepared.parents[1] / "in" / "photos.parquet").resolve()
    assert 'photos = "../../in/photos.parquet"' in (prepared / "dataset.toml").read_text()


def test_the_folder_may_be_moved_with_its_photos(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    scripts["prepare"].main([str(made_up(tmp_path / "a b" / "in", 4)), str(tmp_path / "a b" / "out")])
    shutil.move(tmp_path / "a b", tmp_path / "c")
    assert len(GalleryData.open(tmp_path / "c" / "out").photos) == 12


def test_category_and_rating_are_refused_to_trainers(prepared: Path) -> None:
    data = GalleryData.open(prepared)
    assert set(data.schema.holdout) == {"category", "rating_mean"}
    assert set(data.schema.task_columns) == {"price_night", "guests", "bedrooms", "amenities_count", "country"}
    for name in data.schema.holdout:
        with pytest.raises(InputError, match="holdout column"):
            data.attributes([name])


def test_missing_files_and_columns_are_told_at_once(
    scripts: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = scripts["prepare"].main
    assert run(lambda: prepare([str(tmp_path / "nowhere"), str(tmp_path / "out")])) == 2
    assert "nowhere: does not exist, or is no folder" in capsys.readouterr().err
    source = made_up(tmp_path / "in", 4)
    table = pq.read_table(source / "listings.parquet").drop_columns(["location", "group"])
    pq.write_table(table, source / "listings.parquet")
    (source / "photos.parquet").unlink()
    assert run(lambda: prepare([str(source), str(tmp_path / "out")])) == 2
    told = capsys.readouterr().err
    assert "3 errors" in told
    assert all(
        words in told for words in ("column `location`: is missing", "column `group`", "photos.parquet: does not")
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["frozen", "multitask", "last_block", "triplet"])
def test_settings_are_sound_and_frozen_ones_train_nothing(name: str) -> None:
    config = load_config(EXAMPLE / f"{name}.toml", ['weights="w.pt"'], EncoderConfig)
    assert config.backbone == "squeezenet1_1"
    assert (config.train == "last_block") == (name == "last_block")
    assert (config.cache == "prefix") == (name != "frozen")
    assert config.training.learning_rate == 1e-4  # the paper's


def test_pooled_features_are_the_encoders_own_vectors(scripts: dict[str, ModuleType], prepared: Path) -> None:
    data = GalleryData.open(prepared)
    config = load_config(EXAMPLE / "frozen.toml", ["photo_size=48", "pooling=mean_max_std"], EncoderConfig)
    photos = open_photos(data, 48)
    encoder = GalleryEncoder.untrained(data, config, photos=photos, device="cpu")
    vectors = encoder.embed(data, photos=photos, device="cpu").matrix * encoder.std.numpy() + encoder.mean.numpy()
    plain, mirrored = scripts["galleries"].photo_features(encoder.network, photos)
    _, offsets = data.photos.galleries(photos.sound)
    pooled = scripts["galleries"].pooled
    mine = pooled(encoder.network, (plain + mirrored) / 2, offsets, "mean_max_std")
    np.testing.assert_allclose(mine, vectors, rtol=1e-4, atol=1e-4 * np.abs(vectors).max())
    joined = pooled(encoder.network, (plain + mirrored) / 2, offsets, "mean", cover=True)
    np.testing.assert_allclose(joined[:, :512], mine[:, :512], rtol=1e-6)
    alone = pooled(encoder.network, ((plain + mirrored) / 2)[offsets[:-1]], np.arange(len(data) + 1), "mean")
    np.testing.assert_allclose(joined[:, 512:], alone, rtol=1e-6)
    assert not np.allclose(mine, pooled(encoder.network, plain, offsets, "mean_max_std"))


@pytest.fixture
def refitted_config() -> EncoderConfig:
    return EncoderConfig(
        train="none", photo_size=32, embed_dim=4, head_hidden=4, cache="prefix", training={"epochs": 2, "patience": 2}
    )


def test_an_encoder_of_a_fold_sees_its_training_rows_only(
    scripts: dict[str, ModuleType], prepared: Path, tmp_path: Path, refitted_config: EncoderConfig
) -> None:
    """Prices of other listings may be anything: not a bit of the vectors changes. With its own rows' prices it does."""

    def vectors(changed: range) -> np.ndarray:
        folder = tmp_path / f"changed-{changed.start}-{changed.stop}"
        folder.mkdir()
        items = pd.read_parquet(prepared / "items.parquet")
        items.loc[list(changed), ["price_night", "guests"]] *= 7
        items.loc[list(changed), "category"] = "Chalets"
        pq.write_table(pa.Table.from_pandas(items, preserve_index=False), folder / "items.parquet")
        photos = (prepared.parents[1] / "in" / "photos.parquet").as_posix()
        text = (EXAMPLE / "dataset.toml").read_text().replace('"photos.parquet"', f'"{photos}"')
        (folder / "dataset.toml").write_text(text)
        data = GalleryData.open(folder)
        made = scripts["galleries"].Refitted(data, open_photos(data, 32), refitted_config, tmp_path / "stored")
        return made.vectors(np.arange(16), seed=0)

    before = vectors(range(0))
    assert before.shape == (24, 4)
    np.testing.assert_array_equal(vectors(range(16, 24)), before)
    assert not np.array_equal(vectors(range(8)), before)


def test_r2_of_folds_is_that_of_the_value_probe(scripts: dict[str, ModuleType]) -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(80, 6)), rng.normal(size=(80, 6))
    values, design = x @ rng.normal(size=6) + rng.normal(size=80), ProbeDesign.by_folds(np.arange(80) // 2)
    always, r2 = scripts["measures"].always, scripts["measures"].r2_of_folds
    found = r2(values, {"ours": always(x), "theirs": always(noise)}, design, seeds=1)
    asked = probe_values(values, {"ours": x, "theirs": noise}, design, seeds=[0]).set_index("arm")
    assert found["value"] == pytest.approx(asked.loc["ours", "r2"], abs=0.01)
    assert found["difference"] == pytest.approx(asked.loc["theirs", "difference"], abs=0.01)
    assert found["low"] < found["value"] < found["high"]
    values[:20] = np.nan  # unknown prices are neither learned from nor tested
    assert 0.4 < r2(values, {"ours": always(x), "theirs": always(noise)}, design, seeds=1)["value"] < 1.0


def test_a_figure_below_what_is_asked_for_is_told(
    scripts: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    compare, measures = scripts["compare"], scripts["measures"]

    def holds(order_free: float, cover: float, at_chance: bool) -> bool:
        arms = {measures.ORDER_FREE: order_free, measures.COVER: cover, compare.MAJORITY: 0.25}
        rows = [{"arm": a, "accuracy": v, "low": v - 0.1, "high": v + 0.1, "seed_sd": 0.01} for a, v in arms.items()]
        control = [{"arm": measures.ORDER_FREE, "accuracy": 0.26, "majority": 0.25, "at_chance": at_chance}]
        return compare.print_category(pd.DataFrame(rows), pd.DataFrame(control))

    assert holds(0.71, 0.75, True)
    assert not holds(0.70, 0.75, True)
    assert not holds(0.71, 0.74, True)
    assert not holds(0.71, 0.75, False)
    assert "NOT AT CHANCE" in capsys.readouterr().out


# -------------------------------------------------------------------------------------------- on the real galleries
@needs_real
def test_real_galleries_are_read_whole(scripts: dict[str, ModuleType]) -> None:
    items = scripts["prepare"].prepare(REAL)
    assert len(items) == 942
    assert items.country.value_counts().head(3).to_dict() == {"United Kingdom": 500, "United States": 154, "France": 86}
    assert items.country.isna().sum() == 1  # the row with shifted columns
    assert set(items.columns) == {
        "listing_id", "price_night", "guests", "bedrooms", "amenities_count", "country", "category", "rating_mean",
        "group",
    }  # fmt: skip


@needs_real
def test_category_can_be_read_from_frozen_vectors_of_small_photos(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    """At 64 px and three folds, for time: far above the majority, better with the cover, at chance when shuffled."""
    scripts["prepare"].main([str(REAL), str(tmp_path)])
    data = GalleryData.open(tmp_path)
    photos = open_photos(data, 64)
    assert data.report.sound == 4690  # ten photos repeat another one of their listing
    config = load_config(EXAMPLE / "frozen.toml", [f'weights="{WEIGHTS.as_posix()}"', "photo_size=64"], EncoderConfig)
    network = GalleryEncoder.untrained(data, config, rows=np.arange(60), photos=photos, device="cpu").network
    plain, _ = scripts["galleries"].photo_features(network, photos)
    _, offsets = data.photos.galleries(photos.sound)
    measures, category = scripts["measures"], data.holdout("category").to_pandas().to_numpy(str)
    vectors = scripts["galleries"].pooled(network, plain, offsets, "mean", cover=True)
    probe = HoldoutProbe(category, ProbeDesign.by_folds(data.groups, 3), budgets=[ALL_LABELS], seeds=[0])
    mean = probe.run({"mean": measures.Linear(vectors[:, :512])})
    joined = probe.run({"joined": measures.Linear(vectors)}, control=False)
    accuracy = mean.joined(joined).accuracy().set_index("arm")["accuracy"]
    assert accuracy["mean"] > 0.5
    assert accuracy["joined"] > accuracy["mean"] + 0.03
    assert mean.control()["at_chance"].all()
    assert 0.25 < accuracy[scripts["compare"].MAJORITY] < 0.27
