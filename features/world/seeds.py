"""One independent stream of random numbers per part of the world, so that a new part never disturbs an old one."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, part: str) -> np.random.Generator:
    """Random numbers of one named part of the world: a child of `SeedSequence(seed)` whose key is the part's name.

    Children made by `SeedSequence.spawn` are numbered in the order of asking; naming them instead means that a part
    added later (photos, say) leaves every other part's numbers as they were.

    Parameters
    ----------
    seed : int
        The world's seed, >= 0.
    part : str
        Name of the part; its CRC-32 is the child's key (Python's own `hash` of a string changes between processes).

    Returns
    -------
    np.random.Generator

    Raises
    ------
    ValueError
        For a negative seed.

    Examples
    --------
    >>> generator(7, "users").integers(1000) == generator(7, "users").integers(1000)
    np.True_
    >>> generator(7, "users").integers(2**60) == generator(7, "policy").integers(2**60)
    np.False_
    """
    if seed < 0:
        raise ValueError(f"`seed` must satisfy seed >= 0, got {seed}")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(part.encode()),)))
