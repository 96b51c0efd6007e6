"""Galleries gathered from single photos: which photos a gallery has, and a batch of some galleries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from features.gallery.packed import PackedGalleries
from features.gallery.photos import PhotoIndex


class Photos(Protocol):
    """What gives pixels by photo number: a `PhotoSource`, or a cache of a frozen network's features."""

    on_demand: bool
    sound: np.ndarray

    def pixels(self, rows: np.ndarray) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class GalleryBatch:
    """B galleries with their labels `(B, T)` float32 (NaN = missing) and their rows `(B,)` int64 of the items table."""

    galleries: PackedGalleries
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)


class SoundGalleries:
    """The galleries of some items that have a sound photo, as photo numbers."""

    def __init__(self, source: Photos, index: PhotoIndex, item_rows: np.ndarray) -> None:
        self.source = source
        sound, offsets = index.galleries(source.sound)
        rows = np.asarray(item_rows, np.int64)
        self.rows = rows[np.diff(offsets)[rows] > 0]
        self.counts = np.diff(offsets)[self.rows]
        self.offsets = np.concatenate([[0], np.cumsum(self.counts)])
        self.photos = sound[ranges(offsets[self.rows], self.counts)]

    def batch(
        self,
        chosen: np.ndarray,
        photos: tuple[np.ndarray, np.ndarray],
        labels: Tensor,
        device: torch.device | str | None,
    ) -> GalleryBatch:
        """The galleries `chosen`, of which `photos` (numbers, offsets) are to be used."""
        numbers, offsets = photos
        counts = np.diff(offsets)[chosen]
        pixels = self.source.pixels(numbers[ranges(offsets[chosen], counts)])
        packed = PackedGalleries(pixels, torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])))
        rows = torch.from_numpy(self.rows[chosen])
        batch = GalleryBatch(packed, labels.index_select(0, rows.to(labels.device)), rows)
        if device is None:
            return batch
        return GalleryBatch(packed.to(device), batch.labels.to(device), rows.to(device))


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`starts[i], starts[i] + 1, ..., starts[i] + counts[i] - 1` for every i, one after the other.

    Examples
    --------
    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - ends + counts, counts)


def ahead(make: Callable[[int], GalleryBatch], steps: range, in_thread: bool) -> Iterator[GalleryBatch]:
    """The batches of `steps`, the next one made in a thread while this one is used if that pays."""
    if not in_thread:
        yield from map(make, steps)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="galleries") as pool:
        pending = None
        for step in steps:
            following = pool.submit(make, step)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()


__all__ = ["GalleryBatch", "Photos", "SoundGalleries", "ahead", "ranges"]
