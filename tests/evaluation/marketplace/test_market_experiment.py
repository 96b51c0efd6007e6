"""Simulated A/B tests: the split, what is drawn, and what intervals promise."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.marketplace.experiment import Arm, run_experiment, split_users
from evaluation.marketplace.lifts import lift_sentences, lifts, relative_difference, true_lifts
from evaluation.marketplace.policy import Policy, show
from evaluation.marketplace.requests import Requests, draw_requests
from evaluation.marketplace.truth import true_value
from features import InputError
from features.world import DAY, HEADS, START, World

QUICK = {"candidates": 12, "shown": 5}


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(seed=4, properties=200, users=3000)


def best(requests: Requests) -> np.ndarray:
    """Ids as scores: any fixed order."""
    return requests.items.astype(float)


def worst(requests: Requests) -> np.ndarray:
    return -requests.items.astype(float)


def affinity(world: World, sign: float = 1.0) -> Policy:
    """Rank by the true probability of a click at the top."""

    def policy(requests: Requests) -> np.ndarray:
        items = requests.items
        user, time = (np.repeat(x, items.shape[1]) for x in (requests.user, requests.time))
        p = world.probabilities(user, items.ravel(), np.ones(items.size), time)
        return sign * p.click.reshape(requests.items.shape)

    return policy


def test_requests_come_from_their_days_and_from_the_properties_to_choose_from(world: World) -> None:
    some = draw_requests(world, np.random.default_rng(0), 500, 6, days=(3, 5), items=np.array([5, 3, 9, 11, 20, 7, 3]))
    end = START + world.days * DAY
    assert some.time.min() >= end + 3 * DAY
    assert some.time.max() < end + 5 * DAY
    assert set(some.items.ravel()) <= {3, 5, 7, 9, 11, 20}
    assert (np.diff(some.items, axis=1) > 0).all()  # no property twice in a request


def test_all_faults_of_requests_are_named_at_once(world: World) -> None:
    with pytest.raises(InputError) as error:
        draw_requests(world, np.random.default_rng(0), 0, 201, days=(2, 2))
    assert all(name in str(error.value) for name in ("`requests`", "`candidates`", "`days`"))
    with pytest.raises(InputError, match="query"):
        draw_requests(World.generate(properties=20, users=5, query=1.0), np.random.default_rng(0), 1, 2)


def test_the_best_are_shown_and_ties_go_to_the_first_column() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (50, 9)).astype(float)
    columns = show(scores, 4)
    for row, chosen in zip(scores, columns):
        assert chosen.tolist() == sorted(range(9), key=lambda c: (-row[c], c))[:4]
    with pytest.raises(ValueError, match="1 <= shown <= candidates = 9"):
        show(scores, 10)


def test_users_are_split_evenly_and_anew_by_another_salt() -> None:
    first, again, other = (split_users(40_000, 4, salt) for salt in ("a", "a", "b"))
    assert (first == again).all()
    share = np.bincount(first, minlength=4) / 40_000
    assert np.abs(share - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 40_000)
    # independent: of a user's arm in one experiment nothing follows for the next
    assert np.mean(first == other) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 40_000))


def test_the_same_seed_gives_the_same_experiment(world: World) -> None:
    def run(seed: int) -> np.ndarray:
        found = run_experiment(world, {"a": best, "b": worst}, requests=800, seed=seed, **QUICK)
        return np.concatenate([arm.volume.sum(0) for arm in found.arms.values()])

    assert run(0).tolist() == run(0).tolist()
    assert run(0).tolist() != run(1).tolist()


def test_engagements_are_drawn_at_the_true_rates(world: World) -> None:
    """Mean volume and propensity of an arm within 4.5 standard errors of the exact expectation, for every head."""
    policy = affinity(world)
    found = run_experiment(world, {"only": policy}, requests=30_000, seed=1, **QUICK).arms["only"]
    truth = true_value(world, draw_requests(world, np.random.default_rng(9), 20_000, 12), policy, 5)
    for column, head in enumerate(HEADS):
        for measure in ("volume", "propensity"):
            mean, error = found.mean(measure, {head: 1.0})
            exact = getattr(truth, measure)[:, column]
            spread = float(np.hypot(error, exact.std() / np.sqrt(len(exact)) * 2))  # users repeat in both
            assert abs(mean - exact.mean()) < 4.5 * spread, (head, measure)


def test_the_standard_error_is_clustered_by_user() -> None:
    """A user whose requests are all alike counts once: doubling his requests must not shrink the error."""
    random = np.random.default_rng(0)
    per_request = random.poisson(1.0, (500, 4)).astype(float)
    one = Arm(np.ones(500), per_request, np.minimum(per_request, 1))
    ten = Arm(np.full(500, 10.0), 10 * per_request, 10 * np.minimum(per_request, 1))
    assert one.mean("volume", {"click": 1.0}) == pytest.approx(ten.mean("volume", {"click": 1.0}))
    mean, error = one.mean("volume", {"closeup": 1.0, "save": 2.0})
    values = per_request @ np.array([1.0, 0, 0, 2.0])  # one request per user: the textbook standard error
    assert (mean, error) == pytest.approx((values.mean(), values.std(ddof=1) / np.sqrt(500)))


def test_intervals_of_an_a_a_test_cover_zero(world: World) -> None:
    """Of 120 A/A experiments 6 should exclude it; 0 or more than 13 would be luck of a few in a thousand."""
    outside = 0
    for seed in range(120):
        found = run_experiment(world, {"a": best, "b": best}, requests=1500, seed=seed, **QUICK)
        line = lifts(found, "a", "b").set_index(["head", "measure"]).loc[("click", "volume")]
        outside += not line["low"] <= 0 <= line["high"]
    assert 1 <= outside <= 13


def test_a_better_policy_is_seen_to_be_better_and_by_how_much(world: World) -> None:
    arms = {"good": affinity(world), "bad": affinity(world, -1.0)}
    found = run_experiment(world, arms, requests=12_000, seed=2, **QUICK)
    table = lifts(found, "good", "bad")
    assert set(table["verdict"]) == {"better"}
    same = draw_requests(world, np.random.default_rng(3), 6000, 12)
    truth = true_lifts(*(true_value(world, same, policy, 5) for policy in arms.values()))
    merged = table.merge(truth, on=["head", "measure"])
    width = merged["high"] - merged["low"]
    assert (np.abs(merged["lift"] - merged["true_lift"]) < 1.5 * width).all()


def test_relative_difference_by_hand() -> None:
    lift, low, high = relative_difference(3.0, 0.3, 2.0, 0.2)
    half = 1.959963984540054 * np.sqrt(0.1**2 + 0.1**2)
    assert (lift, low, high) == pytest.approx((50.0, 100 * (1.5 * np.exp(-half) - 1), 100 * (1.5 * np.exp(half) - 1)))
    assert np.isnan(relative_difference(0.0, 0.0, 1.0, 0.1)).all()


def test_what_cannot_be_compared_is_refused(world: World) -> None:
    found = run_experiment(world, {"a": best, "b": best}, requests=400, **QUICK)
    with pytest.raises(ValueError, match="the arms a, b, not c"):
        lifts(found, "c", "a")
    with pytest.raises(ValueError, match="heads among closeup, click, long_click, save, got hide"):
        found.arms["a"].mean("volume", {"hide": 1.0})
    with pytest.raises(InputError, match="two users or more"):
        run_experiment(world, {"a": best, "b": best}, requests=1, **QUICK)


def test_sentences_say_less_where_it_is_less() -> None:
    rows = [
        {"head": "click", "measure": "volume", "lift": -2.0, "low": -3.0, "high": -1.0, "verdict": "worse"},
        {"head": "save", "measure": "volume", "lift": 1.0, "low": -1.0, "high": 3.0, "verdict": "no difference shown"},
    ]
    (sentence,) = lift_sentences("Ours", "theirs", rows)
    assert sentence.startswith("Ours against theirs, engagements per request: less of click (-2.000 %")
    assert "no difference shown on save" in sentence
