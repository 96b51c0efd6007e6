"""What the studies of galleries share: a marketplace with photos, split by property, its encoder, and rankers on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from features import ROLES, Dataset, GalleryEncoder, encode_log, make_world
from features.gallery import Embeddings, EncoderConfig, GalleryData, open_photos
from features.gallery.source import PhotoSource
from features.ids import hash_ids
from features.splits import roles_by_hash
from features.world import World
from features.world.description import CATEGORICAL, NUMERIC
from multitask import TrainingConfig
from ranking import NetworkConfig, Ranker, RankerConfig

# The properties are split and not the requests: those of the test are new to the ranker and to the encoder.
LOG = """\
name = "{name}"

[files]
impressions = "impressions.parquet"
items = "items.parquet"
users = "users.parquet"

[columns]
request = "request_id"
item = "item_id"
user = "user_id"
time = "timestamp"
{query}categorical = {categorical}
numeric = {numeric}

[position]
column = "position"

[heads.closeup]
[heads.click]
[heads.long_click]
implies = ["click"]
[heads.save]

[split]
by = "item"
fractions = {{ train = 0.7, calibrate = 0.1, tune = 0.0, test = 0.2 }}
"""
FEATURES = {"card": (("segment",), ("price",)), "catalogue": (CATEGORICAL, NUMERIC)}


@dataclass(frozen=True)
class Sizes:
    """How large a world is, and how long its encoder and its rankers are trained."""

    properties: int = 6000
    photos: int = 8
    users: int = 20_000
    requests: int = 60_000
    candidates: int = 20
    query: float = 0.0
    encoder_epochs: int = 12
    sample_photos: int = 4
    ranker_epochs: int = 8


class Marketplace:
    """One world in a folder: made once, embedded once per arm, found again by the next run.

    Args:
        folder: Where it lies; a folder made with another seed or other sizes is refused.
        seed: Of the world, the encoder and the rankers.
        sizes: How large.
        say: Gets a line per step.
    """

    def __init__(self, folder: Path, seed: int, sizes: Sizes, say: Callable[[str], None]) -> None:
        self.folder, self.seed, self.sizes, self.say = folder, seed, sizes, say
        settings = json.dumps({"seed": seed, **asdict(sizes)}, indent=1)
        stamp = folder / "settings.json"
        if stamp.exists() and stamp.read_text(encoding="utf-8") != settings:
            raise SystemExit(f"{folder} holds a run with other settings: name another folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(settings, encoding="utf-8")
        if not (folder / "world" / "dataset.toml").exists():  # written last: a folder with it is complete
            start = time.process_time()
            make_world(folder / "world", photos=sizes.photos, requests=sizes.requests, candidates=sizes.candidates,
                       **self._world_arguments())  # fmt: skip
            say(f"world made in {time.process_time() - start:.0f} CPU seconds")

    def _world_arguments(self) -> dict[str, float]:
        s = self.sizes
        return {"seed": self.seed, "properties": s.properties, "users": s.users, "query": s.query}

    def log(self, features: str = "card", *, query: bool = False, vectors: Path | None = None) -> Dataset:
        """The log with a set of features of `FEATURES`, with or without the property being looked at."""
        name = f"marketplace-{features}{'-query' if query else ''}"
        path = self.folder / "world" / f"{name}.toml"
        categorical, numeric = (json.dumps(list(names)) for names in FEATURES[features])
        looked_at = 'query_item = "query_item_id"\n' if query else ""
        text = LOG.format(name=name, query=looked_at, categorical=categorical, numeric=numeric)
        path.write_text(text, encoding="utf-8")
        return Dataset.open(path, vectors=vectors or False)

    @cached_property
    def data(self) -> GalleryData:
        """Its galleries and their attributes."""
        return GalleryData.open(self.folder / "world")

    @cached_property
    def photos(self) -> PhotoSource:
        """Their pixels, decoded."""
        start = time.process_time()
        photos = open_photos(self.data, 64)
        self.say(f"{int(photos.sound.sum()):,} sound photos decoded in {time.process_time() - start:.0f} CPU seconds")
        return photos

    @cached_property
    def known(self) -> np.ndarray:
        """Rows (n,) of the properties that are not in the test: what an encoder may learn from."""
        roles = roles_by_hash(hash_ids(self.data.item_ids), self.log().schema.split.shares)
        return np.flatnonzero(roles != ROLES.index("test"))

    # ------------------------------------------------------------------------------------------------ vectors
    def vectors(self, name: str, make: Callable[[], Embeddings]) -> Path:
        """The file of an arm's vectors, made at the first call."""
        path = self.folder / "vectors" / f"{name}.parquet"
        if not path.exists():
            make().write(path)
        return path

    def encoder_config(self) -> EncoderConfig:
        """The built-in network; each epoch sees other photos of every gallery, which is cheaper and overfits less."""
        return EncoderConfig(
            photo_budget=128,
            sample_photos=self.sizes.sample_photos,
            training={"epochs": self.sizes.encoder_epochs, "precision": "float32"},
            seed=self.seed,
        )

    def mtl(self) -> Embeddings:
        """Vectors of an encoder trained on the 31 attributes of the known properties."""
        folder = self.folder / "encoder"
        if not (folder / "manifest.json").exists():
            start = time.process_time()
            encoder = GalleryEncoder.fit(
                self.data, self.encoder_config(), rows=self.known, photos=self.photos, progress=False,
                checkpoint=self.folder / "encoder_checkpoint", log=self.say,
            )  # fmt: skip
            self.say(f"encoder trained in {time.process_time() - start:.0f} CPU seconds")
            encoder.save(folder)
        return GalleryEncoder.load(folder).embed(self.data, photos=self.photos)

    def untrained(self) -> Embeddings:
        """Vectors of the same network with its random weights."""
        encoder = GalleryEncoder.untrained(
            self.data, self.encoder_config(), rows=self.known, photos=self.photos, progress=False
        )
        return encoder.embed(self.data, photos=self.photos)

    def shuffled(self, of: Path) -> Embeddings:
        """The vectors of `of`, each given to another property at random."""
        vectors = Embeddings.open(of)
        order = np.random.default_rng(self.seed).permutation(len(vectors))
        return Embeddings(vectors.ids, vectors.matrix[order], vectors.encoder, vectors.photos, vectors.item)

    def latents(self) -> Embeddings:
        """What photos are painted from and users react to: six latents and the quality of the photos, standardised."""
        properties = World.generate(**self._world_arguments()).properties
        truth = np.column_stack([properties.latents, properties.photo_quality])  # (V, 7)
        truth = (truth - truth.mean(0)) / truth.std(0)
        return Embeddings(np.arange(len(truth)), truth.astype(np.float32), "latents", "none")

    # ------------------------------------------------------------------------------------------------ scores
    def scores(self, name: str, log: Callable[[], Dataset]) -> np.ndarray:
        """p(click) (n,) of the test rows by a ranker fitted on `log()`; kept in the folder."""
        path = self.folder / "scores" / f"{name}.npy"
        if not path.exists():
            dataset, start = log(), time.process_time()
            scores = fit_and_score(dataset, self.seed, self.sizes.ranker_epochs)
            path.parent.mkdir(exist_ok=True)
            with (part := path.with_suffix(".part")).open("wb") as file:
                np.save(file, scores)
            part.replace(path)
            self.say(f"{name}: ranker fitted and scored in {time.process_time() - start:.0f} CPU seconds")
        return np.load(path)

    def truth(self) -> dict[str, np.ndarray]:
        """Of the test rows: click, its true probability, the request and the property."""
        table = self.log().table("test", ["click", "true_click", "request_id", "item_id"])
        return {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}


def ranker_config(seed: int, epochs: int) -> RankerConfig:
    """The network of every arm; what differs between arms is what it is given."""
    training = TrainingConfig(epochs=epochs, batch_size=2048, patience=epochs)
    return RankerConfig(network=NetworkConfig(dropout=0.1), training=training, seed=seed)


def fit_and_score(log: Dataset, seed: int, epochs: int) -> np.ndarray:
    """p(click) (n,) of the test rows, at their logged positions: the oracle's probabilities are of these."""
    ranker = Ranker.fit(log, ranker_config(seed, epochs))
    test = encode_log(log, ranker.encoders, "test", serving_position=False)
    z = ranker.scorer.logits(test.inputs)
    return np.exp(ranker.log_probabilities(z, 1.0, logged_position=True)[:, ranker.heads.index("click")])


def clock() -> Callable[[str], None]:
    """Prints lines with the minutes since it was made."""
    start = time.perf_counter()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.perf_counter() - start), 60)
        print(f"[{minutes:3d}:{seconds:02d}] {line}", flush=True)

    return say
