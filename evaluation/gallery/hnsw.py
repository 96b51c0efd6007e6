"""Approximate search by FAISS's hierarchical navigable small-world graph [Malkov 2018]: the extra `ann`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.gallery.cosine import (
    ITEM_BLOCK,
    Rows,
    Similarities,
    UnitVectors,
    check_k,
    closest,
    exclusions,
    query_units,
)
from evaluation.gallery.retrieval import ExactIndex
from features.errors import Fault, InputError


class HnswIndex:
    """A graph of near neighbours on layers, walked from the top; inner products of vectors of length 1 are cosines.

    Args:
        matrix: `(V, D)` item vectors, of any length.
        links: M, neighbours that each item is linked to (twice as many on the lowest layer).
        build: efConstruction, the candidates looked at while an item is inserted.
        effort: efSearch, the candidates kept while searching: more find more and take longer; at least k is used.

    Raises:
        InputError: FAISS is not installed.
        ValueError: no vectors, a number that is not finite, or a setting below 1 (`links` below 2).

    >>> vectors = np.random.default_rng(0).normal(size=(100, 4))
    >>> index = HnswIndex(vectors) if hnsw_available() else ExactIndex(vectors)
    >>> index.search(vectors[:3], k=1)[0].tolist()
    [[0], [1], [2]]
    """

    def __init__(self, matrix: npt.ArrayLike, *, links: int = 32, build: int = 80, effort: int = 64) -> None:
        if not hnsw_available():
            raise InputError(Fault("HNSW search needs the package faiss: pip install 'galleryrank[ann]'"))
        import faiss

        if links < 2 or build < 1 or effort < 1:
            got = f"{links}, {build} and {effort}"
            raise ValueError(f"`links` must be at least 2, `build` and `effort` at least 1, got {got}")
        self.vectors, self.effort = UnitVectors(matrix), effort
        self._graph: Any = faiss.IndexHNSWFlat(self.vectors.dim, links, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction = build
        for start in range(0, len(self), ITEM_BLOCK):
            self._graph.add(self.vectors.rows(slice(start, min(start + ITEM_BLOCK, len(self)))))

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, queries: npt.ArrayLike, k: int, *, exclude: npt.ArrayLike | None = None
    ) -> tuple[Rows, Similarities]:
        """The k most similar items that the walk met; arguments and results as `ExactIndex.search`.

        A walk that meets fewer than k items (parts of the graph may be out of reach) is completed by exact search.
        """
        units = query_units(queries, self.vectors.dim)
        left_out = exclusions(exclude, len(units), len(self))
        check_k(k, len(self), left_out)
        wanted = k + (left_out is not None)
        self._graph.hnsw.efSearch = max(self.effort, wanted)
        _, met = self._graph.search(units, wanted)  # (Q, wanted), -1 where there was nothing
        met = np.sort(met, axis=1)
        good = met >= 0
        if left_out is not None:
            good &= met != left_out[:, None]
        rows, similarity = np.empty((len(units), k), np.int64), np.empty((len(units), k), np.float32)
        enough = good.sum(axis=1) >= k
        query = np.repeat(np.arange(int(enough.sum())), good[enough].sum(axis=1))
        rows[enough], similarity[enough] = closest(self.vectors, units[enough], query, met[enough][good[enough]], k)
        if not enough.all():
            own = None if left_out is None else left_out[~enough]
            rows[~enough], similarity[~enough] = ExactIndex(self.vectors.matrix).search(units[~enough], k, exclude=own)
        return rows, similarity


def hnsw_available() -> bool:
    """Whether FAISS is installed."""
    return find_spec("faiss") is not None
