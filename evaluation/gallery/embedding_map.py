"""The embedding space on a plane: principal components or t-SNE, as in figure 4 of [Booking]."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray
from evaluation.gallery.cosine import UnitVectors

COMPONENTS = 50  # t-SNE on so many principal components: the rest is mostly noise, and distances cost their width
MOST_PERPLEXITY = 30.0


def embedding_map(
    matrix: npt.ArrayLike,
    ids: npt.ArrayLike,
    *,
    method: Literal["tsne", "pca"] = "tsne",
    items: int = 2000,
    perplexity: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """A point per item such that similar galleries lie together.

    Vectors are brought to length 1, so that the map shows the neighbourhoods of cosine search. Items with a zero
    vector (no photos) are left out: they would lie together and mean nothing.

    Args:
        matrix: `(V, D)` item vectors.
        ids: `(V,)` item ids.
        method: "tsne": the first 50 principal components, then t-SNE [van der Maaten 2008], which keeps
            neighbourhoods and gives distances between clusters no meaning. "pca": the first two components.
        items: At most so many are drawn at random.
        perplexity: Of t-SNE, about the number of neighbours that count; None: 30, or (n - 1) / 3 of fewer than 91
            items.
        seed: Of the draw and of t-SNE.

    Returns:
        One row per item drawn, in the order of `matrix`: id, x, y, row (its row in `matrix`). `attrs` hold method,
        perplexity, seed, left_out (zero vectors) and variance (the shares of x and y; None for t-SNE).

    Raises:
        ValueError: fewer than three items with a vector, or all alike; a perplexity outside 1..n - 1; an unknown
            method; ids of another length.

    >>> points = embedding_map(np.random.default_rng(0).normal(size=(20, 4)), np.arange(20), method="pca")
    >>> list(points.columns), len(points)
    (['id', 'x', 'y', 'row'], 20)
    """
    if method not in ("tsne", "pca"):
        raise ValueError(f"`method` must be 'tsne' or 'pca', got {method!r}")
    vectors, names = UnitVectors(matrix), np.asarray(ids)
    if names.shape != (len(vectors),):
        raise ValueError(f"`ids` must be ({len(vectors)},) as `matrix`, got shape {names.shape}")
    filled = np.flatnonzero(np.abs(vectors.matrix).max(axis=1) > 0)
    rows = np.sort(np.random.default_rng(seed).permutation(filled)[:items])
    if len(rows) < 3:
        raise ValueError(f"`matrix` must hold at least 3 vectors that are not zero for a map, got {len(rows)}")
    components, variance = principal_components(vectors.rows(rows).astype(np.float64), COMPONENTS)
    used = min(MOST_PERPLEXITY, (len(rows) - 1) / 3.0) if perplexity is None else perplexity
    used = max(1.0, used)
    if method == "tsne":
        if not 1.0 <= used < len(rows):
            raise ValueError(f"`perplexity` must lie within 1..{len(rows) - 1} for {len(rows)} items, got {perplexity}")
        plane = _tsne(components, used, seed)
    else:
        plane = np.pad(components[:, :2], ((0, 0), (0, max(0, 2 - components.shape[1]))))
    points = pd.DataFrame({"id": names[rows], "x": plane[:, 0], "y": plane[:, 1], "row": rows})
    points.attrs = {
        "method": method,
        "perplexity": used if method == "tsne" else None,
        "seed": seed,
        "left_out": len(vectors) - len(filled),
        "variance": None if method == "tsne" else [float(share) for share in np.pad(variance, (0, 2))[:2]],
    }
    return points


def principal_components(vectors: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """The vectors `(n, D)` along their first principal axes, and each axis's share of the variance.

    An axis has no sign of its own: each is turned so that its largest weight is positive, on every machine alike.

    Raises:
        ValueError: all vectors are equal.

    >>> components, variance = principal_components(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]), 2)
    >>> components.round(6).tolist(), variance.round(6).tolist()
    ([[-2.0], [0.0], [2.0]], [1.0])
    """
    centred = vectors - vectors.mean(axis=0)
    if np.abs(centred).max() < 1e-7:
        raise ValueError("`matrix` must hold vectors that differ for a map, got equal ones")
    values, axes = np.linalg.eigh(centred.T @ centred)
    values, axes = values[::-1].clip(0.0), axes[:, ::-1]
    kept = min(most, int((values > 1e-12 * values[0]).sum()))
    axes = axes[:, :kept] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])[:kept]
    return centred @ axes, values[:kept] / values.sum()


def _tsne(components: FloatArray, perplexity: float, seed: int) -> FloatArray:
    from sklearn.manifold import TSNE

    start = np.pad(components[:, :2], ((0, 0), (0, max(0, 2 - components.shape[1]))))
    start = start / start[:, 0].std() * 1e-4  # the scale that t-SNE expects [Kobak 2019]
    tsne = TSNE(n_components=2, perplexity=perplexity, init=start, learning_rate="auto", random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(components), np.float64)
