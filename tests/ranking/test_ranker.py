"""The scoring library: predict, rank, utility, explanation; every model behind the same two calls."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features import InputError
from ranking import Prepared, Ranker, RankerConfig, Utility, fit_prepared


@pytest.fixture(scope="module")
def candidates(prepared: Prepared, ranker: Ranker) -> pd.DataFrame:
    """Three test requests with all that scoring needs."""
    columns = ["request_id", *ranker.encoders.required_columns(serving_position=False)]
    rows = prepared.dataset.table("test", list(dict.fromkeys(columns))).to_pandas()
    return rows[rows["request_id"].isin(rows["request_id"].unique()[:3])]


def test_predict_gives_one_calibrated_column_per_head(ranker: Ranker, candidates: pd.DataFrame) -> None:
    p = ranker.predict(candidates)
    assert list(p.columns) == ["closeup", "click", "long_click", "save"]
    assert p.index.equals(candidates.index)
    assert ((p > 0) & (p < 1)).all().all()
    assert (p["long_click"] <= p["click"]).all()


def test_stages_carry_their_name(ranker: Ranker, candidates: pd.DataFrame) -> None:
    p = ranker.predict(candidates, stage="sampled", include_any=True)
    assert list(p.columns)[-1] == "any_sampled"
    assert (ranker.predict(candidates, stage="corrected").to_numpy() < p.to_numpy()[:, :-1]).all()


def test_one_row_at_a_time_is_the_batch(ranker: Ranker, candidates: pd.DataFrame) -> None:
    single = pd.concat([ranker.predict(candidates.iloc[[i]]) for i in range(len(candidates))])
    pd.testing.assert_frame_equal(single, ranker.predict(candidates), rtol=1e-5)


def test_every_kind_of_table_gives_the_same_scores(ranker: Ranker, candidates: pd.DataFrame) -> None:
    expected = ranker.predict(candidates).to_numpy()
    table = pa.Table.from_pandas(candidates, preserve_index=False)
    arrays = {c: candidates[c].to_numpy() for c in candidates}
    for given in (table, arrays):
        np.testing.assert_array_equal(ranker.predict(given).to_numpy(), expected)
    polars = pytest.importorskip("polars")
    np.testing.assert_array_equal(ranker.predict(polars.from_arrow(table)).to_numpy(), expected)


def test_position_is_the_serving_value_unless_asked(ranker: Ranker, candidates: pd.DataFrame) -> None:
    first = candidates.assign(position=1)
    pd.testing.assert_frame_equal(ranker.predict(candidates), ranker.predict(first))
    assert not np.allclose(ranker.predict(candidates, logged_position=True), ranker.predict(candidates))


def test_rank_orders_each_request_by_utility(ranker: Ranker, candidates: pd.DataFrame) -> None:
    ranked = ranker.rank(candidates)
    assert len(ranked) == len(candidates)
    for _, group in ranked.groupby("request_id"):
        assert (group["rank"].to_numpy() == np.arange(1, len(group) + 1)).all()
        assert (np.diff(group["utility"]) <= 0).all()
    assert list(ranked["request_id"].unique()) == list(candidates["request_id"].unique())
    top = ranker.rank(candidates, k=2)
    assert len(top) == 6
    assert (top["rank"] <= 2).all()


def test_ties_are_broken_by_item_id(ranker: Ranker, candidates: pd.DataFrame) -> None:
    one = pd.concat([candidates.iloc[[0]]] * 3).assign(item_id=[9_000_003, 9_000_001, 9_000_002])
    assert ranker.rank(one)["item_id"].tolist() == [9_000_001, 9_000_002, 9_000_003]


def test_without_a_request_column_all_candidates_are_one_request(ranker: Ranker, candidates: pd.DataFrame) -> None:
    ranked = ranker.rank(candidates.drop(columns="request_id"), k=4)
    assert ranked["rank"].tolist() == [1, 2, 3, 4]


def test_explain_adds_up_to_the_utility(ranker: Ranker, candidates: pd.DataFrame) -> None:
    mixed = ranker.with_utility(Utility(click=0.2, long_click=0.5, save=0.3))
    ranked = mixed.rank(candidates, explain=True)
    parts = ranked[[f"utility_{h}" for h in mixed.heads]]
    np.testing.assert_allclose(parts.sum(axis=1), ranked["utility"], rtol=1e-12)
    np.testing.assert_allclose(ranked["utility_long_click"], 0.5 * ranked["long_click"], rtol=1e-12)
    assert (ranked["utility_closeup"] == 0).all()


def test_a_one_hot_utility_is_the_heads_own_order(ranker: Ranker, candidates: pd.DataFrame) -> None:
    ranked = ranker.rank(candidates, utility=Utility(save=1.0))
    for _, group in ranked.groupby("request_id"):
        assert (np.diff(group["save"]) <= 0).all()


def test_utilities_that_do_not_fit_are_refused(ranker: Ranker, importance: Ranker, candidates: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="booking"):
        ranker.with_utility(Utility(booking=1.0))
    with pytest.raises(ValueError, match="click"):
        ranker.rank(candidates, utility=Utility(click=-1.0))
    with pytest.raises(InputError, match="single head"):
        importance.with_utility(Utility(click=1.0))


def test_the_single_head_yields_a_score_and_no_probability(importance: Ranker, candidates: pd.DataFrame) -> None:
    assert list(importance.predict(candidates).columns) == ["score"]
    ranked = importance.rank(candidates, k=3)
    assert (ranked.groupby("request_id")["score"].diff().dropna() <= 0).all()
    with pytest.raises(InputError, match="not probabilities"):
        importance.log_probabilities(np.zeros((1, 1)), 1.0)


def test_trees_stand_behind_the_same_calls(trees: Ranker, candidates: pd.DataFrame) -> None:
    p = trees.predict(candidates)
    assert list(p.columns) == list(trees.heads)
    assert (p["long_click"] <= p["click"]).all()
    assert len(trees.rank(candidates, k=1)) == 3


def test_missing_columns_are_named_all_at_once(ranker: Ranker, candidates: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="item_id"):
        ranker.rank(candidates.drop(columns="item_id"))
    with pytest.raises(InputError) as caught:
        ranker.predict(pd.DataFrame({"nothing": [1]}))
    required = ranker.encoders.required_columns(serving_position=True)
    assert all(name in str(caught.value) for name in required)


def test_an_empty_table_is_scored_as_one(ranker: Ranker, candidates: pd.DataFrame) -> None:
    assert ranker.predict(candidates.iloc[:0]).shape == (0, 4)
    assert len(ranker.rank(candidates.iloc[:0])) == 0


def test_threads_get_the_scores_of_one_thread(ranker: Ranker, candidates: pd.DataFrame) -> None:
    expected = ranker.predict(candidates)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: ranker.predict(candidates), range(8)):
            pd.testing.assert_frame_equal(got, expected)


@pytest.mark.parametrize("correction", ["factored", "headwise", "inverse_propensity"])
def test_the_other_corrections_train_and_predict_alike(
    prepared: Prepared, ranker: Ranker, small: RankerConfig, candidates: pd.DataFrame, correction: str
) -> None:
    other = fit_prepared(prepared, small.model_copy(update={"correction": correction}))
    ratio = other.predict(candidates).mean() / ranker.predict(candidates).mean()
    assert ratio.between(0.7, 1.4).all(), ratio.to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correction": "single_head"}, "understates"),
        ({"importance": {"booking": 1.0}}, "unknown heads"),
        ({"task_weights": {"click": 1.0}}, "task_weighting"),
        ({"utility": {"click": -1.0}}, "click"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(
    prepared: Prepared, small: RankerConfig, change: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit_prepared(prepared, small.model_copy(update=change))


def test_negatives_can_be_thinned_further(prepared: Prepared, small: RankerConfig, candidates: pd.DataFrame) -> None:
    """The log keeps 0.2 of the negatives, training takes half of those: the correction is for 0.1."""
    thinned = fit_prepared(prepared, small.model_copy(update={"negative_rate": 0.5}))
    assert thinned.negative_rate() == pytest.approx(0.1)
    kept = thinned.info["training_rows"] / len(prepared.train)
    negatives = 1 - float(prepared.train.protected.mean())
    assert kept == pytest.approx(1 - 0.5 * negatives, abs=0.03)
    ratio = thinned.predict(candidates).mean() / fit_prepared(prepared, small).predict(candidates).mean()
    assert ratio.between(0.7, 1.4).all(), ratio.to_dict()


def test_an_unknown_stage_is_refused(ranker: Ranker, candidates: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="`stage` must be one of"):
        ranker.predict(candidates, stage="best")  # type: ignore[arg-type]


def test_a_null_item_is_named_by_its_row(ranker: Ranker, candidates: pd.DataFrame) -> None:
    items = candidates["item_id"].astype("Int64").copy()
    items.iloc[3] = pd.NA
    with pytest.raises(InputError, match="`item_id`, row 3"):
        ranker.rank(candidates.assign(item_id=items))


def test_the_networks_seed_follows_the_seed() -> None:
    assert RankerConfig(seed=4).training.seed == 4
    assert RankerConfig(seed=4, training={"seed": 5}).training.seed == 5


def test_what_was_not_refitted_is_never_called_calibrated(ranker: Ranker, candidates: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="not refitted"):
        replace(ranker, calibration=None).predict(candidates)
