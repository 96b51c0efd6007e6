"""Random changes of photos that leave what they show the same: flip, crop, rotate, jitter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GRAY = torch.tensor([0.299, 0.587, 0.114])  # how much red, green and blue weigh in brightness [ITU-R BT.601]
CACHED = 16  # photos changed at once on a CPU: more leave its cache, and then every pass waits for memory


@dataclass(frozen=True)
class Augmentation:
    """Changes every photo of a batch in its own way, all at once.

    The random numbers depend on (seed, epoch, step) only and are drawn on the CPU: a resumed run and another device
    see the same changes. Crop and rotation are one bilinear resampling, mirrored at the edges.

    Parameters
    ----------
    flip : bool
        Mirror half of the photos left to right.
    crop : float in [0, 1)
        Cut away at most this share of the area, at a random place; the rest is enlarged to the same size.
    rotate : float in [0, 180]
        Turn by at most so many degrees to either side.
    jitter : float in [0, 1)
        Change brightness, contrast and saturation by factors between 1 - jitter and 1 + jitter.
    seed : int

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> photos = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    >>> augmentation = Augmentation(crop=0.3, rotate=10, jitter=0.2)
    >>> changed = augmentation(photos, epoch=0, step=3)
    >>> changed.shape, changed.dtype, torch.equal(changed, augmentation(photos, epoch=0, step=3))
    (torch.Size([5, 3, 8, 8]), torch.uint8, True)
    """

    flip: bool = True
    crop: float = 0.0
    rotate: float = 0.0
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, high in (("crop", 1.0), ("jitter", 1.0)):
            value = getattr(self, name)
            if not 0.0 <= value < high:
                raise ValueError(f"`{name}` must satisfy 0 <= {name} < 1, got {value}")
        if not 0.0 <= self.rotate <= 180.0:
            raise ValueError(f"`rotate` must satisfy 0 <= rotate <= 180 degrees, got {self.rotate}")

    def __call__(self, pixels: Tensor, epoch: int, step: int) -> Tensor:
        """Changed photos `(n, 3, S, S)` uint8 of `pixels` `(n, 3, S, S)` uint8, on the same device."""
        state = np.random.SeedSequence([self.seed, epoch, step]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
        uniform = torch.rand(len(pixels), 8, generator=generator)  # all are drawn, whatever is switched on
        mirrored = (uniform[:, 0] < 0.5) & self.flip
        if not (self.crop or self.rotate or self.jitter):
            where = mirrored.to(pixels.device)[:, None, None, None]
            return torch.where(where, pixels.flip(-1), pixels) if self.flip else pixels
        affine, (colors, shift) = self._affine(uniform, mirrored), self._colors(uniform)
        parts = [part.to(pixels.device) for part in (affine, colors, shift)]
        changed = torch.empty_like(pixels)
        slice_size = CACHED if pixels.device.type == "cpu" else len(pixels)
        for start in range(0, len(pixels), slice_size):
            stop = start + slice_size
            changed[start:stop] = self._changed(pixels[start:stop], *(part[start:stop] for part in parts))
        return changed

    def _changed(self, pixels: Tensor, affine: Tensor, colors: Tensor, shift: Tensor) -> Tensor:
        """Photos `(n, 3, S, S)` float32 in 0..255, resampled by `affine` and with the colours changed."""
        grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
        moved = functional.grid_sample(pixels.float(), grid, padding_mode="reflection", align_corners=False)
        if self.jitter:
            flat = moved.flatten(2)  # (n, 3, S S)
            constant = shift * (flat.mean(2, keepdim=True) * GRAY[:, None].to(flat.device)).sum(1, keepdim=True)
            moved = torch.baddbmm(constant, colors, flat).view_as(moved)
        return moved.round_().clamp_(0, 255)

    def _affine(self, uniform: Tensor, flipped: Tensor) -> Tensor:
        """`(n, 2, 3)` maps from output to input places in [-1, 1]: scale and turn, then move to where the crop lies."""
        side = (1.0 - self.crop * uniform[:, 1]).sqrt()  # of the crop, as a share of the photo's
        angle = math.radians(self.rotate) * (2.0 * uniform[:, 2] - 1.0)
        cos, sin = side * angle.cos(), side * angle.sin()
        mirror = torch.where(flipped, -1.0, 1.0)
        move = (1.0 - side)[:, None] * (2.0 * uniform[:, 3:5] - 1.0)  # (n, 2)
        x = torch.stack([cos * mirror, -sin, move[:, 0]], dim=1)
        y = torch.stack([sin * mirror, cos, move[:, 1]], dim=1)
        return torch.stack([x, y], dim=1)

    def _colors(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Brightness b, contrast c about the mean gray m, saturation s about each place's gray g(x) = w.x, in one map.

        x -> b x, then c (x - m) + m, then s x + (1 - s) w.x; as the weights w sum to 1 this is
        b c (s I + (1 - s) 1 w') x + b (1 - c) m. Returns the matrices `(n, 3, 3)` and b (1 - c) `(n, 1, 1)`.
        """
        factors = 1.0 + self.jitter * (2.0 * uniform[:, 5:8] - 1.0)
        brightness, contrast, saturation = factors[:, :, None, None].unbind(1)  # (n, 1, 1) each
        saturated = saturation * torch.eye(3) + (1.0 - saturation) * GRAY.expand(3, 3)
        return brightness * contrast * saturated, brightness * (1.0 - contrast)


__all__ = ["Augmentation"]
