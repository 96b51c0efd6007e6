"""A marketplace with photos, whose newest properties no ranker has met: rankers with and without gallery vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.marketplace.policy import RankerTable
from features import ROLES, Dataset, GalleryEncoder, make_world
from features.gallery import EncoderConfig, GalleryData, open_photos
from features.ids import hash_ids
from features.splits import roles_by_hash
from features.world.world import World
from galleryrank.simulate_worlds import POPULATION
from multitask import TrainingConfig
from ranking import NetworkConfig, Ranker, RankerConfig

# What everybody sees on the card: the photos are what a ranker could know besides. The properties are split and not
# the requests: those of the test role are new to the rankers and to the encoder.
CARD = """\
name = "marketplace-card"

[files]
impressions = "impressions.parquet"
items = "items.parquet"
users = "users.parquet"

[columns]
request = "request_id"
item = "item_id"
user = "user_id"
time = "timestamp"
categorical = ["segment"]
numeric = ["price"]

[position]
column = "position"

[heads.closeup]
[heads.click]
[heads.long_click]
implies = ["click"]
[heads.save]

[split]
by = "item"
fractions = { train = 0.7, calibrate = 0.1, tune = 0.0, test = 0.2 }
"""


@dataclass(frozen=True)
class PhotoSizes:
    """How large the world is, and how long its encoder and rankers are trained."""

    properties: int = 2000
    photos: int = 8
    photo_size: int = 64
    requests: int = 30_000
    encoder_epochs: int = 8
    ranker_epochs: int = 8


class PhotoWorld:
    """One world with photos in a folder; what is there is not made again.

    Args:
        folder: Where it lies.
        seed: Of the world, the encoder and the rankers.
        sizes: How large.
        say: Gets a line per step.
    """

    def __init__(self, folder: Path, seed: int, sizes: PhotoSizes, say: Callable[[str], None]) -> None:
        self.folder, self.seed, self.sizes, self.say = folder, seed, sizes, say
        self.world = World.generate(seed=seed, properties=sizes.properties, users=POPULATION)

    @cached_property
    def description(self) -> Path:
        """The log as the rankers see it."""
        made = self.folder / "world" / "dataset.toml"  # written last: a folder with it is complete
        if not made.is_file():
            self.say(f"generating a marketplace with photos: {self.sizes.properties:,} properties")
            make_world(
                made.parent, seed=self.seed, properties=self.sizes.properties, requests=self.sizes.requests,
                photos=self.sizes.photos, photo_size=self.sizes.photo_size,
            )  # fmt: skip
        card = made.with_name("card.toml")
        card.write_text(CARD, encoding="utf-8")
        return card

    @cached_property
    def new_items(self) -> NDArray[np.int64]:
        """Ids of the properties that neither the encoder nor a ranker has met."""
        return np.flatnonzero(self._roles(np.arange(self.sizes.properties)) == ROLES.index("test"))

    def vectors(self) -> Path:
        """Vectors of all properties, by an encoder that learned 31 attributes of the known ones from their photos."""
        path = self.folder / "vectors.parquet"
        if not path.is_file():
            _ = self.description
            data = GalleryData.open(self.folder / "world")
            known = np.flatnonzero(self._roles(data.item_ids.to_numpy()) != ROLES.index("test"))
            photos = open_photos(data, self.sizes.photo_size)
            self.say(f"learning gallery vectors from the photos of {len(known):,} properties")
            encoder = GalleryEncoder.fit(
                data, self._encoder(), rows=known, photos=photos, progress=False, checkpoint=self.folder / "checkpoint"
            )
            encoder.embed(data, photos=photos).write(path)
        return path

    def table(self, galleries: bool) -> RankerTable:
        """The answers of the ranker with gallery vectors, or of the same network without."""
        model = self.folder / ("with_vectors" if galleries else "without_vectors")
        if not model.is_dir():
            dataset = Dataset.open(self.description, vectors=self.vectors() if galleries else False)
            self.say(f"fitting the ranker {'with' if galleries else 'without'} gallery vectors")
            training = TrainingConfig(
                seed=self.seed, epochs=self.sizes.ranker_epochs, batch_size=2048, patience=self.sizes.ranker_epochs
            )
            config = RankerConfig(seed=self.seed, network=NetworkConfig(dropout=0.1), training=training)
            Ranker.fit(dataset, config, device="cpu").save(model)
        return RankerTable.of(self.world, Ranker.load(model))

    def _encoder(self) -> EncoderConfig:
        return EncoderConfig.model_validate(
            {"seed": self.seed, "embed_dim": 64, "sample_photos": 4, "photo_budget": 128}
            | {"photo_size": self.sizes.photo_size, "training": {"epochs": self.sizes.encoder_epochs}}
        )

    def _roles(self, items: NDArray[np.int64]) -> NDArray[np.int8]:
        import pyarrow as pa

        return roles_by_hash(hash_ids(pa.array(items)), Dataset.open(self.description).schema.split.shares)
