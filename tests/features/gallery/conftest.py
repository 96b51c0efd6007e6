"""A tiny data set of galleries: sixty items, five photos each, with everything that real data has wrong with them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.source import DecodedPhotos
from multitask import TrainingConfig

ITEMS, PHOTOS, SIZE = 60, 5, 32

TOML = """
name = "tiny"
[files]
items = "items.parquet"
photos = "photos.parquet"
[columns]
item = "hotel"
holdout = ["star_rating"]
[gallery]
image = "jpeg"
order = "place"
group = "owner"
[gallery.tasks]
binary = ["pool", "one"]
multiclass = ["city", "never"]
regression = ["review"]
log = ["price"]
"""


def jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_tiny(folder: Path, toml: str = TOML, **columns: pa.Array) -> Path:
    """dataset.toml of the tiny data set: pools are blue, cities differ in brightness, dear hotels are red.

    Item 0 has an empty and a truncated photo, item 1 none but an unreadable one, item 2 no photo.
    """
    random = np.random.default_rng(5)
    pool, city = random.random(ITEMS) < 0.4, random.integers(0, 3, ITEMS)
    price = np.exp(4 + 0.5 * random.normal(size=ITEMS))
    price[[7, 8]] = np.nan
    photos = []
    for i in range(ITEMS):
        for place in range(PHOTOS):
            pixels = random.normal(90 + 30 * city[i], 25, (SIZE, SIZE, 3))
            pixels[..., 2] += 60 * pool[i]
            pixels[..., 0] += 40 * (np.log(np.nan_to_num(price[i], nan=55.0)) - 4)
            photos.append({"hotel": 100 + i, "place": place, "jpeg": jpeg(pixels)})
    photos[0]["jpeg"], photos[1]["jpeg"] = b"", photos[1]["jpeg"][:200]
    photos = [photo for k, photo in enumerate(photos) if k <= 5 or k >= 15]  # one photo of item 1, none of item 2
    photos[5]["jpeg"] = b"no image at all"
    table = {
        "hotel": pa.array(np.arange(100, 100 + ITEMS)),
        "owner": pa.array(np.arange(ITEMS) // 2),
        "pool": pa.array(pool, mask=random.random(ITEMS) < 0.1),
        "one": pa.array(np.ones(ITEMS, bool)),
        "city": pa.array(np.array(["Bath", "Oslo", "Rome"])[city]),
        "never": pa.nulls(ITEMS, pa.string()),
        "review": pa.array(random.normal(7.5, 1.0, ITEMS)),
        "price": pa.array(price),
        "star_rating": pa.array(random.integers(1, 6, ITEMS)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table | columns), folder / "items.parquet")
    pq.write_table(pa.Table.from_pylist(photos), folder / "photos.parquet")
    (folder / "dataset.toml").write_text(toml, encoding="utf-8")
    return folder / "dataset.toml"


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset.toml of the tiny data set."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> GalleryData:
    """The tiny data set."""
    return GalleryData.open(tiny_path)


@pytest.fixture(scope="session")
def tiny_photos(tiny: GalleryData) -> DecodedPhotos:
    """Its photos, decoded once."""
    return DecodedPhotos.decode(tiny, SIZE, threads=1)


@pytest.fixture(scope="session")
def tiny_config() -> EncoderConfig:
    """Settings that fit it in a second."""
    return EncoderConfig(
        photo_size=SIZE,
        head_hidden=16,
        photo_budget=64,
        validation=0.2,
        training=TrainingConfig(epochs=2, learning_rate=3e-3, ema_decay=0.0, precision="float32"),
    )


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread: where bits are compared, and where many small steps would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
