"""Batches of whole galleries, cut by a budget of photos; every epoch has the same number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from features.gallery.cutting import cut_evenly
from features.gallery.gathering import GalleryBatch, Photos, SoundGalleries, ahead, ranges
from features.gallery.packed import PackedGalleries
from features.gallery.photos import PhotoIndex
from multitask import distributed

Augment = Callable[[Tensor, int, int], Tensor]  # pixels (n, 3, S, S) uint8, epoch, step -> the same shape


class GalleryBatches:
    """Shuffled galleries for `multitask.fit`: the order depends on (seed, epoch) only.

    An epoch has a fixed number of steps, so that learning rates and checkpoints know where they stand: with T photos
    in all, N galleries, the largest of L photos and a budget of B,

        steps = min(N, ceil(T / (B - L + 1))),

    and the shuffled galleries are cut where the photos before them pass T k / steps, k = 1, 2, ... Then no batch holds
    more than B photos (`cut_evenly`). Galleries without a sound photo are left out.

    Under `torchrun` the budget is that of all processes together, every batch holds the same number of galleries for
    each of them, and every process takes its slice (a rest of fewer galleries than processes is left out of an epoch).

    Parameters
    ----------
    source : PhotoSource
        What gives pixels. Where it decodes on demand, the next batch is prepared while this one is trained on.
    photo_index : PhotoIndex
        Which photos belong to which item.
    item_rows : array `(n,)` int64
        The items of this epoch, as rows of the items table.
    labels : Tensor `(V, T)`
        Labels of all items, by row of the items table.
    photo_budget : int
        B, photos of a batch.
    seed : int
    sample_photos : int, optional
        At most so many photos of a gallery, others in every epoch, in their order.
    keep_cover : bool
        The first photo is always among them.
    augment : callable, optional
        `(pixels, epoch, step) -> pixels`, such as an `Augmentation`.
    device : optional
        Where the batches are handed over.
    rank, world : int, optional
        This process's number and the number of processes; None = as `torchrun` says.

    Raises
    ------
    ValueError
        A number is out of range; the budget is smaller than the largest gallery (times the processes); no gallery has
        a sound photo.
    """

    def __init__(
        self,
        source: Photos,
        photo_index: PhotoIndex,
        item_rows: np.ndarray,
        labels: Tensor,
        *,
        photo_budget: int,
        seed: int = 0,
        sample_photos: int | None = None,
        keep_cover: bool = False,
        augment: Augment | None = None,
        device: torch.device | str | None = None,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        self.rank = distributed.rank() if rank is None else rank
        self.world = distributed.world_size() if world is None else world
        if not 0 <= self.rank < self.world:
            raise ValueError(f"`rank` must satisfy 0 <= rank < world ({self.world}), got {self.rank}")
        if sample_photos is not None and sample_photos < 1:
            raise ValueError(f"`sample_photos` must be at least 1, got {sample_photos}")
        if len(labels) != photo_index.items:
            raise ValueError(f"`labels` must hold one row per item ({photo_index.items}), got {len(labels)}")
        self.source, self.labels, self.seed, self.augment, self.device = source, labels, seed, augment, device
        self.sample_photos, self.keep_cover = sample_photos, keep_cover
        self._galleries = SoundGalleries(source, photo_index, item_rows)
        counts = self._galleries.counts
        self._counts = counts if sample_photos is None else np.minimum(counts, sample_photos)
        if len(counts) < self.world:
            raise ValueError(
                f"`item_rows` must hold {self.world} galleries or more with a sound photo, got {len(counts)}"
            )
        largest = int(self._counts.max()) * self.world
        if photo_budget < largest:
            each = f" for each of {self.world} processes" if self.world > 1 else ""
            raise ValueError(
                f"`photo_budget` must be at least {largest}, the largest gallery{each} (or let `sample_photos` be "
                f"smaller), got {photo_budget}"
            )
        steps = -(-int(self._counts.sum()) // (photo_budget - largest + 1))
        self.steps = min(len(counts) // self.world, steps)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self.steps

    @property
    def rows(self) -> int:
        """Galleries of an epoch, over all processes; the loop reports galleries per second by it."""
        return len(self._counts) // self.world * self.world

    def epoch(self, number: int, start: int = 0) -> Iterator[GalleryBatch]:
        """The batches of epoch `number` from step `start` on."""
        random = np.random.default_rng(np.random.SeedSequence([self.seed, number]))
        order = random.permutation(len(self._counts))[: self.rows]
        photos = self._sampled(random)
        # With several processes, one gallery for each of them is the element that is not cut apart.
        sizes = self._counts[order].reshape(-1, self.world).sum(1)
        cuts = cut_evenly(sizes, self.steps) * self.world

        def batch(step: int) -> GalleryBatch:
            chosen = order[cuts[step] : cuts[step + 1]]
            share = len(chosen) // self.world
            chosen = chosen[self.rank * share : (self.rank + 1) * share]
            return self._galleries.batch(chosen, photos, self.labels, self.device)

        for step, made in zip(range(start, self.steps), ahead(batch, range(start, self.steps), self.source.on_demand)):
            if self.augment is None:
                yield made
            else:
                pixels = self.augment(made.galleries.pixels, number, step)
                yield GalleryBatch(PackedGalleries(pixels, made.galleries.offsets), made.labels, made.rows)

    def _sampled(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The photos of this epoch, gallery by gallery, and where each gallery's begin."""
        all_photos, offsets = self._galleries.photos, self._galleries.offsets
        if self.sample_photos is None:
            return all_photos, offsets
        gallery = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        key = random.random(len(all_photos))
        if self.keep_cover:
            key[offsets[:-1]] = -1.0
        by_key = np.lexsort((key, gallery))  # within each gallery in random order
        keep = np.sort(by_key[np.arange(len(by_key)) - offsets[gallery] < self.sample_photos])
        return all_photos[keep], np.concatenate([[0], np.cumsum(self._counts)])


def sequential_batches(
    source: Photos,
    photo_index: PhotoIndex,
    item_rows: np.ndarray,
    photo_budget: int,
    *,
    labels: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Iterator[GalleryBatch]:
    """Every gallery with a sound photo once and in order, for embedding and validation.

    Parameters
    ----------
    source, photo_index, item_rows, device
        As for `GalleryBatches`.
    photo_budget : int
        Photos of a batch; a gallery with more is a batch of its own.
    labels : Tensor `(V, T)`, optional
        Without them the batches' labels have no columns.

    Raises
    ------
    ValueError
        The budget is below 1.
    """
    if photo_budget < 1:
        raise ValueError(f"`photo_budget` must be at least 1, got {photo_budget}")
    galleries = SoundGalleries(source, photo_index, item_rows)
    labels = torch.empty(photo_index.items, 0) if labels is None else labels
    ends, cuts = galleries.offsets[1:], [0]
    while cuts[-1] < len(ends):
        fits = int(np.searchsorted(ends, galleries.offsets[cuts[-1]] + photo_budget, side="right"))
        cuts.append(max(fits, cuts[-1] + 1))

    def batch(step: int) -> GalleryBatch:
        chosen = np.arange(cuts[step], cuts[step + 1])
        return galleries.batch(chosen, (galleries.photos, galleries.offsets), labels, device)

    yield from ahead(batch, range(len(cuts) - 1), source.on_demand)


__all__ = ["GalleryBatch", "GalleryBatches", "ranges", "sequential_batches"]
