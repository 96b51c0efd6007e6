"""Real photos with four attributes: footwear from a shop's catalogue, split by title."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from examples.modulation.images import UNKNOWN, Images

TASKS = ("type", "gender", "usage", "colour")
COLUMNS = {"type": "article_type", "gender": "gender", "usage": "usage", "colour": "base_colour"}
# Three small groups of one kind; "unknown" is no gender.
SAME = {"gender": {"boys": "kids", "girls": "kids", "unknown": None}}
FEWEST = 40  # photos of a class; the rarer classes are unknown
_NUMBER = re.compile(r"[^a-z]+")


def load_footwear(folder: Path, size: int, seed: int, test_share: float = 0.2) -> Images:
    """The photos' middle squares, the four tasks, a split in which no test title is like a training title.

    Colour variants of one shoe have the same title but for the colour's name, so titles without names of colours and
    without numbers are what is split: all photos of one such title are on one side.

    Args:
        folder: of `footwear.parquet`.
        size: pixels of a side. The photos are 60 x 80, with the shoe in the middle 60 x 60.
        seed: of the split.
        test_share: share of the titles that is tested.
    """
    table = pd.read_parquet(folder / "footwear.parquet")
    labels, classes = zip(*(_labels(table[column], SAME.get(task, {})) for task, column in COLUMNS.items()))
    groups = pd.factorize(bare_titles(table["title"], table["base_colour"]))[0]
    chosen = np.random.default_rng([seed, 1]).random(groups.max() + 1) < test_share
    tested = chosen[groups]
    pixels = np.stack([_middle(data, size) for data in table["jpeg"]])
    return Images(
        pixels=torch.from_numpy(pixels),
        labels=np.stack(labels, axis=1),
        tasks=TASKS,
        train=np.flatnonzero(~tested),
        test=np.flatnonzero(tested),
        classes=tuple(classes),
    )


def bare_titles(titles: pd.Series, colours: pd.Series) -> pd.Series:
    """Titles in lower case without the words of any colour's name, without numbers and signs.

    >>> bare_titles(pd.Series(["Puma Men Blue RS-2 Shoes", "Puma Men White RS-2 Shoes"]), pd.Series(["Blue", "White"]))
    0    puma men rs shoes
    1    puma men rs shoes
    dtype: str
    """
    words = {word for colour in colours.unique() for word in colour.lower().split()}
    return titles.str.lower().map(lambda t: " ".join(w for w in _NUMBER.sub(" ", t).split() if w not in words))


def _labels(column: pd.Series, same: dict[str, str | None]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers `(N,)` and the classes' names, most frequent first."""
    values = column.map(lambda value: same.get(value, value))
    counts = values.value_counts()
    names = [str(name) for name, count in counts.items() if count >= FEWEST]
    numbers = values.map({name: i for i, name in enumerate(names)}).fillna(UNKNOWN)
    return numbers.to_numpy(np.int64), tuple(names)


def _middle(data: bytes, size: int) -> np.ndarray:
    """The middle square of a photo, `(size, size, 3)` uint8: above and below the shoe there is only background."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as photo:
        side = min(photo.size)
        left, top = (photo.width - side) / 2, (photo.height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(photo.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box))
