"""Approximate search by bucketed random projections, the hashing behind the retrieval examples of [Booking, figure 1].

References:
    [Datar 2004] Locality-sensitive hashing scheme based on p-stable distributions: the hash and its collision
        probability.
    [Lv 2007] Multi-probe LSH: looking into the buckets beside one's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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

MASK_CELLS = 2**24  # 16 MB of flags per part of the queries
SAMPLE_ITEMS, SAMPLE_QUERIES, NEIGHBOUR = 20_000, 200, 10


@dataclass(frozen=True)
class ProbeCounts:
    """How a search went.

    Attributes:
        queries: How many there were.
        candidates: `(Q,)` how many items each query was compared with.
        probed: Queries that had fewer than k candidates and looked into the neighbouring buckets too.
        exact: Of those, the queries that still had too few and were compared with every item.
    """

    queries: int
    candidates: Rows
    probed: int
    exact: int


class RandomProjectionIndex:
    """L tables of buckets; an item's bucket is its K rounded projections, and a search compares within buckets only.

    h(x) = floor((a.x + b) / w), a ~ N(0, I), b ~ U(0, w)

    on vectors of length 1. Two vectors at distance c share one such hash with probability p(c / w) of [Datar 2004],
    a bucket of K hashes with p^K, and at least one of L buckets with 1 - (1 - p^K)^L. Candidates are ranked by their
    exact cosine. A query with fewer than k candidates looks into all buckets that differ from its own in one hash by
    one [Lv 2007], and if that is not enough at every item: `search_counted` says how often.

    Args:
        matrix: `(V, D)` item vectors, of any length.
        hashes: K, hashes per bucket: more make smaller buckets.
        tables: L, tables: more find more neighbours and compare with more items.
        width: w, in units of distance between vectors of length 1 (0 to 2). None chooses it from the data: so that
            an item at the distance of the 10th nearest neighbour (the median over 200 sampled items) shares a bucket
            with probability `found`.
        found: That probability; read only where `width` is None.
        seed: Of the projections and of the sample.

    Raises:
        ValueError: no vectors, a number that is not finite, or a setting out of range.

    >>> vectors = np.random.default_rng(0).normal(size=(100, 4))
    >>> index = RandomProjectionIndex(vectors)
    >>> rows, similarity = index.search(vectors[:3], k=2)
    >>> rows[:, 0].tolist()
    [0, 1, 2]
    """

    def __init__(
        self,
        matrix: npt.ArrayLike,
        *,
        hashes: int = 8,
        tables: int = 8,
        width: float | None = None,
        found: float = 0.9,
        seed: int = 0,
    ) -> None:
        if hashes < 1 or tables < 1:
            raise ValueError(f"`hashes` and `tables` must be at least 1, got {hashes} and {tables}")
        if width is not None and not 1e-6 <= width < math.inf:
            raise ValueError(f"`width` must be at least 1e-6 and finite, got {width}")
        if not 0.0 < found < 1.0:
            raise ValueError(f"`found` must satisfy 0 < found < 1, got {found}")
        self.vectors = UnitVectors(matrix)
        generator = np.random.default_rng(seed)
        self.hashes, self.tables = hashes, tables
        self.width = bucket_width(self.vectors, hashes, tables, found, generator) if width is None else float(width)
        self._directions = generator.normal(size=(self.vectors.dim, tables * hashes)).astype(np.float32)
        self._offsets = generator.uniform(0.0, self.width, tables * hashes)
        # A bucket is one 64-bit sum of its hashes times random odd numbers: equal hashes have equal sums, others differ
        # but for one pair in 2^64, and the bucket one step aside in one hash is an addition away.
        self._multipliers = generator.integers(-(2**62), 2**62, (tables, hashes)) * 2 + 1
        keys = np.empty((tables, len(self)), np.int64)
        for start in range(0, len(self), ITEM_BLOCK):
            stop = min(start + ITEM_BLOCK, len(self))
            keys[:, start:stop] = self._keys(self.vectors.rows(slice(start, stop))).T
        self._order = np.argsort(keys, axis=1, kind="stable")  # (L, V) rows by bucket
        self._buckets = np.take_along_axis(keys, self._order, axis=1)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, queries: npt.ArrayLike, k: int, *, exclude: npt.ArrayLike | None = None
    ) -> tuple[Rows, Similarities]:
        """The k most similar candidates of each query; arguments and results as `ExactIndex.search`."""
        rows, similarity, _ = self.search_counted(queries, k, exclude=exclude)
        return rows, similarity

    def search_counted(
        self, queries: npt.ArrayLike, k: int, *, exclude: npt.ArrayLike | None = None
    ) -> tuple[Rows, Similarities, ProbeCounts]:
        """`search`, and how many items it had to look at.

        >>> vectors = np.random.default_rng(0).normal(size=(50, 4))
        >>> _, _, counts = RandomProjectionIndex(vectors, width=0.01).search_counted(vectors[:5], k=3)
        >>> counts.probed, counts.exact, counts.candidates.tolist()
        (5, 5, [50, 50, 50, 50, 50])
        """
        units = query_units(queries, self.vectors.dim)
        left_out = exclusions(exclude, len(units), len(self))
        check_k(k, len(self), left_out)
        rows, similarity = np.empty((len(units), k), np.int64), np.empty((len(units), k), np.float32)
        candidates = np.zeros(len(units), np.int64)
        probed = exact = 0
        step = max(1, MASK_CELLS // len(self))
        for start in range(0, len(units), step):
            part = slice(start, start + step)
            own = None if left_out is None else left_out[part]
            keys = self._keys(units[part])  # (q, L)
            found = np.zeros((len(keys), len(self)), bool)
            self._mark(found, np.arange(len(keys)), keys[:, :, None], own)
            few = np.flatnonzero(found.sum(axis=1) < k)
            steps = np.concatenate([self._multipliers, -self._multipliers], axis=1)  # (L, 2 K)
            self._mark(found, few, keys[few][:, :, None] + steps, own)
            fewest = few[found[few].sum(axis=1) < k]
            found[fewest] = True
            _unmark(found, own)
            query, items = np.nonzero(found)
            rows[part], similarity[part] = closest(self.vectors, units[part], query, items, k)
            candidates[part] = found.sum(axis=1)
            probed, exact = probed + len(few), exact + len(fewest)
        return rows, similarity, ProbeCounts(len(units), candidates, probed, exact)

    def _keys(self, units: Similarities) -> Rows:
        """The buckets `(n, L)` of vectors at unit length."""
        hashed = np.floor((units @ self._directions + self._offsets) / self.width).astype(np.int64)
        products = hashed.reshape(len(units), self.tables, self.hashes) * self._multipliers  # wraps round, as it should
        return np.asarray(products.sum(axis=2), np.int64)

    def _mark(self, found: npt.NDArray[np.bool_], queries: Rows, keys: Rows, own: Rows | None) -> None:
        """Set the items in the buckets `keys` `(q, L, n)` of the `queries` `(q,)`, but not a query's own row."""
        for table in range(self.tables):
            first = np.searchsorted(self._buckets[table], keys[:, table], "left").ravel()
            sizes = np.searchsorted(self._buckets[table], keys[:, table], "right").ravel() - first
            places = np.arange(sizes.sum()) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
            query = np.repeat(np.repeat(queries, keys.shape[2]), sizes)
            found[query, self._order[table, places]] = True
        _unmark(found, own)


