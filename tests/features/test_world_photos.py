"""The world's photos: who took what, how it is drawn, and the files that come of it."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from features.errors import InputError
from features.gallery.data import GalleryData
from features.gallery.source import DecodedPhotos
from features.world import Photographs, World, make_world, photo_files
from features.world.attributes import BINARIES, CLASSES, TASKS
from features.world.camera import develop, grain_bank
from features.world.canvas import Canvas
from features.world.motif import RANDOM_NUMBERS, Motif
from features.world.photo_files import SHOWN, photo_tables
from features.world.photographs import STATES, possible_scenes
from features.world.scenes import NAMES, paint

SIZES = {"properties": 150, "users": 30, "requests": 20, "candidates": 5}


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(seed=2, properties=6000, users=1)


@pytest.fixture(scope="module")
def taken(world: World) -> Photographs:
    return Photographs.of_galleries(world, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("photos")
    make_world(target, seed=6, photos=6, photo_size=32, **SIZES)
    return target


def share_error(share: float, n: int) -> float:
    """Three standard errors of a share of n."""
    return 3 * np.sqrt(share * (1 - share) / n)


def decode(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def motif_of(n: int, seed: int = 0, **fixed: float) -> Motif:
    random = np.random.default_rng(seed)

    def values(name: str) -> np.ndarray:
        return np.full(n, fixed[name], np.float32) if name in fixed else random.random(n, dtype=np.float32)

    content = {name: values(name) for name in ("strength", "clutter", "hue", "urban", "hills", "coast")}
    flags = {name: np.round(values(name)).astype(np.float32) for name in SHOWN}
    return Motif(**content, flags=flags, u=random.random((n, RANDOM_NUMBERS), dtype=np.float32))


# -- who took what


def test_galleries_are_the_properties_first_photos_in_order(world: World, taken: Photographs) -> None:
    counts = np.diff(world.properties.photo_offsets)
    assert np.array_equal(np.bincount(taken.item), np.minimum(counts, 8))
    assert (taken.order[1:] == np.where(np.diff(taken.item) == 0, taken.order[:-1] + 1, 0)).all()
    whole = Photographs.of_galleries(world, 44)
    assert len(whole) == counts.sum()
    values = world.properties.photo_values.astype(np.float32)
    assert np.array_equal(whole.quality, values)
    assert np.array_equal(taken.quality, values[whole.order < 8])  # what the log's users reacted to


def test_only_wrong_photos_show_what_the_property_lacks(world: World, taken: Photographs) -> None:
    possible = possible_scenes(world)
    shown = possible[taken.item, taken.scene]
    assert shown[~taken.wrong].all()
    assert not shown[taken.wrong].all()
    assert taken.wrong.mean() == pytest.approx(0.02, abs=share_error(0.02, len(taken)))
    pool = NAMES.index("pool")
    without = world.attributes["pool"][taken.item] == 0
    # a wrong photo shows any other scene but the one drawn: the pool in one case of nine where it was not drawn
    expected = 0.02 / 9
    share = (taken.scene[without] == pool).mean()
    assert share == pytest.approx(expected, abs=share_error(expected, without.sum()))
    assert (taken.scene[world.attributes["pool"][taken.item] == 1] == pool).mean() > 0.1


@pytest.mark.parametrize(
    ("scene", "attributes"),
    [("sea", ("sea_view", "beach_access")), ("mountain", ("mountain_view", "hiking")), ("gym", ("fitness",))],
)
def test_gates(world: World, scene: str, attributes: tuple[str, ...]) -> None:
    has = np.any([world.attributes[name] == 1 for name in attributes], axis=0)
    assert np.array_equal(possible_scenes(world)[:, NAMES.index(scene)], has)
    assert possible_scenes(world)[:, [NAMES.index(name) for name in ("bedroom", "facade", "bathroom")]].all()


def test_one_file_in_a_hundred_is_corrupt_in_three_ways(taken: Photographs) -> None:
    share = (taken.state > 0).mean()
    assert share == pytest.approx(0.01, abs=share_error(0.01, len(taken)))
    for state in (1, 2, 3):
        assert (taken.state == state).mean() == pytest.approx(0.01 / 3, abs=share_error(0.01 / 3, len(taken)))


def test_content_follows_the_latents(world: World, taken: Photographs) -> None:
    """sigmoid(lux), sigmoid(-lux), sigmoid(.8 fam), sigmoid(1.1 q), each + N(0, .12^2)."""
    q, lux, *_, fam = world.properties.latents[taken.item].T
    for value, logit in (
        (taken.strength, lux),
        (taken.clutter, -lux),
        (taken.hue, 0.8 * fam),
        (taken.quality, 1.1 * q),
    ):
        error = value - 1 / (1 + np.exp(-logit))
        assert error.mean() == pytest.approx(0, abs=3 * 0.12 / np.sqrt(len(taken)))
        assert error.std() == pytest.approx(0.12, rel=0.02)


def test_the_camera_is_the_propertys_own_and_says_next_to_nothing(world: World, taken: Photographs) -> None:
    for value, latent in ((taken.gain, 0), (taken.warmth, 1)):
        mean = np.bincount(taken.item, value) / np.bincount(taken.item)
        assert mean.std() == pytest.approx(0.25, rel=0.05)
        assert (value - mean[taken.item]).std() == pytest.approx(0.05, rel=0.1)
        assert np.corrcoef(mean, world.properties.latents[:, latent])[0, 1] < 0.2
    guests = Photographs.of_guests(world)
    assert np.array_equal(guests.item, np.arange(6000))
    own = np.bincount(taken.item, taken.gain) / np.bincount(taken.item)
    assert abs(np.corrcoef(guests.gain, own)[0, 1]) < 3 / np.sqrt(6000)


# -- how it is drawn


@pytest.mark.parametrize("scene", NAMES)
def test_every_scene_is_drawn_in_float32_and_covers_the_photo(scene: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes = set()
    original = Canvas.paint

    def watched(self: Canvas, mask: np.ndarray, colour: np.ndarray, opacity: np.ndarray | float = 1.0) -> None:
        dtypes.update({mask.dtype, colour.dtype})
        assert mask.min() >= 0
        assert mask.max() <= 1 + 1e-6
        original(self, mask, colour, opacity)

    monkeypatch.setattr(Canvas, "paint", watched)
    rgb = paint(scene, motif_of(40), 64)
    assert rgb.shape == (40, 3, 64, 64)
    assert dtypes == {np.dtype(np.float32)}  # float64 would take twice the time
    assert rgb.min() >= 0
    assert rgb.max() < 1.2
    assert (rgb.max(axis=1) > 0.02).all()  # no pixel was left as it came
    assert rgb.std(axis=0).mean() > 0.05  # and no two photos are alike


@pytest.mark.parametrize("scene", NAMES)
def test_strength_clutter_and_hue_show(scene: str) -> None:
    for name in ("strength", "clutter", "hue"):
        low, high = (paint(scene, motif_of(30, **{name: value}), 32) for value in (0.1, 0.9))
        assert np.abs(low - high).mean() > 0.003, name


@pytest.mark.parametrize("flag", SHOWN)
def test_amenities_without_a_scene_of_their_own_show_on_the_facade_or_through_a_window(flag: str) -> None:
    scene = "bedroom" if flag in ("sea_view", "mountain_view") else "facade"
    without, having = (paint(scene, motif_of(30, urban=0.5, **{flag: value}), 64) for value in (0.0, 1.0))
    assert np.abs(without - having).mean() > 0.002


def test_a_bad_photo_is_noisier_and_softer_and_the_camera_sets_brightness_and_colour() -> None:
    scene = paint("facade", motif_of(1), 64)
    bank = grain_bank(np.random.default_rng(0), 64)

    def picture(quality: float = 1.0, gain: float = 0.5, warmth: float = 0.5) -> np.ndarray:
        one = np.ones(1, dtype=np.float32)
        settings = {"quality": quality * one, "gain": gain * one, "warmth": warmth * one}
        return develop(scene.copy(), bank=bank, grain=np.array([[0, 1, 2]]), **settings)[0].astype(np.float64)

    good, bad = picture(), picture(quality=0.0)
    rough_good, rough_bad = (np.abs(np.diff(x[:20], axis=1)).mean() for x in (good, bad))  # in the sky
    assert rough_bad > 1.5 * rough_good
    assert picture(gain=0.8).mean() > 1.1 * good.mean() > 1.2 * picture(gain=0.2).mean()
    warm, cold = picture(warmth=0.9), picture(warmth=0.1)
    assert warm[..., 0].mean() - warm[..., 2].mean() > cold[..., 0].mean() - cold[..., 2].mean() + 40


def test_pixels_depend_neither_on_the_block_nor_on_the_chunk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Photographs.of_galleries(World.generate(seed=2, properties=40, users=1), 5)
    small = World.generate(seed=2, properties=40, users=1)
    whole = pa.concat_tables(photo_tables(small, few, 32)).combine_chunks()
    monkeypatch.setattr(photo_files, "CHUNK", 37)
    monkeypatch.setattr(photo_files, "BLOCK_PIXELS", 3 * 32**2)
    monkeypatch.setattr(photo_files, "THREADS", 1)
    tables = list(photo_tables(small, few, 32))
    assert len(tables) == 6
    assert pa.concat_tables(tables).combine_chunks() == whole


@pytest.mark.parametrize("size", [32, 100])
def test_other_sizes(size: int) -> None:
    small = World.generate(seed=0, properties=4, users=1)
    table = next(photo_tables(small, Photographs.of_guests(small), size))
    assert all(decode(file).shape == (size, size, 3) for file in table["jpeg"].to_pylist())


# -- the files


def test_photos_parquet(folder: Path) -> None:
    world = World.generate(seed=6, properties=150, users=30)
    taken = Photographs.of_galleries(world, 6)
    table = pq.read_table(folder / "photos.parquet")
    assert table.schema.names == ["item_id", "order", "jpeg", "true_scene"]
    assert table.schema.field("order").type == pa.int32()
    assert table.schema.field("jpeg").type == pa.binary()
    assert np.array_equal(table["item_id"], taken.item)
    assert np.array_equal(table["order"], taken.order)
    assert table["true_scene"].to_pylist() == [NAMES[scene] for scene in taken.scene]
    counts = np.bincount(taken.item)
    assert (counts.min(), counts.max()) == (5, 6)
    seen = set()
    for file, state in zip(table["jpeg"].to_pylist(), taken.state, strict=True):
        seen.add(STATES[state])
        if STATES[state] == "sound":
            assert decode(file).shape == (32, 32, 3)
        else:
            with pytest.raises(OSError, match=r"[Tt]runcated|cannot identify"):
                decode(file)
    assert seen == set(STATES)


def test_the_reader_of_galleries_finds_what_went_wrong(folder: Path) -> None:
    """Every photo that was spoilt is left out for its own reason, and no other."""
    taken = Photographs.of_galleries(World.generate(seed=6, properties=150, users=30), 6)
    data = GalleryData.open(folder)
    decoded = DecodedPhotos.decode(data, 32)
    left_out = {reason: tally.count for reason, tally in data.report.masked.items()}
    expected = dict(
        zip(("truncated", "empty file", "not an image"), np.bincount(taken.state, minlength=4)[1:].tolist())
    )
    assert left_out == expected
    assert len(decoded) == len(taken)
    assert np.array_equal(np.asarray(decoded.sound), taken.state == 0)


def test_grain_tells_quality_where_brightness_and_colour_do_not() -> None:
    """The share of the variance of q that a linear fit explains, from numbers averaged over galleries of 6 photos."""
    world = World.generate(seed=3, properties=600, users=1)
    taken = Photographs.of_galleries(world, 6)
    files = pa.concat_tables(photo_tables(world, taken, 32))["jpeg"].to_pylist()
    sound = np.flatnonzero(taken.state == 0)
    pixels = np.stack([decode(files[i]) for i in sound]).astype(np.float32) / 255
    colour = pixels.mean(axis=(1, 2))
    grain = np.abs(np.diff(pixels, 2, axis=1)).mean(axis=(1, 2))

    def explained(features: np.ndarray) -> float:
        item = taken.item[sound]
        means = np.stack([np.bincount(item, column) / np.bincount(item) for column in features.T], axis=1)
        design = np.column_stack([means, np.ones(len(means))])
        quality = world.properties.latents[:, 0]
        fitted = design @ np.linalg.lstsq(design, quality, rcond=None)[0]
        return float(1 - np.var(quality - fitted) / np.var(quality))

    # a network reads .8: it knows which roughness is grain; not more by sight, or end-to-end training learns it at once
    assert explained(colour) < 0.15
    assert explained(np.column_stack([colour, grain])) > explained(colour) + 0.1


def test_review_photos_are_one_of_each_property_and_other_pictures(folder: Path) -> None:
    reviews = pq.read_table(folder / "review_photos.parquet")
    assert reviews.schema.names == ["item_id", "order", "jpeg"]
    assert reviews["item_id"].to_pylist() == list(range(150))
    own = set(pq.read_table(folder / "photos.parquet")["jpeg"].to_pylist())
    assert not (own - {b""}) & set(reviews["jpeg"].to_pylist())


def test_the_description_names_photos_tasks_and_the_vectors_still_to_be_made(folder: Path) -> None:
    text = (folder / "dataset.toml").read_text()
    described = tomllib.loads(text)
    assert described["files"]["photos"] == "photos.parquet"
    assert described["files"]["vectors"] == "vectors.parquet"
    assert "galleryrank embed" in next(line for line in text.splitlines() if line.startswith("vectors"))
    assert not (folder / "vectors.parquet").exists()
    gallery = described["gallery"]
    assert (gallery["image"], gallery["order"]) == ("jpeg", "order")
    tasks = gallery["tasks"]
    assert tuple(tasks["binary"]) == BINARIES
    assert tuple(tasks["multiclass"]) == CLASSES
    assert tasks["regression"] == ["review", "location_score", "content_score"]
    assert sorted(name for names in tasks.values() for name in names) == sorted(TASKS)
    assert described["columns"]["holdout"] == ["star_rating"]
    items = pq.read_schema(folder / "items.parquet").names
    assert {"star_rating", *TASKS} <= set(items)
    assert "gallery" not in tomllib.loads((folder / "dataset_oracle.toml").read_text())


def test_same_arguments_same_bytes_and_the_rest_of_the_world_is_untouched(folder: Path, tmp_path: Path) -> None:
    make_world(tmp_path / "again", seed=6, photos=6, photo_size=32, **SIZES)
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    make_world(tmp_path / "bare", seed=6, **SIZES)
    for name in ("impressions.parquet", "items.parquet", "users.parquet", "dataset_oracle.toml"):
        assert (tmp_path / "bare" / name).read_bytes() == (folder / name).read_bytes(), name
    assert "gallery" not in tomllib.loads((tmp_path / "bare" / "dataset.toml").read_text())


def test_photos_of_an_earlier_world_do_not_stay(tmp_path: Path) -> None:
    make_world(tmp_path, photos=1, photo_size=32, **SIZES | {"properties": 10})
    make_world(tmp_path, **SIZES)
    found = {path.name for path in tmp_path.glob("*.parquet")}
    assert found == {"impressions.parquet", "items.parquet", "users.parquet", "vectors.parquet"}
    make_world(tmp_path, photos=1, photo_size=32, **SIZES | {"properties": 10})
    assert not (tmp_path / "vectors.parquet").exists()


def test_bad_arguments_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make_world(tmp_path / "w", photos=-1, photo_size=8, query=-1.0)
    assert len(caught.value.faults) == 3
    assert "`photo_size` must satisfy 32 <= photo_size <= 512 pixels, got 8" in str(caught.value)
    assert not (tmp_path / "w").exists()
