"""The estimators: exact expectations over every order a policy can show, hand computations, influences, properties."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from evaluation.counterfactual import (
    Reranking,
    doubly_robust,
    estimate_reranking,
    inverse_propensity,
    new_positions,
    position_based,
    self_normalised,
)
from evaluation.counterfactual.estimating import logged_value
from evaluation.counterfactual.pooled_positions import pool_positions
from evaluation.counterfactual.valued import Valued

PREFERENCE = np.array([2.0, 1.0, 0.5])  # Plackett-Luce weights of three items
RATE = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.35], [0.2, 0.15, 0.05]])  # of item i at position k: no product form
NEW = np.array([2, 0, 1])  # the new ranking shows item 2 first


def orders() -> list[tuple[tuple[int, ...], float]]:
    """Every order of the three items and its Plackett-Luce probability."""
    found = []
    for order in itertools.permutations(range(3)):
        left, probability = PREFERENCE.sum(), 1.0
        for item in order:
            probability *= PREFERENCE[item] / left
            left -= PREFERENCE[item]
        found.append((order, probability))
    return found


def one_request(order: tuple[int, ...]) -> tuple[Reranking, np.ndarray]:
    """A request that showed `order`, under the exact marginal propensities, and the expected labels of its rows."""
    marginal = np.zeros((3, 3))
    for other, probability in orders():
        marginal[list(other), range(3)] += probability
    items = np.array(order)
    scores = -np.argsort(NEW)[items].astype(float)
    propensity = marginal[items, range(3)]
    return Reranking.of(scores, items, np.zeros(3), [1, 2, 3], propensity), RATE[items, range(3)]


def random_log(seed: int, requests: int = 300, size: int = 4) -> tuple[Reranking, np.ndarray, np.ndarray]:
    """(reranking, labels (N,), model (N,)) with ragged requests, gaps between positions and request weights."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, size + 1, requests)
    request = np.repeat(np.arange(requests), sizes)
    position = np.concatenate([np.sort(random.choice(size + 1, n, replace=False)) + 1 for n in sizes])
    rows = len(request)
    propensity = 1.0 / sizes[request] * random.uniform(0.6, 1.0, rows)
    weight = random.choice([1.0, 2.5], requests)[request]
    item = random.integers(0, 10**6, rows)
    new = Reranking.of(random.random(rows), item, request, position, propensity, weight)
    return new, (random.random(rows) < 0.5 / np.sqrt(position)).astype(float), random.random(rows)


def test_ips_and_dr_are_unbiased_over_every_order_that_the_policy_can_show() -> None:
    """[Li et al. 2018]: E[V] is the value of the new ranking for any rates by item and position, [Dudik et al. 2011]
    for any model; the mean of the log is something else."""
    true = sum(RATE[item, place] for place, item in enumerate(NEW))
    means = dict.fromkeys(("ips", "dr", "logged"), 0.0)
    for order, probability in orders():
        new, expected = one_request(order)
        model = np.array([0.9, 0.1, 0.4])[list(order)]
        means["logged"] += probability * logged_value(new, expected).value
        if new.matched.any():
            means["ips"] += probability * inverse_propensity(new, expected).value
            means["dr"] += probability * doubly_robust(new, expected, model).value
        else:  # no estimate is given for a log of this request alone: IPS is 0 and DR what its model says
            means["dr"] += probability * model.sum()
    assert means["ips"] == pytest.approx(true, abs=1e-12)
    assert means["dr"] == pytest.approx(true, abs=1e-12)
    assert abs(means["logged"] - true) > 0.05


def test_a_right_model_needs_no_matches_and_wrong_propensities_do_not_hurt_it() -> None:
    new, _, _ = random_log(0)
    rate = 0.3 / new.new  # what an item yields at its new position, so also where it matches
    found = doubly_robust(replace(new, propensity=new.propensity / 7), rate, rate)
    assert found.value == pytest.approx(new.per_request(rate).sum(), abs=1e-12)
    assert found.bias == 0.0


