"""Synthetic photos with many attributes, each a faint coloured shape that is added or taken away."""

from __future__ import annotations

import numpy as np
import torch

from examples.modulation.images import Images

MOST = 40  # attributes
FAMILIES, LIKENESS = 5, 0.75  # attributes a and a + 5 are related; share of what decides that is the family's
SHIFT = 1  # pixels that a photo may be off, either way
NOISE, CONTRAST = 0.3, (0.7, 1.3)  # deviation of the pixels' noise; a shape's strength
GRAIN, EXTENT, SPREAD = 4.0, 7.0, 4.0  # pixels: how smooth a shape is, how far it reaches, how far its relatives are
AREA = 100  # pixels of unit contrast that have a shape's energy
GREY_LEVELS = 30  # per unit of contrast
_SHAPES_SEED = 12345  # the same shapes in every data set
_CHUNK = 2000


def make_attributes(present: int, train: int, test: int, size: int, seed: int) -> Images:
    """Images that are sums of faint shapes, one per attribute: a positive sign says that it has the attribute.

    As in faces, attributes come in families (beards, eyebrows, ...): whether an image has one is decided by
    sqrt(.75) of a number of the family and sqrt(.25) of one of its own, both normal; an attribute is there in half of
    the images, two relatives agree in 77 % of them, and strangers are independent. A family's shapes lie about the
    same place. Triplets of strangers contradict each other as often as they agree, those of relatives less often.

    Args:
        present: attributes that the images have, 1 to 40; all of them are tasks. Attribute a is of family a mod 5.
        train, test: images to learn from and to test.
        size: pixels of a side.
        seed: of labels, strengths, shifts and noise.

    >>> images = make_attributes(present=7, train=8, test=4, size=48, seed=0)
    >>> images.pixels.shape, images.labels.shape, images.tasks[:2], len(images.test)
    (torch.Size([12, 48, 48, 3]), (12, 7), ('a00', 'a01'), 4)
    """
    random = np.random.default_rng([seed, 2])
    n = train + test
    of_family = random.standard_normal((n, FAMILIES))[:, np.arange(present) % FAMILIES]
    own = random.standard_normal((n, present))
    labels = (np.sqrt(LIKENESS) * of_family + np.sqrt(1 - LIKENESS) * own > 0).astype(np.int64)
    shapes = _shapes(size + 2 * SHIFT)[:present]
    parts = [_render(labels[i : i + _CHUNK], shapes, size, random) for i in range(0, n, _CHUNK)]
    return Images(
        pixels=torch.from_numpy(np.concatenate(parts)),
        labels=labels,
        tasks=attribute_names(present),
        train=np.arange(train),
        test=np.arange(train, n),
    )


def attribute_names(count: int) -> tuple[str, ...]:
    """The first `count` tasks.

    >>> attribute_names(3)
    ('a00', 'a01', 'a02')
    """
    return tuple(f"a{a:02d}" for a in range(count))


def _render(labels: np.ndarray, shapes: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """`(n, A)` labels to `(n, size, size, 3)` uint8 photos."""
    n = len(labels)
    strength = (2 * labels - 1) * random.uniform(*CONTRAST, labels.shape)
    sums = np.tensordot(strength.astype(np.float32), shapes, 1)  # (n, S, S, 3)
    windows = np.lib.stride_tricks.sliding_window_view(sums, (size, size), axis=(1, 2))
    down, right = random.integers(0, 2 * SHIFT + 1, (2, n))
    photos = windows[np.arange(n), down, right].transpose(0, 2, 3, 1)
    noisy = photos + NOISE * random.standard_normal(photos.shape, np.float32)
    return np.clip(127.5 + GREY_LEVELS * noisy, 0, 255).astype(np.uint8)


def _shapes(side: int) -> np.ndarray:
    """`(40, side, side, 3)` float32: smooth random colours under a bell near the family's place."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(_SHAPES_SEED)
    grain = gaussian_filter(random.standard_normal((MOST, side, side, 3)), (0, GRAIN, GRAIN, 0))
    places = random.uniform(0.2 * side, 0.8 * side, (2, FAMILIES))[:, np.arange(MOST) % FAMILIES]
    centres = (places + SPREAD * random.standard_normal((2, MOST)))[..., None]
    down, right = np.exp(-((np.arange(side) - centres) ** 2) / (2 * EXTENT**2))  # (40, side) each
    shapes = grain * (down[:, :, None] * right[:, None, :])[..., None]
    energy = np.square(shapes).sum((1, 2, 3), keepdims=True) / (3 * AREA)
    return (shapes / np.sqrt(energy)).astype(np.float32)
