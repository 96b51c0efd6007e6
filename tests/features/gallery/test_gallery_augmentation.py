"""Augmentation: off is the identity, what is constant stays so, and every change is its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import features.gallery.augmentation as augmentation_module
from features.gallery.augmentation import Augmentation


def photos(n: int = 40, size: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)


ALL = Augmentation(flip=True, crop=0.4, rotate=20.0, jitter=0.3)


def test_everything_off_changes_nothing() -> None:
    assert torch.equal(Augmentation(flip=False)(photos(), 0, 0), photos())


def test_a_flip_mirrors_about_half_of_the_photos_exactly() -> None:
    changed = Augmentation()(photos(400, 4), 0, 0)
    same = (changed == photos(400, 4)).flatten(1).all(1)
    mirrored = (changed == photos(400, 4).flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_a_flip_by_resampling_is_the_same_flip() -> None:
    nearly = Augmentation(crop=1e-9)(photos(), 1, 2)  # so small a crop only switches the resampling on
    assert (nearly.int() - Augmentation()(photos(), 1, 2).int()).abs().max() <= 1


@pytest.mark.parametrize("options", [{"crop": 0.5}, {"rotate": 45.0}, {"crop": 0.5, "rotate": 180.0}])
def test_moving_a_photo_of_one_color_leaves_it(options: dict[str, float]) -> None:
    plain = torch.tensor([7, 130, 250], dtype=torch.uint8)[None, :, None, None].expand(9, 3, 10, 10).contiguous()
    assert torch.equal(Augmentation(**options)(plain, 0, 0), plain)  # type: ignore[arg-type]


def test_a_crop_keeps_the_share_of_the_area_it_says() -> None:
    """On a ramp from left to right the range that is left is the crop's side: sqrt(1 - crop u), u in [0, 1)."""
    ramp = torch.arange(0, 240, 4, dtype=torch.uint8).expand(200, 3, 60, 60).contiguous()
    changed = Augmentation(flip=False, crop=0.5)(ramp, 0, 0).float()
    side = (changed[:, 0, 30, -1] - changed[:, 0, 30, 0]) / (4 * 59)
    assert float(side.min()) >= 0.5**0.5 - 0.03
    assert float(side.min()) < 0.75
    assert float(side.max()) > 0.95
    assert int(changed.min()) >= 0


def test_a_rotation_turns_by_its_angle() -> None:
    """A ramp's gradient points to the right; after turning by a its direction is a, for both shape and sign."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    ramp = (100 + x + 0 * y).to(torch.uint8).expand(60, 3, 40, 40).contiguous()
    changed = Augmentation(flip=False, rotate=30.0)(ramp, 0, 0).float()[:, 0, 12:28, 12:28]
    right = (changed[:, :, -1] - changed[:, :, 0]).mean(1)
    down = (changed[:, -1] - changed[:, 0]).mean(1)
    angle = torch.rad2deg(torch.atan2(down, right)).abs()
    assert float(angle.max()) <= 32.0
    assert float(angle.max()) > 25.0
    assert torch.allclose(torch.hypot(right, down), torch.tensor(15.0), atol=1.0)


def test_jitter_is_brightness_then_contrast_then_saturation() -> None:
    size, jitter = 6, 0.4
    x = (photos(20, size) // 2 + 40).float()  # in the middle, so that nothing is clipped
    found = Augmentation(flip=False, jitter=jitter, seed=5)(x.to(torch.uint8), 3, 4)
    state = np.random.SeedSequence([5, 3, 4]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    b, c, s = (1 + jitter * (2 * torch.rand(20, 8, generator=generator)[:, 5:8] - 1)).T[:, :, None, None, None]

    def gray(image: Tensor) -> Tensor:
        return 0.299 * image[:, :1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:]

    bright = b * x
    mean = gray(bright).mean((2, 3), keepdim=True)
    contrasted = mean + c * (bright - mean)
    expected = gray(contrasted) + s * (contrasted - gray(contrasted))
    assert (found.float() - expected.clamp(0, 255)).abs().max() <= 0.51


def test_the_same_seed_epoch_and_step_give_the_same_photos() -> None:
    first = ALL(photos(), 2, 3)
    assert torch.equal(first, ALL(photos(), 2, 3))
    others = [ALL(photos(), 2, 4), ALL(photos(), 3, 3), Augmentation(True, 0.4, 20.0, 0.3, seed=1)(photos(), 2, 3)]
    assert all(not torch.equal(first, other) for other in others)


def test_photos_of_a_batch_are_changed_each_in_its_own_way() -> None:
    changed = ALL(photos(1).expand(8, -1, -1, -1), 0, 0)
    assert len({photo.numpy().tobytes() for photo in changed}) == 8


def test_slices_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ALL(photos(), 0, 0)
    monkeypatch.setattr(augmentation_module, "CACHED", 7)
    assert torch.equal(ALL(photos(), 0, 0), whole)


def test_no_photos_are_no_photos() -> None:
    assert ALL(photos(0), 0, 0).shape == (0, 3, 12, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 1.0}, "`crop` must satisfy 0 <= crop < 1, got 1.0"),
        ({"jitter": -0.1}, "`jitter` must satisfy 0 <= jitter < 1, got -0.1"),
        ({"rotate": 181.0}, "`rotate` must satisfy 0 <= rotate <= 180 degrees, got 181.0"),
        ({"crop": float("nan")}, "`crop` must satisfy"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)  # type: ignore[arg-type]
