"""What the retrieval studies train and test on: labelled photos in memory, and triplets drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

UNKNOWN = -1  # a label that an image does not have: such an image is in no triplet of the task


@dataclass(frozen=True)
class Images:
    """Labelled images, divided into two disjoint parts: those that are learned from and those that are tested.

    Attributes:
        pixels: `(N, S, S, 3)` uint8. Channels last, as the photos come and as a processor's convolutions like them.
        labels: `(N, T)` int64, the class of each image in each task, `UNKNOWN` where it has none.
        tasks: the T tasks' names.
        train: rows that training triplets are drawn from.
        test: rows that are embedded and tested.
        classes: per task the classes' names; empty where the classes are no more than numbers.
    """

    pixels: Tensor
    labels: np.ndarray
    tasks: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    classes: tuple[tuple[str, ...], ...] = ()

    def of(self, tasks: Sequence[str]) -> Images:
        """The same images with some of the tasks only, in the order asked for."""
        columns = [self.tasks.index(task) for task in tasks]
        classes = tuple(self.classes[c] for c in columns) if self.classes else ()
        return replace(self, labels=self.labels[:, columns], tasks=tuple(tasks), classes=classes)

    def class_name(self, row: int, task: int) -> str:
        """What image `row` is in `task`, in words."""
        label = int(self.labels[row, task])
        if label == UNKNOWN:
            return "unknown"
        return self.classes[task][label] if self.classes else str(label)


def network_input(pixels: Tensor) -> Tensor:
    """uint8 `(B, S, S, 3)` as the networks want it: float32 `(B, 3, S, S)` around 0, channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().sub_(127.5).div_(64.0)


def draw_triplets(labels: np.ndarray, rows: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`(count, 3)` rows of one task: an anchor, another image of its class, an image of another class.

    The anchor's class is uniform over the task's classes and so is the negative's among the others: a class that most
    images have would otherwise be most of the training and of the test. Half the triplets of a blind embedding are
    right, whatever the shares of the classes.

    Args:
        labels: `(N,)` the task's classes, `UNKNOWN` where there is none.
        rows: which of the N images may be drawn. Classes with one image among them are left out.
        count: triplets.
        random: where the draws come from.

    Raises:
        ValueError: if fewer than two classes have two images each.
    """
    known = rows[labels[rows] != UNKNOWN]
    by_class = known[np.argsort(labels[known], kind="stable")]
    values, sizes = np.unique(labels[by_class], return_counts=True)
    starts = np.cumsum(sizes) - sizes
    usable = sizes >= 2
    starts, sizes = starts[usable], sizes[usable]
    n = len(sizes)
    if n < 2:
        raise ValueError(f"`labels` must have two classes of two images or more among `rows`, got classes {values}")
    cls = random.integers(n, size=count)
    other = (cls + random.integers(1, n, size=count)) % n
    anchor = random.integers(sizes[cls])
    positive = (anchor + 1 + random.integers(sizes[cls] - 1)) % sizes[cls]
    drawn = np.stack([starts[cls] + anchor, starts[cls] + positive, starts[other] + random.integers(sizes[other])], 1)
    return by_class[drawn]


def triplet_table(images: Images, rows: np.ndarray, count: int, seed: int) -> Tensor:
    """`(T, count, 3)` triplets of every task.

    Each task has its own stream of random numbers, named by the task: whoever trains on some of the tasks meets the
    triplets that whoever trains on all of them meets.
    """
    tables = [
        draw_triplets(images.labels[:, t], rows, count, np.random.default_rng([seed, *task.encode()]))
        for t, task in enumerate(images.tasks)
    ]
    return torch.from_numpy(np.stack(tables))


class TripletBatch(NamedTuple):
    """Triplets of all tasks, the same number of each.

    Attributes:
        images: `(B, 3, S, S)` with B = 3 T k: all anchors, then all positives, then all negatives.
        tasks: `(B,)` each image's task.
    """

    images: Tensor
    tasks: Tensor


class Triplets:
    """Fixed training triplets, for `ShuffledBatches`: row i is the i-th triplet of every task.

    So each batch holds as many triplets of one task as of another [Modulation section 4.1], and an epoch meets each
    triplet once.

    Args:
        images: the images.
        count: triplets of each task.
        seed: of the draws.
    """

    def __init__(self, images: Images, count: int, seed: int) -> None:
        self.pixels = images.pixels
        self.triplets = triplet_table(images, images.train, count, seed)

    def __len__(self) -> int:
        return self.triplets.shape[1]

    def select(self, index: Tensor) -> TripletBatch:
        """The rows `index` (k,) of every task."""
        chosen = self.triplets[:, index].permute(2, 0, 1)  # (3, T, k)
        tasks = torch.arange(chosen.shape[1])[None, :, None].expand(chosen.shape)
        return TripletBatch(network_input(self.pixels[chosen.reshape(-1)]), tasks.reshape(-1))

    def of_task(self, task: int, index: Tensor) -> TripletBatch:
        """The rows `index` (k,) of one task alone."""
        chosen = self.triplets[task, index].T  # (3, k)
        return TripletBatch(network_input(self.pixels[chosen.reshape(-1)]), torch.full((chosen.numel(),), task))
