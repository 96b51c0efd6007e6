"""Batches of stored outputs of a frozen part, in place of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from features.gallery.batches import GalleryBatch, GalleryBatches
from features.gallery.photos import PhotoIndex
from features.gallery.prefix_cache import PrefixCache


class CachedBatches:
    """`GalleryBatches` of stored outputs, with other versions of the photos in every epoch.

    Parameters
    ----------
    cache : PrefixCache
    photo_index, item_rows, labels, settings
        As for `GalleryBatches`.
    """

    def __init__(
        self, cache: PrefixCache, photo_index: PhotoIndex, item_rows: np.ndarray, labels: Tensor, *, seed: int = 0,
        **settings: Any,
    ) -> None:  # fmt: skip
        self._view = _EpochView(cache, seed)
        self._batches = GalleryBatches(self._view, photo_index, item_rows, labels, seed=seed, **settings)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self._batches)

    @property
    def rows(self) -> int:
        """Galleries of an epoch, over all processes."""
        return self._batches.rows

    def epoch(self, number: int, start: int = 0) -> Iterator[GalleryBatch]:
        """The batches of epoch `number` from step `start` on; `galleries.pixels` holds stored outputs."""
        self._view.epoch = number
        yield from self._batches.epoch(number, start)


class _EpochView:
    """A cache that gives the versions of one epoch; nothing is read ahead, so the epoch may change between two."""

    on_demand = False

    def __init__(self, cache: PrefixCache, seed: int) -> None:
        self.cache, self.sound, self.seed, self.epoch = cache, cache.sound, seed, 0

    def pixels(self, rows: np.ndarray) -> Tensor:
        return self.cache.of_epoch(rows, self.epoch, self.seed)


__all__ = ["CachedBatches"]
