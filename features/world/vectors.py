"""Item vectors: a noisy linear map of the latents, in the place of what an encoder of photos would give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.world.properties import Properties
from features.world.seeds import generator

DIMENSION = 64
NOISE_SD = 1.0


def item_vectors(seed: int, properties: Properties) -> NDArray[np.float32]:
    """x = W Z / sqrt(6) + N(0, 1), W of 64 x 6 standard normal numbers drawn once per world.

    Signal and noise have about equal variance in each of the 64 numbers; a linear read-out that knew W would recover
    each latent with R^2 near .9, so the vectors are useful and not the truth.

    Parameters
    ----------
    seed : int
    properties : Properties
        P of them.

    Returns
    -------
    (P, 64) float32 array

    Examples
    --------
    >>> from features.world.geography import Geography
    >>> from features.world.scale import CARDINALITIES
    >>> item_vectors(0, Properties.generate(0, 5, Geography.generate(0, CARDINALITIES["small"]))).shape
    (5, 64)
    """
    random = generator(seed, "vectors")
    latents = properties.latents
    vectors = random.normal(0, NOISE_SD, (len(properties), DIMENSION))
    # column by column and not `latents @ map`: BLAS may sum in another order on another machine
    for latent, row in zip(latents.T, random.normal(size=(latents.shape[1], DIMENSION)), strict=True):
        vectors += latent[:, None] * row / np.sqrt(latents.shape[1])
    return vectors.astype(np.float32)
