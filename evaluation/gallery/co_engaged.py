"""Do galleries that people engage with together lie together? Co-engaged retrieval [Etsy, section 4]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import float_array, label_vector
from evaluation.clusters import Clusters
from evaluation.gallery.cosine import Rows, closest, query_units, row_vector
from evaluation.gallery.retrieval import ExactIndex
from evaluation.gallery.retrieval_metrics import (
    chance_ndcg,
    chance_recall,
    chance_reciprocal_rank,
    ndcg_at,
    query_mean,
    recall_at,
    reciprocal_rank,
)
from evaluation.gallery.same_item import COLUMNS, metric_row


def co_engaged_pairs(
    request: npt.ArrayLike, item: npt.ArrayLike, engaged: npt.ArrayLike, *, largest: int = 30, seed: int = 0
) -> Rows:
    """Pairs of items that were engaged with in the same request, or by the same user.

    Args:
        request: `(N,)` ids of any kind: requests, or users for what one person likes.
        item: `(N,)` rows of the items in the matrix of vectors, -1 for an item without one: it makes no pair.
        engaged: `(N,)` 0 or 1; NaN (not observed) counts as 0.
        largest: Of a request with more engaged items a random `largest` make pairs: their number grows as the square.
        seed: Of that choice.

    Returns:
        `(P, 2)` int64, every ordered pair of two different items once, ascending: pair (a, b) comes with (b, a).

    Raises:
        ValueError: lengths that differ; labels other than 0, 1 and NaN.

    >>> co_engaged_pairs(["r", "r", "r", "s"], [5, 3, 4, 5], [1, 1, 0, 1]).tolist()
    [[3, 5], [5, 3]]
    """
    if largest < 2:
        raise ValueError(f"`largest` must be at least 2, got {largest}")
    rows = row_vector("item", item, None, np.iinfo(np.int32).max, lowest=-1)
    clusters = Clusters.of(request, len(rows))
    label = label_vector("engaged", np.nan_to_num(float_array("engaged", engaged)), len(rows))
    taking = (label == 1.0) & (rows >= 0)
    both = np.unique(np.stack([clusters.codes[taking], rows[taking]], axis=1), axis=0)  # an item once per request
    both = both[np.lexsort([np.random.default_rng(seed).random(len(both)), both[:, 0]])]
    _, first, sizes = np.unique(both[:, 0], return_index=True, return_counts=True)
    place = np.arange(len(both)) - np.repeat(first, sizes)
    both, sizes = both[place < largest], np.minimum(sizes, largest)
    first = np.cumsum(sizes) - sizes
    left = np.repeat(np.arange(len(both)), np.repeat(sizes, sizes))
    within = np.arange(len(left)) - np.repeat(np.cumsum(sizes**2) - sizes**2, sizes**2)
    right = np.repeat(first, sizes**2) + within % np.repeat(sizes, sizes**2)
    pairs = np.stack([both[left, 1], both[right, 1]], axis=1)
    return np.unique(pairs[left != right], axis=0).reshape(-1, 2).astype(np.int64)


def co_engaged(
    matrix: npt.ArrayLike,
    pairs: npt.ArrayLike,
    *,
    popularity: npt.ArrayLike | None = None,
    at: Sequence[int] = (10, 100),
    queries: int = 2000,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """recall@k, MRR and nDCG@k: items engaged with together should be neighbours, by cosine.

    Args:
        matrix: `(V, D)` item vectors.
        pairs: `(P, 2)` rows (query, relevant), as `co_engaged_pairs` makes them.
        popularity: `(V,)` how often each item is engaged with, counted on *earlier* rows of the log (those of the
            pairs would know the answer): adds the ranking that shows the most popular items to everyone.
        at: Places k; those above V - 1 are left out.
        queries: At most so many items are drawn as queries.
        replicates, seed: Of the draw and of the bootstrap over queries.

    Returns:
        One row per ranking ("cosine", "popularity") and metric: ranking, metric, value, se, low, high (95 %), chance
        (a random order), queries, left_out (items that make no pair).

    Raises:
        ValueError: no pair; rows out of range; an item paired with itself.

    >>> table = co_engaged([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], [[0, 1], [1, 0]], at=(1,))
    >>> table[["metric", "value", "chance", "queries", "left_out"]].values.tolist()
    [['MRR', 1.0, 0.75, 2, 1], ['recall@1', 1.0, 0.5, 2, 1], ['nDCG@1', 1.0, 0.5, 2, 1]]
    """
    array = np.asarray(matrix)
    edges = np.asarray(pairs)
    if edges.ndim != 2 or edges.shape[1] != 2 or not len(edges):
        raise ValueError(f"`pairs` must be (P, 2) with at least one pair, got shape {edges.shape}")
    row_vector("pairs", edges.ravel(), None, len(array), lowest=0)
    if (edges[:, 0] == edges[:, 1]).any():
        raise ValueError("`pairs` must join two different items, got an item with itself")
    edges = np.unique(edges.astype(np.int64), axis=0)
    every = np.unique(edges[:, 0])
    own = np.sort(np.random.default_rng(seed).permutation(every)[:queries])
    edges = edges[np.isin(edges[:, 0], own)]
    relevant = np.bincount(np.searchsorted(own, edges[:, 0]), minlength=len(own)).astype(float)
    others = len(array) - 1
    depths = [k for k in at if k <= others]
    rankings = {"cosine": _by_cosine(ExactIndex(array), array[own], own, edges, max(depths, default=0))}
    if popularity is not None:
        rankings["popularity"] = _by_popularity(popularity, len(array), own, edges, max(depths, default=0))
    rows = []
    for name, (found, first) in rankings.items():
        known = np.isin(own[:, None] * np.int64(len(array)) + found, edges[:, 0] * np.int64(len(array)) + edges[:, 1])
        table = [("MRR", reciprocal_rank(first), chance_reciprocal_rank(relevant, others))]
        table += [(f"recall@{k}", recall_at(known, relevant, k), chance_recall(relevant, others, k)) for k in depths]
        table += [(f"nDCG@{k}", ndcg_at(known, relevant, k), chance_ndcg(relevant, others, k)) for k in depths]
        for metric, values, chances in table:
            estimate, _ = query_mean(values, replicates=replicates, seed=seed)
            row = metric_row(metric, estimate.to_dict(), float(chances.mean()), len(own), len(array) - len(every))
            rows.append({"ranking": name, **row})
    return pd.DataFrame(rows, columns=["ranking", *COLUMNS])


def _by_cosine(index: ExactIndex, asked: np.ndarray, own: Rows, edges: Rows, depth: int) -> tuple[Rows, Rows]:
    """The first items `(Q, depth)` of each query and the place `(Q,)` of its best relevant one."""
    query = np.searchsorted(own, edges[:, 0])
    best, _ = closest(index.vectors, query_units(asked, index.vectors.dim), query, edges[:, 1], 1)
    first = index.ranks(asked, best[:, 0], exclude=own)
    found = index.search(asked, depth, exclude=own)[0] if depth else np.empty((len(own), 0), np.int64)
    return found, first


def _by_popularity(popularity: npt.ArrayLike, items: int, own: Rows, edges: Rows, depth: int) -> tuple[Rows, Rows]:
    """The same, for one order for everyone, from which each query is taken out."""
    counts = float_array("popularity", popularity)
    if len(counts) != items or not np.isfinite(counts).all():
        raise ValueError(f"`popularity` must be ({items},) finite numbers, got shape {counts.shape}")
    order = np.argsort(-counts, kind="stable")
    place = np.empty(items, np.int64)
    place[order] = np.arange(items)
    first = np.full(len(own), items)
    before = place[edges[:, 0]] < place[edges[:, 1]]
    np.minimum.at(first, np.searchsorted(own, edges[:, 0]), place[edges[:, 1]] + 1 - before)
    shown = np.arange(depth)
    return order[shown + (shown >= place[own][:, None])], first
