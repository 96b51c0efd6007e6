from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, recall_score

from evaluation.gallery.retrieval_metrics import (
    chance_ndcg,
    chance_precision,
    chance_recall,
    chance_reciprocal_rank,
    ndcg_at,
    precision_at,
    query_mean,
    recall_at,
    reciprocal_rank,
)


def test_values_derived_by_hand() -> None:
    """Relevant at places 1 and 4 of 5 shown, three relevant items in all."""
    relevance, relevant = [[1, 0, 0, 1, 0]], [3]
    assert recall_at(relevance, relevant, 1)[0] == 1 / 1  # one has room, one was found
    assert recall_at(relevance, relevant, 4)[0] == 2 / 3
    assert precision_at(relevance, relevant, 4)[0] == 2 / 4
    best = 1 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(relevance, relevant, 5)[0] == pytest.approx((1 + 1 / math.log2(5)) / best)
    assert ndcg_at(relevance, relevant, 2)[0] == pytest.approx(1 / (1 + 1 / math.log2(3)))
    np.testing.assert_array_equal(reciprocal_rank([1, 5, math.inf, math.nan]), [1.0, 0.2, 0.0, math.nan])


def test_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random((60, 25)) < 0.3).astype(float)
    truth[truth.sum(axis=1) == 0, 0] = 1.0
    scores = generator.normal(size=truth.shape)
    ranked = np.take_along_axis(truth, np.argsort(-scores, axis=1), axis=1)
    for k in (1, 3, 10, 25):
        ours = ndcg_at(ranked, truth.sum(axis=1), k)
        assert ours.mean() == pytest.approx(ndcg_score(truth, scores, k=k), abs=1e-12)
    shown = (np.argsort(np.argsort(-scores, axis=1), axis=1) < 25).astype(int)
    theirs = [recall_score(y, s) for y, s in zip(truth, shown)]
    np.testing.assert_allclose(recall_at(ranked, truth.sum(axis=1), 25), theirs)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_perfect_is_one_and_nothing_beats_it(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    relevance = (generator.random((5, 12)) < generator.random((5, 1))).astype(float)
    relevant = relevance.sum(axis=1)
    perfect = -np.sort(-relevance, axis=1)
    some = relevant > 0
    for metric in (recall_at, ndcg_at):
        np.testing.assert_allclose(metric(perfect, relevant, k)[some], 1.0)
        assert (metric(relevance, relevant, k)[some] <= 1.0 + 1e-12).all()
        assert np.isnan(metric(relevance, relevant, k)[~some]).all()


def test_chance_is_the_mean_over_all_orders() -> None:
    """Every order of five items, of which r are relevant: the closed forms are exact."""
    for count in (1, 2, 4, 5):
        orders = np.array(list(itertools.permutations([1.0] * count + [0.0] * (5 - count))))
        relevant = np.full(len(orders), count)
        for k in (1, 3, 5):
            assert recall_at(orders, relevant, k).mean() == pytest.approx(chance_recall([count], 5, k)[0])
            assert precision_at(orders, relevant, k).mean() == pytest.approx(chance_precision([count], 5)[0])
            assert ndcg_at(orders, relevant, k).mean() == pytest.approx(chance_ndcg([count], 5, k)[0])
        first = 1.0 + orders.argmax(axis=1)
        assert reciprocal_rank(first).mean() == pytest.approx(chance_reciprocal_rank([count], 5)[0])
    assert np.isnan([chance_recall([0], 5, 2)[0], chance_ndcg([0], 5, 2)[0], chance_reciprocal_rank([0], 5)[0]]).all()


def test_queries_without_relevant_items_are_left_out_and_counted() -> None:
    estimate, left_out = query_mean([0.5, math.nan, 1.0, math.nan])
    assert (estimate.value, left_out) == (0.75, 2)
    nothing, left_out = query_mean([math.nan], unit="photo")
    assert math.isnan(nothing.value)
    assert (nothing.reason, left_out) == ("no photo has a relevant item", 1)
    alone, _ = query_mean([0.5])
    assert (alone.value, alone.reason) == (0.5, "one query alone has no interval")
    assert math.isnan(alone.low)


def test_the_bootstrap_agrees_with_the_textbook_and_with_the_normal_interval() -> None:
    values = np.random.default_rng(0).random(800)
    drawn, _ = query_mean(values, replicates=2000)
    normal, _ = query_mean(values, interval="normal")
    textbook = values.std(ddof=1) / math.sqrt(800)
    assert drawn.standard_error == pytest.approx(textbook, rel=0.06)  # 2,000 replicates know an SD to 1.6 %
    assert normal.standard_error == pytest.approx(textbook, rel=0.01)
    assert drawn.value == normal.value == pytest.approx(values.mean())
    assert (drawn.low, drawn.high) == pytest.approx((normal.low, normal.high), abs=0.2 * textbook)


def test_queries_of_one_group_are_drawn_together() -> None:
    """Ten copies of every query tell no more than one: the error stays, where it would fall by sqrt(10)."""
    values = np.random.default_rng(0).random(200)
    groups = np.array([f"item {number}" for number in range(200)])
    alone, _ = query_mean(values, groups)
    for interval in ("bootstrap", "normal"):
        copied, _ = query_mean(np.repeat(values, 10), np.repeat(groups, 10), interval=interval)
        assert copied.standard_error == pytest.approx(alone.standard_error, rel=0.1)
    ignoring, _ = query_mean(np.repeat(values, 10))
    assert ignoring.standard_error < 0.4 * alone.standard_error


def test_the_seed_decides_and_parts_of_the_draws_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    first, same, other = (query_mean(values, seed=seed)[0].low for seed in (3, 3, 4))
    assert first == same != other
    monkeypatch.setattr("evaluation.gallery.retrieval_metrics.DRAWS_AT_ONCE", 500)
    assert query_mean(values, seed=3)[0].low == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 0]], [1], 3), "`k` must lie within 1..2, the places given, got 3"),
        (([[1, 0.5]], [1], 1), "`relevance` must be 0 or 1"),
        (([[1, 1]], [1], 1), "`relevant` must count what `relevance` holds, got 1 for query 0"),
        (([[1, 1]], [2, 1], 1), r"`relevant` must have 1 row\(s\) as `relevance`, got 2"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[list[list[float]], list[int], int], message: str) -> None:
    for metric in (recall_at, precision_at, ndcg_at):
        with pytest.raises(ValueError, match=message):
            metric(*arguments)


def test_bad_settings_of_the_mean_are_named() -> None:
    with pytest.raises(ValueError, match="`interval` must be 'bootstrap' or 'normal', got 'jackknife'"):
        query_mean([1.0, 2.0], interval="jackknife")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`replicates` must be at least 2, got 1"):
        query_mean([1.0, 2.0], replicates=1)
    with pytest.raises(ValueError, match=r"`groups` must have 2 row\(s\), got 1"):
        query_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="`ranks` must be at least 1, got 0"):
        reciprocal_rank([0])
