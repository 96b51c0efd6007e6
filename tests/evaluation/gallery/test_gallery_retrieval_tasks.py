from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.gallery.co_engaged import co_engaged, co_engaged_pairs
from evaluation.gallery.retrieval_metrics import query_mean, reciprocal_rank
from evaluation.gallery.same_attribute import same_attribute
from evaluation.gallery.same_item import same_item, same_item_ranks


@pytest.fixture(scope="module")
def galleries() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)


def test_a_review_photo_finds_its_gallery_the_better_the_less_the_camera_changes(galleries: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(size=galleries.shape)
    tables = [same_item(galleries + s * noise, np.arange(400), galleries).set_index("metric") for s in (0.0, 0.5, 100)]
    assert tables[0]["value"].tolist() == [1.0] * 4
    assert 0.2 < tables[1].loc["MRR", "value"] < 0.95
    for metric in ("MRR", "recall@1", "recall@10", "recall@100"):
        good, noisy, none = (table.loc[metric] for table in tables)
        assert good["value"] >= noisy["value"] > none["value"]
        assert noisy["low"] <= noisy["value"] <= noisy["high"]
        assert none["low"] - 0.02 < none["chance"] < none["high"] + 0.02
        assert noisy["low"] > noisy["chance"]
    assert tables[1].loc["MRR", "low"] < tables[1].loc["MRR", "value"] < tables[1].loc["MRR", "high"]
    assert tables[0].loc["recall@100", "chance"] == 0.25


def test_photos_without_a_gallery_are_counted_and_photos_of_one_item_are_one_draw(galleries: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(size=galleries.shape) * 0.7
    once = same_item(galleries + noise, np.arange(400), galleries)
    rows = np.concatenate([np.arange(400), np.arange(400), [-1, -1]])
    twice = same_item(np.concatenate([galleries + noise, galleries + noise, galleries[:2]]), rows, galleries)
    assert twice["left_out"].tolist() == [2] * 4
    assert twice["queries"].tolist() == [800] * 4
    np.testing.assert_allclose(twice["value"], once["value"])
    np.testing.assert_allclose(twice["se"][:3], once["se"][:3], rtol=0.12)


def test_two_encoders_are_compared_on_the_same_photos(galleries: np.ndarray) -> None:
    rows, noise = np.arange(400), np.random.default_rng(1).normal(size=galleries.shape)
    ranks = [same_item_ranks(galleries + s * noise, rows, galleries) for s in (0.5, 0.6)]
    paired, _ = query_mean(reciprocal_rank(ranks[0]) - reciprocal_rank(ranks[1]), rows)
    single = [query_mean(reciprocal_rank(each), rows)[0] for each in ranks]
    assert paired.value == pytest.approx(single[0].value - single[1].value)
    assert paired.low > 0
    assert paired.standard_error < single[0].standard_error


def test_small_collections_have_no_recall_beyond_them() -> None:
    assert same_item(np.eye(4), [0, 1, 2, 3], np.eye(4))["metric"].tolist() == ["MRR", "recall@1"]
    empty = same_item(np.eye(4)[:1], [-1], np.eye(4))
    assert empty["value"].isna().all()
    with pytest.raises(ValueError, match=r"`review_item_rows` must lie within -1..3, got 4"):
        same_item(np.eye(4), [0, 1, 2, 4], np.eye(4))


def test_attributes_that_are_in_the_vectors_beat_chance_and_others_do_not() -> None:
    generator = np.random.default_rng(0)
    city = np.array(["Oslo", "Bergen", "Ålesund", None], object)[generator.integers(4, size=600)]
    price = generator.lognormal(size=600)
    matrix = generator.normal(size=(600, 6))
    matrix[:, 0] += 4.0 * (city == "Oslo") - 4.0 * (city == "Bergen")
    matrix[:, 1] = 3.0 * np.log(price)
    labels = {"city": city, "price": price, "coin": generator.random(600) < 0.5}
    table = same_attribute(matrix, labels, numeric=["price"]).set_index(["attribute", "metric"])
    for name in ("city", "price"):
        for metric in ("precision@10", "nDCG@10"):
            assert table.loc[(name, metric), "low"] > 1.2 * table.loc[(name, metric), "chance"]
    coin = table.loc[("coin", "precision@10")]
    assert coin["low"] < coin["chance"] < coin["high"]
    assert table.loc[("price", "precision@10"), "chance"] == pytest.approx(119 / 599)
    assert table.loc[("city", "nDCG@10"), "missing"] == sum(value is None for value in city)
    assert table.loc[("city", "nDCG@10"), "queries"] == sum(value is not None for value in city)
    three = table.loc[["city", "price", "coin"]].xs("precision@10", level="metric")
    assert table.loc[("mean", "precision@10"), "lift"] == pytest.approx(three["lift"].mean())


def test_precision_and_ndcg_of_a_hand_made_collection() -> None:
    """On the circle, at 0, 10, 25 and 90 degrees: neighbours of item 0 in order are 1, 2, 3."""
    angles = np.deg2rad([0.0, 10.0, 25.0, 90.0])
    matrix = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    table = same_attribute(matrix, {"kind": ["a", "b", "a", "b"]}, k=2).set_index("metric")
    # items 0..3 see (1, 2), (0, 2), (1, 0), (2, 1); the one relevant item stands at place 2, none, 2, 2
    assert table.loc["precision@2", "value"].iloc[0] == pytest.approx((0.5 + 0.0 + 0.5 + 0.5) / 4)
    assert table.loc["nDCG@2", "value"].iloc[0] == pytest.approx(3 / np.log2(3) / 4)
    assert table.loc["precision@2", "chance"].iloc[0] == pytest.approx(1 / 3)


def test_attributes_without_a_pair_say_why() -> None:
    matrix = np.random.default_rng(0).normal(size=(6, 3))
    labels = {
        "one": ["x"] * 6,
        "none": [None] * 6,
        "nan": [np.nan] * 6,
        "each": list("abcdef"),
        "lone": ["a", "a", "a", "b", None, None],
    }
    table = same_attribute(matrix, labels, numeric=["nan"]).set_index(["attribute", "metric"])
    for name, found in [("one", "6 item(s) of 1"), ("none", "0 item(s) of 0"), ("nan", "0 item(s) of 0")]:
        row = table.loc[(name, "nDCG@10")]
        assert np.isnan(row["value"])
        assert found in row["reason"]
    assert table.loc[("each", "precision@10"), ["queries", "left_out"]].tolist() == [0, 6]
    assert table.loc[("each", "precision@10"), "reason"] == "no query has a relevant item"
    assert table.loc[("lone", "precision@10"), ["queries", "left_out", "missing"]].tolist() == [3, 1, 2]
    assert table.loc[("mean", "precision@10"), "value"] == table.loc[("lone", "precision@10"), "value"]
    with pytest.raises(ValueError, match=r"`labels\['a'\]` must have 6 row\(s\) as `matrix`, got 2"):
        same_attribute(matrix, {"a": [1, 2]})
    with pytest.raises(ValueError, match="`numeric` must name attributes of `labels`, got 'price'"):
        same_attribute(matrix, {"a": range(6)}, numeric=["price"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 8), st.sampled_from([0.0, 1.0, np.nan])), max_size=60))
