"""From what was before the camera to the pixels of the file: focus, grain, exposure, colour cast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.world.canvas import Array

GRAINS = 256


def grain_bank(random: np.random.Generator, size: int) -> Array:
    """(256, S, S) patterns of independent N(0, 1); the grain of a photo is three of them, one per colour."""
    return random.standard_normal((GRAINS, size, size), dtype=np.float32)


def develop(
    rgb: Array, *, quality: Array, gain: Array, warmth: Array, bank: Array, grain: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Take n pictures.

    With v the photo's quality, within 0..1: every pixel goes by .55 (1 - v) of the way to the mean of its four
    neighbours (out of focus), gets noise of standard deviation .02 + .05 (1 - v), and is multiplied by the exposure
    (.8 + .25 v) (1 + .85 (gain - 1/2)), red and blue also by 1 +- .6 (warmth - 1/2). The noise comes before the
    exposure, as it does on a sensor: how strong it is in the file depends on the camera too.

    Parameters
    ----------
    rgb : (n, 3, S, S) float32 array
        From `scenes.paint`; overwritten.
    quality, gain, warmth : (n,) float32 array
        1/2 is neutral for the last two.
    bank : (256, S, S) float32 array
        From `grain_bank`.
    grain : (n, 3) int array
        Which of them.

    Returns
    -------
    (n, S, S, 3) uint8 array
    """
    bad = 1 - np.clip(quality, 0, 1)
    blurred = rgb[:, :, :-2, 1:-1] + rgb[:, :, 2:, 1:-1]
    blurred += rgb[:, :, 1:-1, :-2]
    blurred += rgb[:, :, 1:-1, 2:]
    blurred *= np.float32(0.25)
    blurred -= rgb[:, :, 1:-1, 1:-1]
    blurred *= 0.55 * bad[:, None, None, None]
    rgb[:, :, 1:-1, 1:-1] += blurred
    noise = bank[grain]
    noise *= (0.02 + 0.05 * bad)[:, None, None, None]
    rgb += noise
    exposure = (1.05 - 0.25 * bad) * np.maximum(1 + 0.85 * (gain - 0.5), np.float32(0.2))
    cast = 1 + (0.6 * (warmth - 0.5))[:, None] * np.array([1, 0, -1], dtype=np.float32)
    rgb *= (255 * exposure[:, None] * cast)[:, :, None, None]
    np.clip(rgb, 0, 255, out=rgb)
    return np.ascontiguousarray(rgb.astype(np.uint8).transpose(0, 2, 3, 1))
