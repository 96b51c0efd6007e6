"""The logging policy: uniform candidate sets, Plackett-Luce orders, exact marginal propensities."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from features.world.policy import draw_candidates, order_by_plackett_luce, position_propensity
from features.world.world import World


def by_enumeration(scores: np.ndarray) -> np.ndarray:
    """P(item i at position i) summed over all orders, each a product of choices among what is left; (C,)."""
    weights, n = np.exp(scores), len(scores)
    total = np.zeros(n)
    for order in permutations(range(n)):
        left = np.cumsum(weights[list(order)][::-1])[::-1]
        p = np.prod(weights[list(order)] / left)
        for position, item in enumerate(order):
            total[item] += p * (item == position)
    return total


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_propensity_equals_the_sum_over_all_orders(spread: float) -> None:
    scores = np.random.default_rng(0).normal(0, spread, (5, 6))
    expected = np.stack([by_enumeration(row) for row in scores])
    np.testing.assert_allclose(position_propensity(scores), expected, atol=1e-4)


def test_equal_scores_give_every_position_the_same_chance() -> None:
    np.testing.assert_allclose(position_propensity(np.zeros((2, 20))), 1 / 20, rtol=1e-4)
    np.testing.assert_allclose(position_propensity(np.zeros((3, 1))), 1, rtol=1e-6)


def test_propensity_ignores_a_constant_added_to_all_scores() -> None:
    scores = np.random.default_rng(1).normal(size=(4, 20))
    np.testing.assert_allclose(position_propensity(scores + 700), position_propensity(scores), rtol=1e-9)


def test_every_item_is_somewhere_and_every_position_is_filled() -> None:
    """The 20 x 20 matrix P(item at position) has rows and columns of sum 1 (scores of the policy of a real world)."""
    world, random = World.generate(users=1), np.random.default_rng(3)
    scores = world.policy_score[draw_candidates(random, 40, 20, 2000)]
    matrix = np.empty((40, 20, 20))  # request, item, position
    items = np.arange(20)
    for shift in range(20):
        column_item = (items + shift) % 20  # the item that stands at each position in this arrangement
        matrix[:, column_item, items] = position_propensity(scores[:, column_item])
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=5e-4)
    np.testing.assert_allclose(matrix.sum(axis=2), 1, atol=5e-4)
    assert matrix.min() > 0


def test_propensity_equals_how_often_it_happens() -> None:
    """200,000 orders of one set of 20: frequency of each item at each position within 4.5 standard errors."""
    scores, draws = np.random.default_rng(4).normal(0, 1.2, 20), 200_000
    order = order_by_plackett_luce(np.random.default_rng(5), np.tile(scores, (draws, 1)))
    for arrangement in (np.argsort(-scores), np.argsort(scores)):
        p = position_propensity(scores[arrangement][None])[0]
        frequency = (order == arrangement).mean(axis=0)
        assert (np.abs(frequency - p) < 4.5 * np.sqrt(p / draws) + 1e-4).all()


def test_inverse_propensity_counts_the_positions() -> None:
    """E[1 / propensity] over a request's rows is C: each item has C positions, all of them possible."""
    random = np.random.default_rng(6)
    scores = random.normal(0, 0.7, (20000, 8))
    order = order_by_plackett_luce(random, scores)
    inverse = 1 / position_propensity(np.take_along_axis(scores, order, axis=1))
    per_request = inverse.mean(axis=1)
    assert abs(per_request.mean() - 8) < 4 * per_request.std() / np.sqrt(20000)


def test_candidate_sets_are_uniform() -> None:
    """All 10 subsets of 3 of 5, each with frequency 1/10; a set as large as the catalogue is the catalogue."""
    sets = draw_candidates(np.random.default_rng(0), 50_000, 3, 5)
    assert (np.diff(sets, axis=1) > 0).all()
    _, counts = np.unique(sets, axis=0, return_counts=True)
    assert len(counts) == 10
    assert (np.abs(counts / 50_000 - 0.1) < 4 * np.sqrt(0.09 / 50_000)).all()
    assert (draw_candidates(np.random.default_rng(0), 100, 20, 20) == np.arange(20)).all()
