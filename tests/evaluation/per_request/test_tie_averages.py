"""Tie-averaged metrics against every order of the ties, and the sums they are made of against fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from evaluation.clusters import Clusters
from evaluation.per_request import MetricName, request_influences
from evaluation.per_request.expectations import expected_at_first_positive, harmonic_difference, place_grid
from evaluation.per_request.gains import DiscountArea
from evaluation.per_request.ranked_requests import RankedRequests
from evaluation.per_request.request_values import request_values

CUTOFFS = (1, 2, 3, 5, 50)
NAMES = ["ndcg", "mrr", "mean_ap", "gauc"] + [
    f"{kind}@{cutoff}" for kind in ("ndcg", "mrr", "mean_ap", "recall", "hit_rate") for cutoff in CUTOFFS
]


def of_one_order(name: str, labels: list[float]) -> float:
    """The textbook's metric of labels from the first rank to the last, all scores different."""
    kind, _, cut = name.partition("@")
    cutoff = int(cut) if cut else len(labels)
    hits = [rank for rank, label in enumerate(labels, 1) if label > 0]
    seen = [rank for rank in hits if rank <= cutoff]
    if kind == "ndcg":
        best = sorted(labels, reverse=True)
        gain, ideal = (sum(x / math.log2(i + 2) for i, x in enumerate(rows[:cutoff])) for rows in (labels, best))
        return gain / ideal
    if kind == "mrr":
        return 1 / seen[0] if seen else 0.0
    if kind == "mean_ap":
        return sum((place + 1) / rank for place, rank in enumerate(hits) if rank <= cutoff) / len(hits)
    if kind == "recall":
        return len(seen) / len(hits)
    if kind == "hit_rate":
        return float(bool(seen))
    pairs = [(a, b) for a, b in itertools.combinations(labels, 2) if a != b]
    return sum(a > b for a, b in pairs) / len(pairs)


