"""A ranker and a file of scores on a log: the same numbers as by hand, and what a log is refused for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.counterfactual import (
    Reranking,
    counterfactual_sentences,
    estimate_reranking,
    evaluate_counterfactual,
    refuse_without_propensities,
)
from evaluation.measured.scored_log import Scores
from features import Dataset, InputError, Schema
from galleryrank.console import Log
from galleryrank.counterfactual import print_counterfactual
from ranking import Ranker, Utility

UTILITY = Utility(closeup=0.1, click=0.2, long_click=0.5, save=0.2)


@pytest.fixture(scope="module")
def dataset(world: Path) -> Dataset:
    return Dataset.open(world)


def changed(dataset: Dataset, folder: Path, **columns: np.ndarray) -> Dataset:
    """The data set with columns of its log replaced, in another folder."""
    table = pq.read_table(dataset.folder / "impressions.parquet")
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(values))
    pq.write_table(table, folder / "impressions.parquet")
    description = dataset.schema.to_dict()
    files = description["files"]
    description["files"] = {
        key: [str(dataset.folder / name) for name in ([value] if isinstance(value, str) else value)]
        for key, value in files.items() if key in ("items", "users")
    } | {"impressions": ["impressions.parquet"], "vectors": str(dataset.folder / files["vectors"])}  # fmt: skip
    return Dataset(Schema.from_dict(description), folder)


def test_a_ranker_is_valued_as_by_hand(ranker: Ranker, dataset: Dataset) -> None:
    result = evaluate_counterfactual(ranker.with_utility(UTILITY), dataset, "test", clip=0.01, cutoff=12)
    rows = dataset.table("test").to_pandas()
    serving = ranker.predict(rows)
    new = Reranking.of(
        UTILITY.score(serving), rows["item_id"], rows["request_id"], rows["position"], rows["propensity"], cutoff=12
    )  # fmt: skip
    moved = ranker.predict(rows.assign(position=new.new), logged_position=True)
    heads = list(ranker.heads)
    expected = estimate_reranking(
        new, rows[heads], names=heads, model=moved[heads], relevance=serving[heads], utility=UTILITY.to_dict(),
        clip=0.01,
    )  # fmt: skip
    for name in ("value", "se", "difference"):
        np.testing.assert_allclose(
            result.table[name].astype(float), expected.table[name].astype(float), rtol=1e-9, atol=1e-12
        )  # fmt: skip
    assert list(result.table["head"].unique()) == [*heads, "utility"]
    assert result.support.numbers == pytest.approx(expected.support.numbers)
    assert result.cutoff == 12
    assert result.support.positions["position"].max() == 12


def test_scores_of_another_system_are_valued(ranker: Ranker, dataset: Dataset) -> None:
    """By the same serving probabilities the order is the ranker's, so IPS and SNIPS are too; DR moves them by theta."""
    p = ranker.predict(dataset.table("test"))
    scores = Scores("production", ranker.heads, p.to_numpy())
    by_scores = evaluate_counterfactual(scores, dataset, "test", utility=UTILITY).table
    by_ranker = evaluate_counterfactual(ranker, dataset, "test", utility=UTILITY).table
    same = by_scores["estimator"].isin(["logged", "ips", "snips", "pbm"])
    np.testing.assert_allclose(by_scores[same]["value"].astype(float), by_ranker[same]["value"].astype(float))
    robust = by_scores["estimator"] == "dr"
    difference = (by_scores[robust]["value"] - by_ranker[robust]["value"]).abs()
    assert (difference > 0).all()
    assert (difference < by_ranker[robust]["se"]).all()


def test_a_single_score_has_an_order_but_no_model(importance: Ranker, dataset: Dataset) -> None:
    table = evaluate_counterfactual(importance, dataset, "test").table.set_index(["head", "estimator"])
    assert np.isfinite(table.loc[("click", "snips"), "value"])
    assert "a score only" in table.loc[("click", "dr"), "reason"]
    with pytest.raises(InputError, match="has a single score"):
        evaluate_counterfactual(importance, dataset, "test", utility=UTILITY)


