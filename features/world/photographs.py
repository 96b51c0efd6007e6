"""Which photos there are: what each shows, how well it was taken, by which camera, and what went wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.world.properties import PHOTO_NOISE, PHOTO_SLOPE
from features.world.scenes import NAMES, SCENES
from features.world.seeds import generator
from features.world.world import World

CONTENT_SD = 0.12  # of strength, clutter and hue, from photo to photo
CAMERA_SD = 0.25  # of gain and warmth, from camera to camera
CAMERA_SLOPE = 0.03  # what quality adds to a property's gain, and luxury to its warmth
HOUR_SD = 0.05  # of gain and warmth, from photo to photo of one camera
WRONG_SHARE = 0.02
CORRUPT_SHARE = 0.01
STATES = ("sound", "truncated", "empty", "garbage")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Photographs:
    """The truth about N photos, each array `(N,)`; by property, and within a property in order.

    Parameters
    ----------
    item, order : int64, int32
        Property, and place in its gallery from 0, the cover.
    scene : int8
        What is to be seen, an index into `scenes.NAMES`.
    wrong : bool
        2 %: the photo of something else, any scene but the one drawn, whatever the property has.
    state : int8
        Index into `STATES`: 1 % of the files are cut off, empty or no image at all, a third each.
    strength, clutter, hue : float32
        sigmoid(lux), sigmoid(-lux) and sigmoid(.8 fam), each + N(0, .12^2).
    quality : float32
        sigmoid(1.1 q) + N(0, .12^2).
    gain, warmth : float32
        Of the camera, which says nothing about the property, or nearly so: .5 + N(0, .25^2) for each camera, and for a
        property's own camera .03 q and .03 lux more, and N(0, .05^2) from photo to photo.
    stream : str
        Name of the random numbers that place things in these photos.
    """

    item: NDArray[np.int64]
    order: NDArray[np.int32]
    scene: NDArray[np.int8]
    wrong: NDArray[np.bool_]
    state: NDArray[np.int8]
    strength: Floats
    clutter: Floats
    hue: Floats
    quality: Floats
    gain: Floats
    warmth: Floats
    stream: str

    def __len__(self) -> int:
        return len(self.item)

    @classmethod
    def of_galleries(cls, world: World, photos: int) -> Photographs:
        """The first `photos` of every gallery, or all there are, by the property's own camera.

        Their quality is that of `Properties.photo_values`: what the log's users reacted to is what is seen here.

        Examples
        --------
        >>> taken = Photographs.of_galleries(World.generate(properties=20, users=1), photos=3)
        >>> len(taken), taken.order[:4].tolist()
        (60, [0, 1, 2, 0])
        """
        properties = world.properties
        counts = np.minimum(np.diff(properties.photo_offsets), photos)
        item = np.repeat(np.arange(len(counts)), counts)
        order = np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
        random = generator(world.seed, "photo cameras")
        own = 0.5 + CAMERA_SLOPE * properties.latents[:, :2].T + random.normal(0, CAMERA_SD, (2, len(counts)))
        camera = own[:, item] + random.normal(0, HOUR_SD, (2, len(item)))
        value = properties.photo_values[properties.photo_offsets[item] + order]
        return cls._taken(world, item, order, value, camera, order == 0, "photo")

    @classmethod
    def of_guests(cls, world: World) -> Photographs:
        """One photo of every property by a guest: another camera, another scene (never chosen to be a cover).

        Examples
        --------
        >>> len(Photographs.of_guests(World.generate(properties=20, users=1)))
        20
        """
        item = np.arange(len(world.properties))
        random = generator(world.seed, "review photo cameras")
        camera = 0.5 + random.normal(0, CAMERA_SD, (2, len(item)))
        value = _sigmoid(PHOTO_SLOPE * world.properties.latents[:, 0]) + random.normal(0, PHOTO_NOISE, len(item))
        return cls._taken(world, item, np.zeros_like(item), value, camera, np.zeros(len(item), bool), "review photo")

    @classmethod
    def _taken(
        cls,
        world: World,
        item: NDArray[np.int64],
        order: NDArray[np.int64],
        value: NDArray[np.float64],
        camera: NDArray[np.float64],
        cover: NDArray[np.bool_],
        stream: str,
    ) -> Photographs:
        random, n = generator(world.seed, f"{stream} contents"), len(item)
        scene = _draw_scenes(world, item, cover, random.random(n))
        wrong = random.random(n) < WRONG_SHARE
        other = (scene + random.integers(1, len(NAMES), n)) % len(NAMES)
        corrupt, how = random.random(n) < CORRUPT_SHARE, random.integers(1, len(STATES), n)
        luxury, family = world.properties.latents[item, 1], world.properties.latents[item, 5]
        noise = random.normal(0, CONTENT_SD, (3, n))
        return cls(
            item=item,
            order=order.astype(np.int32),
            scene=np.where(wrong, other, scene).astype(np.int8),
            wrong=wrong,
            state=np.where(corrupt, how, 0).astype(np.int8),
            strength=(_sigmoid(luxury) + noise[0]).astype(np.float32),
            clutter=(_sigmoid(-luxury) + noise[1]).astype(np.float32),
            hue=(_sigmoid(0.8 * family) + noise[2]).astype(np.float32),
            quality=value.astype(np.float32),
            gain=camera[0].astype(np.float32),
            warmth=camera[1].astype(np.float32),
            stream=stream,
        )


def possible_scenes(world: World) -> NDArray[np.bool_]:
    """(P, 10) whether each property can have a photo of each scene of `scenes.NAMES`, wrong ones apart."""
    possible = np.ones((len(world.properties), len(NAMES)), dtype=bool)
    for k, scene in enumerate(SCENES.values()):
        if scene.gate:
            possible[:, k] = np.any([world.attributes[name] == 1 for name in scene.gate], axis=0)
    return possible


def _draw_scenes(
    world: World, item: NDArray[np.int64], cover: NDArray[np.bool_], uniform: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(N,) scenes of photos: categorical over those possible, with the weights of covers or of other photos."""
    possible = possible_scenes(world)
    scene = np.zeros(len(item), dtype=np.int64)
    for rows, weight in (
        (cover, np.array([scene.cover for scene in SCENES.values()])),
        (~cover, np.array([scene.inside for scene in SCENES.values()])),
    ):
        edges = np.cumsum(possible * weight, axis=1)  # (P, 10)
        target = uniform[rows] * edges[item[rows], -1]
        for k in range(len(NAMES) - 1):  # one scene at a time: no array of photos x scenes
            scene[rows] += target >= edges[item[rows], k]
    return scene


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))
