"""The ten kinds of scene, each a dozen shapes that a person recognises at 64 pixels, and how often each is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.world.canvas import Array, Canvas
from features.world.indoor_scenes import bar, bathroom, bedroom, gym, kitchen
from features.world.motif import VIEW, Motif
from features.world.outdoor_scenes import facade, garden, mountain, pool, sea
from features.world.scene_parts import paint_clutter


@dataclass(frozen=True)
class Scene:
    """One kind of scene.

    Parameters
    ----------
    paint : callable
        Covers a canvas with it.
    cover, inside : float
        How often a cover, and any other photo, shows it, relative to the other scenes possible for the property.
    gate : tuple of str
        Possible only where one of these attributes is true; everywhere if there are none.
    """

    paint: Callable[[Canvas, Motif], None]
    cover: float
    inside: float
    gate: tuple[str, ...] = ()


SCENES: dict[str, Scene] = {
    "bedroom": Scene(bedroom, 1.2, 2.2),
    "facade": Scene(facade, 2.5, 1.3),
    "bathroom": Scene(bathroom, 0.1, 1.1),
    "pool": Scene(pool, 2.5, 1.2, ("pool",)),
    "sea": Scene(sea, 2.5, 1.3, ("sea_view", "beach_access")),
    "mountain": Scene(mountain, 2.5, 1.3, ("mountain_view", "hiking")),
    "garden": Scene(garden, 0.8, 1.0, ("garden",)),
    "bar": Scene(bar, 0.3, 0.9, ("bar",)),
    "kitchen": Scene(kitchen, 0.1, 1.0, ("kitchen",)),
    "gym": Scene(gym, 0.1, 0.9, ("fitness",)),
}
NAMES = tuple(SCENES)


def paint(scene: str, motif: Motif, size: int) -> Array:
    """Photos of one kind of scene, before the camera has its say.

    Half of them are mirrored, and each shows .82 to 1.02 of the scene, its centre off by up to .05.

    Parameters
    ----------
    scene : one of NAMES
    motif : Motif
        Of n photos.
    size : int
        S, pixels of a side.

    Returns
    -------
    (n, 3, S, S) float32 array, 0..1
    """
    right, down = motif.between(VIEW, -0.05, 0.05), motif.between(VIEW + 1, -0.05, 0.05)
    mirrored = motif.u[:, VIEW + 2] < np.float32(0.5)
    canvas = Canvas(size, motif.between(VIEW + 3, 0.82, 1.02), right, down, mirrored)
    SCENES[scene].paint(canvas, motif)
    paint_clutter(canvas, motif)
    return canvas.rgb