def test_hand_computation() -> None:
    """Two requests; of request 0 the first place is shared, of request 1 both."""
    new = Reranking.of(
        [5, 4, 9, 7, 6], list("abcab"), [0, 0, 0, 1, 1], [1, 2, 3, 1, 2], [0.5, 0.25, 0.4, 0.8, 0.5], None
    )  # fmt: skip
    assert new.new.tolist() == [2, 3, 1, 1, 2]
    labels = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    assert inverse_propensity(new, labels).value == pytest.approx((0 + (1 / 0.8 + 1 / 0.5)) / 2)
    assert inverse_propensity(new, labels, clip=0.6).value == pytest.approx((1 / 0.8 + 1 / 0.6) / 2)
    top = replace(new, cutoff=1)
    assert inverse_propensity(top, labels).value == pytest.approx(1 / 0.8 / 2)
    assert logged_value(top, labels).value == 1.0
    assert logged_value(new, labels).value == 2.0


@pytest.mark.parametrize("seed", range(3))
def test_self_normalised_gives_every_place_when_everything_is_engaged(seed: int) -> None:
    """V = sum_k n_k, whatever the weights: which IPS misses by what they happen to add up to."""
    new, labels, _ = random_log(seed)
    everything = np.ones(len(labels))
    candidates = new.per_request(everything).sum()
    assert self_normalised(new, everything).value == pytest.approx(candidates, abs=1e-12)
    assert abs(inverse_propensity(new, everything).value - candidates) > 1e-3


def test_the_bias_of_ips_is_its_distance_to_the_self_normalised_estimate() -> None:
    new, labels, _ = random_log(4)
    ips = inverse_propensity(new, labels, 0.4)
    assert ips.value + ips.bias == pytest.approx(self_normalised(new, labels, 0.4).value, abs=1e-12)


@pytest.mark.parametrize("estimator", ["logged", "ips", "snips", "dr", "pbm"])
def test_influences_are_the_derivatives_by_the_weights_of_requests(estimator: str) -> None:
    """influence_r = W_r dV / dW_r, checked against differences; their sum is 0, as V does not change with the scale."""
    new, labels, model = random_log(5, requests=400)

    def value(weights: np.ndarray) -> Valued:
        other = replace(new, weights=weights)
        return {
            "logged": lambda: logged_value(other, labels),
            "ips": lambda: inverse_propensity(other, labels, 0.3),
            "snips": lambda: self_normalised(other, labels, 0.3),
            "dr": lambda: doubly_robust(other, labels, model, 0.3),
            "pbm": lambda: position_based(other, labels, model, 0.3),
        }[estimator]()

    found = value(new.weights)
    assert found.influence.sum() == pytest.approx(0.0, abs=1e-12)
    for request in range(0, 400, 37):
        up, down = new.weights.copy(), new.weights.copy()
        up[request] *= 1 + 1e-5
        down[request] *= 1 - 1e-5
        slope = (value(up).value - value(down).value) / 2e-5
        assert found.influence[request] == pytest.approx(slope, abs=1e-8)


def test_a_request_of_weight_two_counts_as_two() -> None:
    new, labels, model = random_log(6, requests=60)
    double = replace(new, weights=np.where(np.arange(60) % 3 == 0, 2.0, 1.0))
    extra = new.clusters.codes % 3 == 0
    rows = np.r_[np.arange(len(labels)), np.flatnonzero(extra)]
    request = np.r_[new.clusters.codes, new.clusters.codes[extra] + 1000]
    both = Reranking.of(-new.new[rows], rows, request, new.logged[rows], new.propensity[rows])
    assert (both.new == new.new[rows]).all()
    for weighted, repeated in (
        (inverse_propensity(double, labels), inverse_propensity(both, labels[rows])),
        (doubly_robust(double, labels, model), doubly_robust(both, labels[rows], model[rows])),
        (logged_value(double, labels), logged_value(both, labels[rows])),
    ):
        assert weighted.value == pytest.approx(repeated.value, abs=1e-12)


