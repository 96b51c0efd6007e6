"""A tiny data set of galleries on which a network learns within a second: one attribute is the photos' colour."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.source import DecodedPhotos, PhotoSource

ITEMS, PHOTOS, SIZE = 80, 3, 32
COLOURS = np.array([[200.0, 60.0, 60.0], [60.0, 200.0, 60.0], [60.0, 60.0, 200.0]])

TOML = """
name = "colours"
[files]
items = "items.parquet"
photos = "photos.parquet"
[columns]
item = "item_id"
holdout = ["stars"]
[gallery]
image = "jpeg"
order = "order"
[gallery.tasks]
binary = ["bright", "coin"]
regression = ["price"]
"""


def photo(random: np.random.Generator, colour: int, bright: bool) -> bytes:
    """A noisy JPEG of one colour."""
    from PIL import Image

    pixels = COLOURS[colour] * (1.2 if bright else 0.6) + random.normal(0, 30, (SIZE, SIZE, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture(scope="session")
def colour_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`stars` (held out) is the colour, `bright` and `price` the brightness, `coin` nothing; item 0 has no photo."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("colours")
    stars, bright = random.integers(0, 3, ITEMS), random.random(ITEMS) < 0.4
    items = {
        "item_id": np.arange(100, 100 + ITEMS),
        "stars": stars,
        "bright": bright,
        "coin": random.random(ITEMS) < 0.5,
        "price": 50.0 + 30.0 * bright + random.normal(0, 3, ITEMS),
    }
    pq.write_table(pa.table(items), folder / "items.parquet")
    owner = np.repeat(np.arange(1, ITEMS), PHOTOS)
    photos = {
        "item_id": 100 + owner,
        "order": np.tile(np.arange(PHOTOS, dtype=np.int32), ITEMS - 1),
        "jpeg": [photo(random, stars[i], bright[i]) for i in owner],
    }
    pq.write_table(pa.table(photos), folder / "photos.parquet")
    (folder / "dataset.toml").write_text(TOML, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def colours(colour_folder: Path) -> GalleryData:
    return GalleryData.open(colour_folder)


@pytest.fixture(scope="session")
def colour_photos(colours: GalleryData) -> PhotoSource:
    return DecodedPhotos.decode(colours, SIZE)


@pytest.fixture(scope="session")
def colour_config() -> EncoderConfig:
    return EncoderConfig(
        photo_size=SIZE,
        photo_budget=24,
        head_hidden=16,
        validation=0.2,
        training={"epochs": 4, "patience": 2, "learning_rate": 3e-3, "precision": "float32"},
    )
