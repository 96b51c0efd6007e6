"""The three image sets, whole in memory as uint8, cut into training, validation and test images."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

VALIDATION = 10_000  # images, of MNIST and CIFAR-10 [Selective 4.1]
DRAWERS = (16, 2, 2)  # of Omniglot's 20: training, validation, test
SIDE = 28  # px, what Omniglot's images are resized to [Selective 4.1]


@dataclass(frozen=True)
class Images:
    """N images and their class.

    Attributes:
        pixels: `(N, H, W, C)` uint8; channels last, so that a batch needs no other order for fast convolutions.
        labels: `(N,)` long.
        mean: `(C,)` what is subtracted, in units of a pixel's range 0..1.
    """

    pixels: Tensor
    labels: Tensor
    mean: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, C, H, W)` float images and `(B,)` classes."""
        return self._floats(self.pixels.index_select(0, index)), self.labels.index_select(0, index)

    def part(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Rows `start` to `stop` as `select` gives them."""
        return self._floats(self.pixels[start:stop]), self.labels[start:stop]

    def _floats(self, pixels: Tensor) -> Tensor:
        return (pixels.float() / 255 - self.mean).permute(0, 3, 1, 2)

    def first(self, count: int) -> Images:
        """The first `count` images."""
        return Images(self.pixels[:count], self.labels[:count], self.mean)


@dataclass(frozen=True)
class Splits:
    """What is trained on, what picks the best epoch, what is reported; `names` are the classes'."""

    train: Images
    validation: Images
    test: Images
    names: tuple[str, ...]

    def small(self, images: int | None) -> Splits:
        """At most `images` training images, None = all; validation and test images stay whole.

        The training images come in a random order that is the same for all, so the first ones are a sample.
        """
        if images is None:
            return self
        if images < 1:
            raise ValueError(f"`images` must be at least 1, got {images}")
        return Splits(self.train.first(images), self.validation, self.test, self.names)


def _cut(pixels: np.ndarray, labels: np.ndarray, mean: np.ndarray, rows: np.ndarray) -> Images:
    return Images(
        torch.from_numpy(np.ascontiguousarray(pixels[rows])),
        torch.from_numpy(labels[rows].astype(np.int64)),
        torch.from_numpy(mean.astype(np.float32)),
    )


def _train_and_test(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], names: tuple[str, ...], centre: bool
) -> Splits:
    """Validation is the last `VALIDATION` of one fixed shuffle of the training file: the same cut in every seed."""
    order = np.random.default_rng(0).permutation(len(train[1]))
    own, held = order[:-VALIDATION], order[-VALIDATION:]
    channels = train[0].shape[-1]
    mean = train[0][own].mean(axis=(0, 1, 2)) / 255 if centre else np.zeros(channels)
    shuffled_test = np.random.default_rng(1).permutation(len(test[1]))  # the pictures' first images are a sample of it
    return Splits(_cut(*train, mean, own), _cut(*train, mean, held), _cut(*test, mean, shuffled_test), names)


def mnist(folder: Path) -> Splits:
    """50,000 / 10,000 / 10,000 digits of 28 x 28 px; no preprocessing beyond the scale to 0..1 [Selective 4.1]."""
    with np.load(folder / "mnist.npz") as file:
        parts = [(file[f"x_{part}"][..., None], file[f"y_{part}"]) for part in ("train", "test")]
    return _train_and_test(parts[0], parts[1], tuple("0123456789"), centre=False)


def cifar10(folder: Path) -> Splits:
    """40,000 / 10,000 / 10,000 photos of 32 x 32 px, minus the training images' mean colour [Selective 4.1]."""
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(folder / "cifar10.parquet").to_pandas()
    parts = []
    for name in ("train", "test"):
        rows = table[table.split == name]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in rows.jpeg])
        parts.append((pixels, rows.label.to_numpy()))
    names = tuple(table.drop_duplicates("label").sort_values("label").label_name)
    return _train_and_test(parts[0], parts[1], names, centre=True)


def omniglot(folder: Path, seed: int = 0) -> Splits:
    """Which alphabet a character belongs to, 28 x 28 px; nobody's handwriting lies in two parts.

    80 - 10 - 10 of the drawers [Selective table 4]. Two drawers are only 484 test images, so `seed` also draws which
    drawers they are: a mean over seeds is then no statement about two people's hands.
    """
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(folder / "omniglot.parquet").to_pandas()
    names = tuple(sorted(table.alphabet.unique()))
    pixels = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(png)).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
            for png in table.png
        ]
    )
    pixels = 255 - pixels[..., None]  # ink is 1, paper 0, as in MNIST
    labels = table.alphabet.map({name: number for number, name in enumerate(names)}).to_numpy()
    generator = np.random.default_rng(seed)
    drawers = generator.permutation(np.arange(1, 1 + sum(DRAWERS)))
    bounds = np.cumsum((0, *DRAWERS))
    mean = np.zeros(1)
    cuts = []
    for start, stop in pairwise(bounds):
        rows = np.flatnonzero(table.drawer.isin(drawers[start:stop]))
        cuts.append(_cut(pixels, labels, mean, generator.permutation(rows)))
    return Splits(*cuts, names)
