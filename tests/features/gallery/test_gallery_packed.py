"""Packed galleries: nothing is padded, and every photo stays in its gallery."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from features.gallery.packed import PackedGalleries


def galleries(*counts: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (count, 3, 2, 2), dtype=torch.uint8, generator=generator) for count in counts]


def test_a_gallery_is_the_photos_between_its_offsets() -> None:
    alone = galleries(3, 0, 1, 2)
    packed = PackedGalleries.from_list(alone)
    assert len(packed) == 4
    assert packed.counts.tolist() == [3, 0, 1, 2]
    for i, gallery in enumerate(alone):
        assert torch.equal(packed.pixels[packed.offsets[i] : packed.offsets[i + 1]], gallery)
        assert torch.equal(packed.pixels[packed.gallery_of_photo == i], gallery)
    assert packed.pixels.dtype == torch.uint8


def test_moving_moves_both_parts() -> None:
    moved = PackedGalleries.from_list(galleries(2, 1)).to("meta")
    assert moved.pixels.device.type == moved.offsets.device.type == "meta"


@pytest.mark.parametrize(
    "offsets", [torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([0, 3, 2, 3]), torch.tensor([0.0, 3.0])]
)
def test_offsets_that_describe_no_galleries_are_refused(offsets: Tensor) -> None:
    with pytest.raises(ValueError, match="`offsets` must"):
        PackedGalleries(galleries(3)[0], offsets)