def test_pairs_are_those_of_two_loops(rows: list[tuple[int, int, float]]) -> None:
    expected = {
        (a, b)
        for r, a, x in rows
        for s, b, y in rows
        if r == s and x == y == 1.0 and a != b and a >= 0 and b >= 0
    }  # fmt: skip
    request, item, engaged = (np.array([row[column] for row in rows]) for column in range(3))
    pairs = co_engaged_pairs(request, item.astype(int), engaged)
    assert pairs.shape == (len(expected), 2)
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(expected)


def test_large_requests_are_cut_at_random_and_the_same_each_time() -> None:
    request, item = np.array(["r"] * 100 + ["s"] * 3), np.concatenate([np.arange(100), [200, 201, 202]])
    pairs = co_engaged_pairs(request, item, np.ones(103), largest=10, seed=1)
    assert len(pairs) == 10 * 9 + 3 * 2
    assert np.array_equal(pairs, co_engaged_pairs(request, item, np.ones(103), largest=10, seed=1))
    assert not np.array_equal(pairs, co_engaged_pairs(request, item, np.ones(103), largest=10, seed=2))
    assert set(map(tuple, pairs[:, ::-1].tolist())) == set(map(tuple, pairs.tolist()))


def test_engaged_together_lie_together() -> None:
    """Users like one of 20 styles; the vectors know the styles, popularity does not."""
    generator = np.random.default_rng(0)
    style = generator.integers(20, size=500)
    matrix = np.eye(20)[style] + 0.2 * generator.normal(size=(500, 20))
    user = np.repeat(np.arange(300), 6)
    likes = generator.integers(20, size=300)
    item = np.array([generator.choice(np.flatnonzero(style == likes[u])) for u in user])
    pairs = co_engaged_pairs(user, item, np.ones(len(user)))
    popularity = np.bincount(generator.integers(500, size=2000), minlength=500)
    table = co_engaged(matrix, pairs, popularity=popularity).set_index(["ranking", "metric"])
    for metric in ("MRR", "recall@10", "recall@100", "nDCG@10", "nDCG@100"):
        cosine, popular = table.loc[("cosine", metric)], table.loc[("popularity", metric)]
        assert cosine["low"] > popular["high"]
        assert popular["low"] * 0.8 < popular["chance"] < popular["high"] * 1.2
    assert table["queries"].tolist() == [len(np.unique(item))] * 10
    assert table["left_out"].tolist() == [500 - len(np.unique(item))] * 10