def test_the_result_is_strict_json_and_reads_as_sentences(
    ranker: Ranker, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluate_counterfactual(ranker, dataset, "test", utility=UTILITY)
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert len(found["table"]) == 25
    click = next(r for r in found["table"] if (r["head"], r["estimator"]) == ("click", "dr"))
    assert click["value"] == result.table.set_index(["head", "estimator"]).loc[("click", "dr"), "value"]
    sentences = counterfactual_sentences(found)
    assert sentences[1].startswith("click: the new ranking would earn ")
    assert sentences[1].endswith("(by DR).")
    assert any(s.startswith("Support: ") for s in sentences)
    print_counterfactual(found, Log())
    printed = capsys.readouterr().err
    assert "doubly robust (DR)" in printed
    assert "Support: " in printed


def test_a_log_that_does_not_say_how_it_was_made_is_refused(ranker: Ranker, dataset: Dataset) -> None:
    description = dataset.schema.to_dict()
    del description["columns"]["propensity"], description["position"]
    bare = Dataset(Schema.from_dict(description), dataset.folder)
    with pytest.raises(InputError) as error:
        evaluate_counterfactual(ranker, bare, "test", utility=UTILITY)
    assert [fault.key for fault in error.value.faults] == ["[columns].propensity", "[position].column"]
    assert "Log the probability" in str(error.value)
    refuse_without_propensities(dataset)


def test_rows_that_were_sampled_one_by_one_are_refused(ranker: Ranker, dataset: Dataset) -> None:
    """The calibrate rows are: candidates are missing from their requests."""
    with pytest.raises(InputError, match=r"calibrate rows were sampled one by one.*unit = \"request\""):
        evaluate_counterfactual(ranker, dataset, "calibrate", utility=UTILITY)


def test_impossible_values_are_named_all_at_once(ranker: Ranker, dataset: Dataset, tmp_path: Path) -> None:
    table = pq.read_table(dataset.folder / "impressions.parquet")
    propensity, position = (table[name].to_numpy().copy() for name in ("propensity", "position"))
    last = np.flatnonzero(table["role"].to_numpy(zero_copy_only=False) == "test")[-3:]
    propensity[last[0]], propensity[last[1]] = np.nan, 1.5
    position[last[2]] = position[last[1]]
    wrong = changed(dataset, tmp_path, propensity=propensity, position=position)
    with pytest.raises(InputError) as error:
        evaluate_counterfactual(ranker, wrong, "test", utility=UTILITY)
    text = str(error.value)
    assert "column `propensity`: must lie within (0, 1] (request" in text
    assert "got 'null' (2 rows)" in text
    assert "column `position`: must differ within a request (request" in text


def test_a_ranking_needs_weights_that_fit(ranker: Ranker, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="no utility to rank by"):
        evaluate_counterfactual(replace(ranker, utility=None), dataset, "test")
    with pytest.raises(InputError, match="got hide"):
        evaluate_counterfactual(ranker, dataset, "test", utility={"click": 1.0, "hide": -1.0})
    with pytest.raises(InputError) as error:
        evaluate_counterfactual(ranker, dataset, "test", utility={"click": float("nan"), "hide": 1.0})
    assert len(error.value.faults) == 2
    with pytest.raises(InputError, match="must have a weight other than 0"):
        evaluate_counterfactual(ranker, dataset, "test", utility={"click": 0.0})
    with pytest.raises(InputError, match="`clip` must satisfy"):
        evaluate_counterfactual(ranker, dataset, "test", utility=UTILITY, clip=-1.0)


def test_a_candidate_that_reads_the_logged_position_is_refused(ranker: Ranker, dataset: Dataset) -> None:
    p = 1.0 / dataset.table("test")["position"].to_numpy()
    scores = Scores("replay", ("click",), p[:, None])
    with pytest.raises(InputError, match="What the logged order itself earned is the log's own mean"):
        evaluate_counterfactual(scores, dataset, "test")