def test_the_position_based_model_is_exact_where_it_holds() -> None:
    """y = theta(position) x relevance(item), with the right relevance, whatever the propensities say."""
    random = np.random.default_rng(0)
    requests, position = np.repeat(np.arange(200), 5), np.tile(np.arange(1, 6), 200)
    relevance = random.uniform(0.2, 0.9, 1000)
    theta = np.array([1.0, 0.8, 0.5, 0.4, 0.2])
    new = Reranking.of(relevance, np.arange(1000), requests, position, random.uniform(0.01, 1, 1000))
    expected = theta[position - 1] * relevance
    true = (theta[new.new - 1] * relevance).sum() / 200
    assert position_based(new, expected, relevance).value == pytest.approx(true, rel=1e-12)
    assert abs(logged_value(new, expected).value - true) > 0.1


def test_new_positions_equal_a_slow_implementation_whatever_the_order_of_rows() -> None:
    random = np.random.default_rng(1)
    request = random.integers(0, 20, 200)
    item = np.array([f"i{n:03d}" for n in random.permutation(200)])
    score = random.integers(0, 3, 200).astype(float)  # many ties
    position = np.empty(200, dtype=int)
    for r in range(20):
        position[request == r] = random.permutation((request == r).sum()) * 2 + 1
    expected = np.empty(200, dtype=int)
    for r in range(20):
        rows = np.flatnonzero(request == r)
        best_first = sorted(rows, key=lambda row: (-score[row], item[row]))
        expected[best_first] = sorted(position[rows])
    assert new_positions(score, item, request, position).tolist() == expected.tolist()
    shuffled = random.permutation(200)
    again = new_positions(score[shuffled], item[shuffled], request[shuffled], position[shuffled])
    assert again.tolist() == expected[shuffled].tolist()


def test_runs_of_positions_hold_enough_or_are_one() -> None:
    random, several = np.random.default_rng(2), 0
    for _ in range(50):
        counts = random.integers(0, 40, random.integers(1, 12)).astype(float)
        groups = pool_positions(counts)
        assert groups[0] == 0
        assert set(np.diff(groups)) <= {0, 1}
        assert groups[-1] == 0 or (np.bincount(groups, weights=counts) >= 20).all()
        several += groups[-1] > 0
    assert several > 25


def test_a_request_with_a_missing_label_is_left_out_for_that_head_alone() -> None:
    new, click, model = random_log(7)
    labels = np.column_stack([click, click])
    first = np.flatnonzero(new.clusters.codes == 3)[0]
    labels[first, 1] = np.nan
    result = estimate_reranking(new, labels, names=["whole", "part"], relevance=np.column_stack([model, model]))
    lines = result.table.set_index(["head", "estimator"])
    assert lines.loc[("whole", "ips"), "requests"] == 300
    assert lines.loc[("part", "ips"), "requests"] == 299
    assert "part 1" in result.notes[-1]
    rows = new.clusters.codes != 3
    request = new.clusters.codes[rows]
    without = Reranking.of(
        -new.new[rows], new.new[rows], request, new.logged[rows], new.propensity[rows], new.weights[request]
    )  # fmt: skip
    alone = estimate_reranking(without, click[rows, None], relevance=model[rows, None], clip=result.support.clip)
    for estimator in ("logged", "ips", "snips", "dr", "pbm"):
        expected = alone.table.set_index("estimator").loc[estimator]
        assert lines.loc[("part", estimator), "value"] == pytest.approx(expected["value"], abs=1e-12)
        assert lines.loc[("part", estimator), "se"] == pytest.approx(expected["se"], abs=1e-12)


def test_undefined_values_have_a_reason() -> None:
    """Few engagements, no shared placement, no model: null with words, never 0."""
    apart = Reranking.of([0, 1] * 30, list("ab") * 30, np.repeat(np.arange(30), 2), [1, 2] * 30, [0.5] * 60)
    one = np.zeros((60, 1))
    one[0] = 1.0
    found = estimate_reranking(apart, one, names=["save"]).table.set_index("estimator")
    assert found.loc["ips", "reason"] == "no candidate stands in the log where the new ranking puts it"
    assert found.loc["pbm", "reason"] == "too few engagements for the positions' effect: 1 of the 20 needed"
    assert "no probabilities" in found.loc["dr", "reason"]
    assert found.drop("logged")["value"].isna().all()
    missing = estimate_reranking(apart, np.full((60, 1), np.nan), names=["save"]).table
    assert set(missing["reason"]) == {"no request whose every candidate has a label"}