def test_ranks_of_a_hand_made_collection() -> None:
    """Item 0 sees 1, 2, 3 in this order and was engaged with 2 and 3; by popularity it sees 3, 1, 2."""
    angles = np.deg2rad([0.0, 10.0, 25.0, 60.0])
    matrix = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    table = co_engaged(matrix, [[0, 3], [0, 2], [0, 3]], popularity=[9, 2, 1, 5], at=(2, 5))
    table = table.set_index(["ranking", "metric"])
    assert table.loc[("cosine", "MRR"), "value"] == pytest.approx(1 / 2)
    assert table.loc[("popularity", "MRR"), "value"] == pytest.approx(1 / 1)
    assert table.loc[("cosine", "recall@2"), "value"] == table.loc[("popularity", "recall@2"), "value"] == 1 / 2
    best = 1 + 1 / np.log2(3)
    assert table.loc[("cosine", "nDCG@2"), "value"] == pytest.approx(1 / np.log2(3) / best)
    assert table.loc[("popularity", "nDCG@2"), "value"] == pytest.approx(1 / best)
    assert table.loc[("cosine", "recall@2"), "chance"] == pytest.approx(2 / 3)
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 6  # no place 5 among three others


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.empty((0, 2), int), r"`pairs` must be \(P, 2\) with at least one pair, got shape \(0, 2\)"),
        ([[0, 3]], r"`pairs` must lie within 0..2, got 3"),
        ([[1, 1]], "`pairs` must join two different items"),
    ],
)
def test_bad_pairs_are_named(pairs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        co_engaged(np.eye(3), pairs)


def test_bad_logs_are_named() -> None:
    with pytest.raises(ValueError, match="`engaged` must be 0 or 1"):
        co_engaged_pairs([1], [0], [2])
    with pytest.raises(ValueError, match="`item` must hold integers"):
        co_engaged_pairs([1], [0.5], [1])
    with pytest.raises(ValueError, match="`popularity` must be"):
        co_engaged(np.eye(3), [[0, 1]], popularity=[1.0])
    with pytest.raises(ValueError, match="`largest` must be at least 2, got 1"):
        co_engaged_pairs([1], [0], [1], largest=1)