def bucket_width(vectors: UnitVectors, hashes: int, tables: int, found: float, generator: np.random.Generator) -> float:
    """w at which a typical 10th neighbour shares one of the L buckets with probability `found`.

    The distance is a quantile of sampled distances: among 20,000 sampled items of V the 10th neighbour of all is
    about the (200,000 / V)th; the median is taken over 200 of them. A collection of equal vectors has no distance,
    and any width serves: 1.
    """
    items = len(vectors)
    sample = np.sort(generator.permutation(items)[: min(items, SAMPLE_ITEMS)])
    units = vectors.rows(sample)
    own = generator.permutation(len(sample))[: min(len(sample), SAMPLE_QUERIES)]
    own = own[np.square(units[own]).sum(axis=1) > 0.5]  # zero vectors are equally far from everything
    if len(sample) < 2 or not len(own):
        return 1.0
    rank = min(len(sample) - 1, max(1, round(NEIGHBOUR * len(sample) / items)))
    _, similarity = ExactIndex(units).search(units[own], rank, exclude=own)
    distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * similarity[:, -1].astype(np.float64)))
    if not (distance > 1e-3).any():
        return 1.0
    typical = float(np.median(distance[distance > 1e-3]))
    return typical * width_for(hashes, tables, found)


def width_for(hashes: int, tables: int, found: float) -> float:
    """w / c at which two vectors at distance c share one of L buckets of K hashes with probability `found`.

    Solves 1 - (1 - p^K)^L = found for p, then p(w / c) = p by bisection.

    >>> round(width_for(8, 8, 0.9), 2), round(collision(width_for(8, 8, 0.9)), 3)
    (5.02, 0.841)
    """
    wanted = (1.0 - (1.0 - found) ** (1.0 / tables)) ** (1.0 / hashes)
    low, high = 0.0, 1.0
    while collision(high) < wanted:
        high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if collision(middle) < wanted else (low, middle)
    return high


def collision(ratio: float) -> float:
    """P(h(x) = h(y)) of one hash, `ratio` = w / |x - y|.

    p(r) = 1 - 2 Phi(-r) - 2 / (sqrt(2 pi) r) (1 - exp(-r^2 / 2))    [Datar 2004, section 3.2]

    >>> round(collision(1.0), 4)
    0.3687
    """
    if ratio == 0.0:
        return 0.0
    return math.erf(ratio / math.sqrt(2.0)) - math.sqrt(2.0 / math.pi) / ratio * -math.expm1(-0.5 * ratio * ratio)


def _unmark(found: npt.NDArray[np.bool_], own: Rows | None) -> None:
    if own is not None:
        queries = np.flatnonzero(own >= 0)
        found[queries, own[queries]] = False