def test_a_head_without_positives_is_missing_throughout_and_so_is_its_utility() -> None:
    """Never 0: not what the log earned either, and not what a model says."""
    new, labels, model = random_log(9)
    y, q = np.column_stack([labels, np.zeros(len(labels))]), np.column_stack([model, model])
    result = estimate_reranking(new, y, names=["click", "save"], model=q, relevance=q, utility={"click": 1, "save": 2})
    lines = result.table.set_index(["head", "estimator"])
    assert lines.loc["click", "reason"].isna().all()
    assert lines.loc["save", "reason"].tolist() == ["no positive row"] * 5
    assert lines.loc["utility", "reason"].tolist() == ["save: no positive row"] * 5
    numbers = ["value", "se", "low", "high", "difference", "difference_se", "difference_low", "difference_high"]
    assert lines.loc[["save", "utility"], numbers].isna().all(axis=None)
    clicks = estimate_reranking(new, y, names=["click", "save"], relevance=q, utility={"click": 1.0, "save": 0.0}).table
    assert clicks.set_index("head").loc["utility", "value"].notna().all()  # a head that weighs nothing may be missing


def test_positives_where_an_estimator_does_not_look_are_no_positives() -> None:
    """Engagements at place 2 alone: nothing at the first place, and nothing among what both orders share."""
    random = np.random.default_rng(0)
    items = np.argsort(random.random((200, 2)), axis=1).ravel()
    places = np.tile([1, 2], 200)
    engaged = ((places == 2) & (items == 0)).astype(float)[:, None]  # the new order never puts item 0 there
    given = (-items, items, np.repeat(np.arange(200), 2), places, np.full(400, 0.5))
    whole = estimate_reranking(Reranking.of(*given), engaged, relevance=np.full((400, 1), 0.3)).table
    assert whole.set_index("estimator").loc["logged", "value"] > 0.3
    shared = "no positive row among the placements that both orders share"
    assert whole.set_index("estimator").loc[["ips", "snips"], "reason"].tolist() == [shared] * 2
    top = estimate_reranking(Reranking.of(*given, cutoff=1), engaged).table.set_index("estimator")
    assert top.loc["logged", "reason"] == "no positive row at positions up to 1"
    assert top.loc[["logged", "ips", "snips"], "value"].isna().all()


@pytest.mark.parametrize("places", [[1, 2, 3, 4, 5], [1]])  # enough for one run of positions, or all at one place
def test_the_position_based_model_does_not_say_no_change_for_it_cannot_tell(places: list[int]) -> None:
    new, _, model = random_log(10)
    labels = np.zeros(len(model))
    labels[np.random.default_rng(10).choice(np.flatnonzero(np.isin(new.logged, places)), 30, replace=False)] = 1.0
    found = position_based(new, labels, model)
    assert found.reason == "too few engagements to tell positions apart: 30, no two runs of them with 20 each"
    assert np.isnan(found.value)
    assert len(estimate_reranking(new, labels[:, None], relevance=model[:, None]).effects) == 0
    single = Reranking.of(model[:40], np.arange(40), np.arange(40), np.full(40, 3), np.ones(40))
    assert position_based(single, np.ones(40)).value == 1.0  # one position in all: nothing to tell apart


