"""How good a ranking of items is for many queries at once: recall@k, precision@k, MRR, nDCG@k, and what chance earns.

Every function gives one number per query, NaN for a query to which no item is relevant; `query_mean` leaves those out,
counts them, and puts an interval around the mean of the rest.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, float_array
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import Estimate

DRAWS_AT_ONCE = 2**22  # 32 MB of counts


def recall_at(relevance: npt.ArrayLike, relevant: npt.ArrayLike, k: int) -> FloatArray:
    """Share of the relevant items among the first k, of those that have room there.

    recall@k = found / min(k, relevant)

    Args:
        relevance: `(Q, R)` 0 or 1, whether the item at each place is relevant, best place first, R >= k.
        relevant: `(Q,)` how many items are relevant in the whole collection.
        k: Places looked at.

    Returns:
        `(Q,)`, NaN where nothing is relevant.

    Raises:
        ValueError: k out of range; more relevant items found than there are.

    >>> recall_at([[1, 0, 1], [0, 0, 0]], [4, 0], k=3)
    array([0.66666667,        nan])
    """
    found, total = _checked(relevance, relevant, k)
    return _where(total > 0, found[:, :k].sum(axis=1), np.minimum(k, total))


def precision_at(relevance: npt.ArrayLike, relevant: npt.ArrayLike, k: int) -> FloatArray:
    """Share of the first k that is relevant; arguments as `recall_at`.

    >>> precision_at([[1, 0, 1], [0, 0, 0]], [4, 0], k=2)
    array([0.5, nan])
    """
    found, total = _checked(relevance, relevant, k)
    return _where(total > 0, found[:, :k].sum(axis=1), np.full(len(total), float(k)))


def ndcg_at(relevance: npt.ArrayLike, relevant: npt.ArrayLike, k: int) -> FloatArray:
    """Discounted gain of the first k over that of the best order.

    nDCG@k = sum_{i <= k} rel_i / log2(i + 1)  /  sum_{i <= min(k, relevant)} 1 / log2(i + 1)

    Arguments as `recall_at`.

    >>> ndcg_at([[0, 1]], [1], k=2).round(4)
    array([0.6309])
    """
    found, total = _checked(relevance, relevant, k)
    return _where(total > 0, found[:, :k] @ discounts(k), ideal_gain(total, k))


def reciprocal_rank(ranks: npt.ArrayLike) -> FloatArray:
    """1 / place of the first relevant item; the mean over queries is MRR.

    Args:
        ranks: `(Q,)` places from 1, NaN or infinite where no item is relevant (NaN) or none was found (infinite: 0).

    Raises:
        ValueError: a place below 1.

    >>> reciprocal_rank([1, 4, float("nan")])
    array([1.  , 0.25,  nan])
    """
    array = float_array("ranks", ranks)
    if (array < 1.0).any():
        raise ValueError(f"`ranks` must be at least 1, got {array[array < 1.0][0]}")
    return 1.0 / array


def chance_recall(relevant: npt.ArrayLike, items: int, k: int) -> FloatArray:
    """Expected recall@k of a random order: k relevant / items are found.

    Args:
        relevant: `(Q,)` relevant items of each query.
        items: How many items are ranked.
        k: Places looked at.

    >>> chance_recall([1, 5], items=10, k=2)
    array([0.2, 0.5])
    """
    total = float_array("relevant", relevant)
    return _where(total > 0, k * total / items, np.minimum(k, total))


def chance_precision(relevant: npt.ArrayLike, items: int) -> FloatArray:
    """Expected precision of a random order, at every k: relevant / items.

    >>> chance_precision([1, 5, 0], items=10)
    array([0.1, 0.5, nan])
    """
    total = float_array("relevant", relevant)
    return _where(total > 0, total, np.full(len(total), float(items)))


def chance_ndcg(relevant: npt.ArrayLike, items: int, k: int) -> FloatArray:
    """Expected nDCG@k of a random order: every place is relevant with probability relevant / items.

    >>> chance_ndcg([1], items=2, k=2).round(4)
    array([0.8155])
    """
    total = float_array("relevant", relevant)
    return _where(total > 0, total / items * discounts(k).sum(), ideal_gain(total, k))


def chance_reciprocal_rank(relevant: npt.ArrayLike, items: int) -> FloatArray:
    """Expected reciprocal rank of a random order of n items, r of them relevant.

    E[1 / rank] = sum_j 1/j P(first at j),  P(first at j) = r / (n - j + 1) prod_{i < j} (1 - r / (n - i + 1))

    >>> chance_reciprocal_rank([1, 2], items=2)
    array([0.75, 1.  ])
    """
    total = float_array("relevant", relevant)
    expected = np.full(len(total), np.nan)
    place = np.arange(1.0, items + 1.0)
    for count in np.unique(total[total > 0]):
        here = np.minimum(1.0, count / (items - place + 1.0))
        missed = np.concatenate([[1.0], np.cumprod(1.0 - here)[:-1]])
        expected[total == count] = (here * missed / place).sum()
    return expected


def discounts(k: int) -> FloatArray:
    """1 / log2(place + 1) of the places 1..k."""
    return 1.0 / np.log2(np.arange(2.0, k + 2.0))


def ideal_gain(relevant: FloatArray, k: int) -> FloatArray:
    """The discounted gain `(Q,)` of an order that has all relevant items in front."""
    gains = np.concatenate([[0.0], np.cumsum(discounts(k))])
    return np.asarray(gains[np.minimum(relevant, k).astype(np.int64)])


def query_mean(
    values: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    interval: Literal["bootstrap", "normal"] = "bootstrap",
    replicates: int = 1000,
    seed: int = 0,
    unit: str = "query",
) -> tuple[Estimate, int]:
    """The mean over queries with its 95 % interval, and how many queries were left out.

    Args:
        values: `(Q,)` one number per query, NaN for those that are left out.
        groups: `(Q,)` queries of one group (photos of one item) are drawn together; None takes each alone.
        interval: "bootstrap": quantiles of the mean over queries drawn with replacement; "normal": +- 1.96 standard
            errors, for very many queries. Where all values are equal (every query succeeds) both have no width, which
            proves nothing beyond these queries.
        replicates, seed: Of the bootstrap.
        unit: What a query is called in the reason of a missing value.

    Returns:
        The estimate, without a value where no query is left, and the number of queries that were left out.

    Raises:
        ValueError: an unknown interval; fewer than 2 replicates.

    >>> estimate, left_out = query_mean([1.0, 0.0, float("nan")])
    >>> estimate.value, left_out
    (0.5, 1)
    """
    if interval not in ("bootstrap", "normal"):
        raise ValueError(f"`interval` must be 'bootstrap' or 'normal', got {interval!r}")
    if replicates < 2:
        raise ValueError(f"`replicates` must be at least 2, got {replicates}")
    array = float_array("values", values)
    kept = ~np.isnan(array)
    left_out = int((~kept).sum())
    if not kept.any():
        return Estimate.missing(f"no {unit} has a relevant item"), left_out
    ids = np.arange(len(array)) if groups is None else np.asarray(groups)
    if len(ids) != len(array):
        raise ValueError(f"`groups` must have {len(array)} row(s), got {len(ids)}")
    clusters, numbers = Clusters.of(ids[kept]), array[kept]
    value = float(numbers.mean())
    if clusters.count < 2:
        return Estimate(value, math.nan, math.nan, math.nan, f"one {unit} alone has no interval"), left_out
    if interval == "normal":
        influence = (numbers - value) / len(numbers)
        bounds = (min(0.0, float(numbers.min())), max(1.0, float(numbers.max())))
        return Estimate.linear(value, clustered_standard_error(influence, clusters), bounds=bounds), left_out
    sums, sizes = clusters.sums(numbers), clusters.sums(np.ones(len(numbers)))
    generator = np.random.default_rng(seed)
    means = np.empty(replicates)
    step = max(1, DRAWS_AT_ONCE // clusters.count)
    for start in range(0, replicates, step):
        drawn = generator.integers(clusters.count, size=(min(step, replicates - start), clusters.count))
        means[start : start + step] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(value, float(means.std(ddof=1)), float(low), float(high)), left_out


def _checked(relevance: npt.ArrayLike, relevant: npt.ArrayLike, k: int) -> tuple[FloatArray, FloatArray]:
    found, total = float_array("relevance", relevance, ndim=2), float_array("relevant", relevant)
    if len(found) != len(total):
        raise ValueError(f"`relevant` must have {len(found)} row(s) as `relevance`, got {len(total)}")
    if not 1 <= k <= found.shape[1]:
        raise ValueError(f"`k` must lie within 1..{found.shape[1]}, the places given, got {k}")
    if ((found != 0.0) & (found != 1.0)).any():
        raise ValueError("`relevance` must be 0 or 1, got other numbers")
    if (found.sum(axis=1) > total).any():
        query = int((found.sum(axis=1) > total).argmax())
        raise ValueError(f"`relevant` must count what `relevance` holds, got {total[query]:g} for query {query}")
    return found, total


def _where(known: npt.NDArray[np.bool_], upper: FloatArray, lower: FloatArray) -> FloatArray:
    """upper / lower where `known`, else NaN."""
    return np.divide(upper, lower, out=np.full(len(known), np.nan), where=known)
