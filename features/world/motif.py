"""What there is to see in some photos, and the numbers at random that place it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.world.canvas import Array, mix, rgb

# Which of a photo's uniform numbers place what. Scenes share them: a photo shows one scene.
SCENE = 0  # .. 15: the scene's own
TREE = 16  # .. 18
CLUTTER = 20  # .. 46: three boxes and three bundles, 9 numbers a pair
OUTLOOK = 47
SKY = 48  # .. 50
RIDGE = 51  # .. 56
VIEW = 57  # .. 60: where the camera stands
GRAIN = 61  # .. 63: one per colour
MISHAP = 64  # .. 65
RANDOM_NUMBERS = 66

WHITE = rgb(0.95, 0.95, 0.93)
DARK = rgb(0.13, 0.12, 0.13)
GREY = rgb(0.62, 0.62, 0.64)
WOOD = rgb(0.36, 0.24, 0.15)


@dataclass(frozen=True)
class Motif:
    """Content of n photos, each array `(n,)` float32 in 0..1.

    Parameters
    ----------
    strength : of what the scene is about: how large, rich and well kept it is
    clutter : how much lies about
    hue : of the accents (bedding, sunshades, towels): navy at 0, green at 1/2, orange at 1
    urban, hills, coast : how much of a town the land is, how mountainous, how near to the sea
    flags : dict of the attributes that show (balcony, chain, views, ...) to 0 or 1
    u : (n, RANDOM_NUMBERS), uniform: places, sizes and colours that mean nothing
    """

    strength: Array
    clutter: Array
    hue: Array
    urban: Array
    hills: Array
    coast: Array
    flags: dict[str, Array]
    u: Array

    def between(self, number: int, low: float, high: float) -> Array:
        """(n,) uniform numbers on low..high: those of index `number`."""
        return np.float32(low) + self.u[:, number] * np.float32(high - low)

    def shade(self, number: int, first: Array, second: Array) -> Array:
        """(n, 3) colours between two, at random by the numbers of index `number`."""
        return mix(first, second, self.u[:, number])

    @cached_property
    def accent(self) -> Array:
        """(n, 3) colour of the accents."""
        cool = mix(rgb(0.16, 0.20, 0.50), rgb(0.25, 0.62, 0.48), np.minimum(2 * self.hue, 1))
        return mix(cool, rgb(0.96, 0.45, 0.18), np.maximum(2 * self.hue - 1, 0))