def test_the_interval_of_a_count_ends_at_0_and_that_of_a_mixed_utility_does_not() -> None:
    new, _, model = random_log(11, requests=120)
    labels = (np.random.default_rng(3).random((len(model), 2)) < 0.03).astype(float)
    q = np.column_stack([model, model]) / 20
    for weights, bounded in (({"a": 1.0, "b": 2.0}, True), ({"a": 1.0, "b": -2.0}, False)):
        table = estimate_reranking(new, labels, names=["a", "b"], relevance=q, utility=weights).table
        heads = table[table["head"] != "utility"]
        free = heads["value"] - 1.96 * heads["se"]
        assert (free < -0.001).any()
        expected = np.maximum(free, np.minimum(heads["value"], 0.0))
        np.testing.assert_allclose(heads["low"].astype(float), expected.astype(float), atol=1e-4)
        assert (heads["difference_low"].dropna() < 0).any()
        mixed = table[table["head"] == "utility"]
        assert ((mixed["low"].dropna() >= 0).all()) == bounded
    below = Valued(-0.1, np.array([0.2, -0.2])).estimate(0.0)
    assert below.low == -0.1 < below.high  # an estimate may lie below; its interval still holds it


@pytest.mark.parametrize(
    ("utility", "names", "words"),
    [
        ({"c": 0.0}, ["c", "d"], "must have a weight other than 0"),
        ({}, ["c", "d"], "must have a weight other than 0"),
        ({"e": 1.0}, ["c", "d"], r"must name heads that are measured \(c, d\), got e"),
        ({"c": float("nan")}, ["c", "d"], "must be finite numbers, got c = nan"),
        ({"c": 1.0}, ["c", "utility"], 'no head may be called "utility" beside a utility'),
        ({"c": float("inf"), "x": 1.0, "y": 1.0}, ["c", "utility"], "c = inf; .* got x, y; no head may be called"),
    ],
)
def test_a_utility_that_cannot_be_valued_is_refused(utility: dict, names: list[str], words: str) -> None:
    new, labels, _ = random_log(12, requests=40)
    with pytest.raises(ValueError, match=words):
        estimate_reranking(new, np.column_stack([labels, labels]), names=names, utility=utility)


def test_the_utility_is_the_weighted_sum_with_its_own_error() -> None:
    new, labels, model = random_log(8)
    both = np.column_stack([labels, np.roll(labels, 1)])
    q = np.column_stack([model, model / 2])
    result = estimate_reranking(new, both, names=["a", "b"], relevance=q, utility={"b": -0.5, "a": 2.0})
    lines = result.table.set_index(["head", "estimator"])
    for estimator in ("logged", "ips", "snips", "dr", "pbm"):
        expected = 2 * lines.loc[("a", estimator), "value"] - 0.5 * lines.loc[("b", estimator), "value"]
        assert lines.loc[("utility", estimator), "value"] == pytest.approx(expected, abs=1e-12)
    mixed = logged_value(new, 2 * both[:, 0] - 0.5 * both[:, 1]).estimate()
    assert lines.loc[("utility", "logged"), "se"] == pytest.approx(mixed.standard_error, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"propensities": [0.5, 0.0]}, r"`propensities` must lie within \(0, 1\], got 0 at row 1"),
        ({"propensities": [0.5, np.nan]}, "got nan at row 1"),
        ({"positions": [1, 1]}, "`positions` must differ within a request, got 1 at row 1"),
        ({"positions": [1, 1.5]}, "whole numbers from 1, got 1.5 at row 1"),
        ({"weights": [1.0, 2.0]}, "one value per request, got 2 beside 1 at row 1.*candidates are missing"),
        ({"cutoff": 0}, "`cutoff` must be at least 1, got 0"),
        ({"items": ["a"]}, r"`items` must have 2 row\(s\), got 1"),
        ({"scores": [np.nan, 1.0]}, "`scores` must be numbers without NaN"),
        ({"positions": [0, 1], "propensities": [2.0, 0.5]}, "`positions` must be.*`propensities` must lie"),
    ],
)
def test_arguments_that_cannot_be_used_are_named_all_at_once(change: dict, words: str) -> None:
    good = {"scores": [1, 0], "items": ["a", "b"], "groups": [7, 7], "positions": [1, 2], "propensities": [0.5, 0.5]}
    with pytest.raises(ValueError, match=words):
        Reranking.of(**(good | change))
