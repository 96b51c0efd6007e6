"""From summed similarities to distances between groups of tasks, and what each directive makes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def distances(similarity: ArrayLike) -> Array:
    """D_gh = sqrt(2 (1 - K_gh / sqrt(K_gg K_hh))): between unit vectors whose inner products are the normalised K.

    Args:
        similarity: K `(G, G)`, a sum of Gram matrices, every diagonal entry above 0.

    Returns:
        `(G, G)`, symmetric, 0 on the diagonal, at most 2.

    Raises:
        ValueError: if K is not a square matrix of finite numbers with a positive diagonal.

    >>> distances([[4.0, 0.0], [0.0, 1.0]]).round(3).tolist()
    [[0.0, 1.414], [1.414, 0.0]]
    """
    k = np.asarray(similarity, dtype=np.float64)
    if k.ndim != 2 or k.shape[0] != k.shape[1]:
        raise ValueError(f"`similarity` must be a square matrix, got shape {k.shape}")
    if not np.isfinite(k).all() or not (np.diag(k) > 0).all():
        raise ValueError("`similarity` must hold finite numbers and a positive diagonal, got others")
    root = np.sqrt(np.diag(k))
    cosine = np.clip((k + k.T) / 2 / root[:, None] / root[None, :], -1, 1)
    d = np.sqrt(2 * (1 - cosine))
    np.fill_diagonal(d, 0)
    return d


def mirrored(distance: Array) -> Array:
    """D_max + D_min - D off the diagonal, 0 on it: the farthest become the nearest (sharing by dissimilarity).

    >>> mirrored(np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])).tolist()
    [[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]]
    """
    off = ~np.eye(len(distance), dtype=bool)
    if not off.any():
        return distance.copy()
    return np.where(off, distance[off].max() + distance[off].min() - distance, 0.0)
