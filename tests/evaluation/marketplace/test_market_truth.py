"""Exact values of a ranking, and the table of a ranker's answers."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.marketplace.policy import RankerTable
from evaluation.marketplace.requests import Requests, draw_requests
from evaluation.marketplace.truth import Truth, ValueTable, true_value
from features import InputError
from features.world import HEADS, START, World
from ranking import Ranker, Utility

VALUES = {"closeup": 0.1, "click": 0.3, "long_click": 1.0, "save": 2.0}


@pytest.fixture(scope="module")
def small_world() -> World:
    """The world of the session's fitted ranker."""
    return World.generate(seed=3, properties=300, users=500)


@pytest.fixture(scope="module")
def table(small_world: World, ranker: Ranker) -> RankerTable:
    return RankerTable.of(small_world, ranker)


@pytest.fixture(scope="module")
def requests(small_world: World) -> Requests:
    return draw_requests(small_world, np.random.default_rng(0), 60, 8)


def shuffled(requests: Requests) -> np.ndarray:
    return np.random.default_rng(5).random(requests.items.shape)


def test_true_value_by_hand(small_world: World) -> None:
    """One request, two candidates in a given order: the sum of the world's own probabilities at positions 1 and 2."""
    one = Requests(np.array([7]), np.array([[4, 9]]), np.array([START]))
    truth = true_value(small_world, one, lambda r: np.array([[0.0, 1.0]]), shown=2)
    first = small_world.probabilities([7], [9], [1], [START])
    second = small_world.probabilities([7], [4], [2], [START])
    for column, head in enumerate(HEADS):
        p, q = getattr(first, head)[0], getattr(second, head)[0]
        assert truth.volume[0, column] == pytest.approx(p + q, rel=1e-12)
        assert truth.propensity[0, column] == pytest.approx(p + q - p * q, rel=1e-12)


def test_the_value_table_equals_the_direct_computation(small_world: World, requests: Requests) -> None:
    direct = true_value(small_world, requests, shuffled, 5).volume @ np.array([VALUES[head] for head in HEADS])
    np.testing.assert_allclose(ValueTable(small_world, requests, VALUES, 5).of(shuffled), direct, rtol=1e-6)


def test_values_are_linear_and_of_known_heads(small_world: World, requests: Requests) -> None:
    clicks, saves = (ValueTable(small_world, requests, {head: 1.0}, 3).of(shuffled) for head in ("click", "save"))
    both = ValueTable(small_world, requests, {"click": 2.0, "save": -1.0}, 3).of(shuffled)
    np.testing.assert_allclose(both, 2 * clicks - saves, rtol=1e-5)
    with pytest.raises(ValueError, match="got hide"):
        ValueTable(small_world, requests, {"hide": 1.0}, 3)


def test_nothing_beats_ranking_by_the_truth(small_world: World, requests: Requests, table: RankerTable) -> None:
    """Clicks: a lower position costs the more, the likelier the click is (below 1/2), so the likeliest go first."""
    worth = ValueTable(small_world, requests, {"click": 1.0}, 4)

    def oracle(r: Requests) -> np.ndarray:
        each = r.items.shape[1]
        p = small_world.probabilities(
            np.repeat(r.user, each), r.items.ravel(), np.ones(r.items.size), np.repeat(r.time, each)
        )
        return p.click.reshape(r.items.shape)

    by_truth = worth.of(oracle)
    for other in (shuffled, table.policy({"click": 1.0}), table.policy({"closeup": 0.2, "save": 0.8})):
        assert (by_truth >= worth.of(other) - 1e-6).all()


def test_parts_of_a_truth_come_together(small_world: World, requests: Requests) -> None:
    whole = true_value(small_world, requests, lambda r: r.items.astype(float), 3)
    halves = [
        true_value(
            small_world,
            Requests(requests.user[rows], requests.items[rows], requests.time[rows]),
            lambda r: r.items.astype(float),
            3,
        )
        for rows in (slice(0, 20), slice(20, None))
    ]
    together = Truth.together(halves)
    np.testing.assert_array_equal(together.volume, whole.volume)
    np.testing.assert_array_equal(together.propensity, whole.propensity)


def test_the_ranker_table_ranks_as_the_ranker_does(small_world: World, ranker: Ranker, table: RankerTable) -> None:
    """A request of a user of the log, ranked by the library and by the table."""
    some = draw_requests(small_world, np.random.default_rng(1), 5, 12)
    utility = Utility(click=0.3, save=0.7)
    scores = table.policy(utility)(some)
    for row in range(5):
        frame = {"user_id": np.full(12, some.user[row]), "item_id": some.items[row]}
        ranked = ranker.rank(frame, utility=utility)
        np.testing.assert_allclose(np.sort(scores[row])[::-1], ranked["utility"], rtol=1e-5)
        assert some.items[row][np.argsort(-scores[row], kind="stable")].tolist() == ranked["item_id"].tolist()


def test_a_utility_is_for_heads_only(table: RankerTable) -> None:
    with pytest.raises(ValueError, match="utility must be given"):
        table.policy()
    single = RankerTable(("score",), table.values[:, :, :1], table.segment)
    with pytest.raises(ValueError, match="none for an importance-weighted score"):
        single.policy({"click": 1.0})
    some = Requests(np.array([0]), np.array([[1, 2]]), np.array([START]))
    assert single.policy()(some).shape == (1, 2)


def test_a_ranker_that_reads_more_of_a_request_is_refused(
    small_world: World, ranker: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["segment", "item_id", "device"]
    monkeypatch.setattr(type(ranker.encoders), "required_columns", lambda self, available, serving_position: names)
    with pytest.raises(InputError, match="reads device of a candidate"):
        RankerTable.of(small_world, ranker)
