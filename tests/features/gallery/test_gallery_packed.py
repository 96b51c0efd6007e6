"""Packed galleries: nothing is padded, and what is padded later holds nothing of other galleries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from features.gallery.packed import PackedGalleries, pad


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


def test_selecting_photos_keeps_galleries_apart_and_may_empty_one() -> None:
    packed = PackedGalleries.from_list(galleries(2, 1, 3))
    keep = torch.tensor([True, False, False, True, False, True])
    chosen = packed.select_photos(keep)
    assert chosen.counts.tolist() == [1, 0, 2]
    assert torch.equal(chosen.pixels, packed.pixels[[0, 3, 5]])
    with pytest.raises(ValueError, match=r"`keep` must be \(6,\) bool, got \(6,\) torch.int64"):
        packed.select_photos(keep.long())


def test_moving_moves_both_parts() -> None:
    moved = PackedGalleries.from_list(galleries(2, 1)).to("meta")
    assert moved.pixels.device.type == moved.offsets.device.type == "meta"


@pytest.mark.parametrize(
    "offsets", [torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([0, 3, 2, 3]), torch.tensor([0.0, 3.0])]
)
def test_offsets_that_describe_no_galleries_are_refused(offsets: Tensor) -> None:
    with pytest.raises(ValueError, match="`offsets` must"):
        PackedGalleries(galleries(3)[0], offsets)


def test_padding_equals_the_loop_and_passes_gradients_to_photos_only() -> None:
    offsets = torch.tensor([0, 2, 2, 5, 6])
    embeddings = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    padded, mask = pad(embeddings, offsets)
    assert padded.shape == (4, 3, 4)
    for i in range(4):
        own = embeddings[offsets[i] : offsets[i + 1]]
        assert torch.equal(padded[i, : len(own)], own)
        assert not padded[i, len(own) :].any()
        assert mask[i].tolist() == [j < len(own) for j in range(3)]
    padded.sum().backward()
    assert torch.equal(embeddings.grad, torch.ones(6, 4))


def test_padding_no_galleries_gives_none() -> None:
    padded, mask = pad(torch.empty(0, 4), torch.tensor([0]))
    assert (padded.shape, mask.shape) == ((0, 0, 4), (0, 0))