def over_all_orders(name: str, labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean over every order that the scores allow."""
    groups = [labels[scores == level].tolist() for level in np.unique(scores)[::-1]]
    orders = itertools.product(*(list(itertools.permutations(group)) for group in groups))
    return float(np.mean([of_one_order(name, [x for group in order for x in group]) for order in orders]))


def values(name: str, labels: np.ndarray, scores: np.ndarray, ids: np.ndarray, ties: str = "average") -> np.ndarray:
    """Every request's value; NaN where it is left out."""
    found, weight = request_values(MetricName.of(name), RankedRequests.of(labels, scores, Clusters.of(ids), None, ties))
    return np.where(weight > 0, found, np.nan)


def requests(seed: int, count: int = 60, *, graded: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Requests of 1 to 6 rows with up to 3 different scores, shuffled."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(count), rng.integers(1, 7, count))
    rng.shuffle(ids)
    labels = rng.choice([0.0, 0.0, 1.0, 3.0, 0.5] if graded else [0.0, 0.0, 1.0], len(ids))
    return labels, rng.choice([-np.inf, -1.5, 0.25], len(ids)), ids


def check(name: str, labels: np.ndarray, scores: np.ndarray, ids: np.ndarray) -> None:
    found = values(name, labels, scores, ids)
    for code, request in enumerate(dict.fromkeys(ids.tolist())):
        y, s = labels[ids == request], scores[ids == request]
        if not y.any() or (name == "gauc" and y.all()):
            assert np.isnan(found[code])
        else:
            assert found[code] == pytest.approx(over_all_orders(name, y, s), abs=1e-13), (name, y, s)


@pytest.mark.parametrize("name", NAMES)
def test_the_average_is_over_every_order_of_equal_scores(name: str) -> None:
    check(name, *requests(0))


@pytest.mark.parametrize("name", ["ndcg", "ndcg@1", "ndcg@3"])
def test_graded_gains_are_averaged_alike(name: str) -> None:
    check(name, *requests(1, graded=True))


@pytest.mark.parametrize("name", NAMES)
def test_in_the_order_given_every_row_has_its_own_rank(name: str) -> None:
    labels, scores, ids = requests(2)
    found = values(name, labels, scores, ids, "order")
    for code, request in enumerate(dict.fromkeys(ids.tolist())):
        y, s = labels[ids == request], scores[ids == request]
        assert np.isnan(found[code]) == (not y.any() or (name == "gauc" and bool(y.all())))
        if not np.isnan(found[code]):
            assert found[code] == pytest.approx(
                of_one_order(name, y[np.argsort(-s, kind="stable")].tolist()), abs=1e-14
            )


def test_the_order_given_can_flatter_and_the_average_cannot() -> None:
    y, ids = [1, 0, 0, 0], [7] * 4
    assert request_influences("mrr", y, [0.5] * 4, ids, ties="order")[0] == 1.0
    assert request_influences("mrr", y[::-1], [0.5] * 4, ids, ties="order")[0] == 0.25
    chance = (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    assert request_influences("mrr", y, [0.5] * 4, ids)[0] == pytest.approx(chance, abs=1e-15)


def test_by_hand_one_tie_across_the_cut() -> None:
    """Ranks 2, 3, 4 are tied and hold one positive of the two; the other is first."""
    y, s, ids = [1, 1, 0, 0], [0.9, 0.5, 0.5, 0.5], [1] * 4
    assert request_influences("recall@2", y, s, ids)[0] == pytest.approx((1 + 1 / 3) / 2)
    assert request_influences("mean_ap", y, s, ids)[0] == pytest.approx((1 + (2 / 2 + 2 / 3 + 2 / 4) / 3) / 2)
    assert request_influences("gauc", y, s, ids)[0] == (2 + 2 / 2) / 4


@pytest.mark.parametrize("above", [0, 1, 7, 1000, 10**6])
@pytest.mark.parametrize("places", [0, 1, 2, 30, 2500])
def test_harmonic_differences_keep_their_digits(above: int, places: int) -> None:
    exact = math.fsum(1 / (above + j) for j in range(1, places + 1))
    found = harmonic_difference(np.array([float(above)]), np.array([float(places)]))[0]
    assert found == pytest.approx(exact, rel=4e-15)


def test_between_whole_numbers_the_sum_is_the_digamma_function() -> None:
    from scipy.special import digamma

    a, m = np.meshgrid([0.0, 0.3, 12.5], [0.25, 1.5, 40.7])
    expected = digamma(a + m + 1) - digamma(a + 1)
    assert harmonic_difference(a.ravel(), m.ravel()) == pytest.approx(expected.ravel(), rel=1e-13)


@pytest.mark.parametrize(
    ("size", "positives", "error"),
    [(5, 2, 1e-14), (40, 1, 1e-14), (40, 39, 1e-14), (1000, 3, 1e-12), (500_000, 2, 1e-5), (10**12, 1, 1e-5)],
)
def test_the_place_of_the_first_positive_has_its_mean(size: int, positives: int, error: float) -> None:
    """Negative hypergeometric: E[J] = (n + 1) / (p + 1), and the chances sum to 1."""
    n, p = np.array([float(size), 4.0]), np.array([float(positives), 1.0])

    def place(groups: np.ndarray, before: np.ndarray, taken: np.ndarray) -> np.ndarray:
        return np.broadcast_to(before + (taken + 1) / 2, (len(groups), len(before)))

    assert expected_at_first_positive(n, p, place) == pytest.approx([(size + 1) / (positives + 1), 2.5], rel=error)
    total = expected_at_first_positive(n, p, lambda groups, before, taken: np.ones((len(groups), len(before))))
    assert total == pytest.approx([1.0, 1.0], abs=1e-11)


@pytest.mark.parametrize("size", [100, 3000, 10**6, 10**15])
@pytest.mark.parametrize("above", [0, 50])
def test_a_single_positive_in_a_tie_of_any_length_has_a_mean_reciprocal_rank(size: int, above: int) -> None:
    """Every place is as likely: (H(a + n) - H(a)) / n, at any length; here one row of great weight makes it long."""
    y = [0] * above + [1, 0]
    weights = [1.0] * (above + 1) + [size - 1.0]
    found = request_influences("mrr", y, [1] * above + [0, 0], [1] * len(y), weights)[0]
    expected = harmonic_difference(np.array([float(above)]), np.array([float(size)]))[0] / size
    assert found == pytest.approx(expected, rel=1e-13 if size < 1000 else 1e-5, abs=1e-9)


def test_a_long_tie_across_the_cut_is_hypergeometric() -> None:
    """1 - C(n - p, m) / C(n, m), and by symmetry the recall is m / n."""
    n, p, m = 400, 5, 37
    y, ids = np.append(np.ones(p), np.zeros(n - p)), np.zeros(n)
    missed = Fraction(math.comb(n - p, m), math.comb(n, m))
    assert request_influences(f"hit_rate@{m}", y, np.zeros(n), ids)[0] == pytest.approx(float(1 - missed), rel=1e-13)
    assert request_influences(f"recall@{m}", y, np.zeros(n), ids)[0] == pytest.approx(m / n, rel=1e-14)


def test_discounts_of_ranks_beyond_a_million_are_taken_together() -> None:
    ranks = np.array([1.0, 2**20 + 1, 3e6, 3_000_001.0])
    exact = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, 3_000_003))))[ranks.astype(int)]
    assert DiscountArea(3_000_001.0)(ranks) == pytest.approx(exact, rel=1e-6)
    assert len(place_grid(1e18, 1024)) < 10_000
