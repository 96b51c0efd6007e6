"""Galleries of different lengths in one batch, one photo after the other: photos are never padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PackedGalleries:
    """B galleries, stored as all their photos in a row and where each gallery begins.

    Parameters
    ----------
    pixels : Tensor
        `(sum N_i, 3, S, S)` uint8, the photos of gallery 0 in order, then those of gallery 1, and so on. Whatever has
        one row per photo can stand here, such as features `(sum N_i, D)` of a frozen part of the network.
    offsets : Tensor
        `(B + 1,)` int64: gallery i holds the photos `offsets[i]` to `offsets[i + 1]`; equal numbers are an empty
        gallery.

    Raises
    ------
    ValueError
        `offsets` is no such vector, or (checked on the CPU only) does not run from 0 up to the number of photos.

    Examples
    --------
    >>> galleries = PackedGalleries.from_list([torch.zeros(2, 3, 4, 4), torch.ones(1, 3, 4, 4)])
    >>> len(galleries), galleries.counts.tolist(), galleries.gallery_of_photo.tolist()
    (2, [2, 1], [0, 0, 1])
    """

    pixels: Tensor
    offsets: Tensor

    def __post_init__(self) -> None:
        offsets = self.offsets
        if offsets.ndim != 1 or len(offsets) < 1 or offsets.dtype != torch.int64:
            raise ValueError(f"`offsets` must be (B + 1,) int64, got {tuple(offsets.shape)} {offsets.dtype}")
        if offsets.device.type == "cpu":  # reading a number on another device would wait for it at every batch
            first, last, photos = int(offsets[0]), int(offsets[-1]), len(self.pixels)
            if first != 0 or last != photos or bool((offsets.diff() < 0).any()):
                raise ValueError(f"`offsets` must rise from 0 to the {photos} photos, got {first} to {last}")

    @classmethod
    def from_list(cls, galleries: Sequence[Tensor]) -> PackedGalleries:
        """Pack galleries `(N_i, 3, S, S)` that stand alone."""
        counts = torch.tensor([0, *(len(gallery) for gallery in galleries)])
        return cls(torch.cat(list(galleries)), counts.cumsum(0))

    def __len__(self) -> int:
        """How many galleries."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> Tensor:
        """Photos of each gallery `(B,)` int64."""
        return self.offsets.diff()

    @property
    def gallery_of_photo(self) -> Tensor:
        """The gallery `(sum N_i,)` int64 that each photo belongs to."""
        galleries = torch.arange(len(self), device=self.offsets.device)
        return torch.repeat_interleave(galleries, self.counts, output_size=len(self.pixels))

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PackedGalleries:
        """The same galleries on `device`."""
        return PackedGalleries(
            self.pixels.to(device, non_blocking=non_blocking), self.offsets.to(device, non_blocking=non_blocking)
        )


__all__ = ["PackedGalleries"]
