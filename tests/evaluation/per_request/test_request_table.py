"""The table of per-request metrics: heads, intervals, counts, reasons, and logs whose rows were sampled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from evaluation.freedom import variance_freedom
from evaluation.per_request import DEFAULT_METRICS, request_influences, request_metrics
from evaluation.per_request.table import SAMPLED_ROWS


def world(seed: int, requests: int, rows: int = 20) -> dict[str, np.ndarray]:
    """Requests that differ in what they like; the scores know part of it."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(requests, rows)) + 0.7 * rng.normal(size=(requests, 1))
    return {
        "labels": (rng.random(taste.shape) < 1 / (1 + np.exp(2.5 - taste))).astype(float).ravel(),
        "scores": (taste + rng.normal(size=taste.shape)).ravel(),
        "groups": np.repeat(np.arange(requests), rows),
    }


def test_one_line_per_head_and_metric_with_the_interval_of_its_influences() -> None:
    parts = world(0, 300)
    rng = np.random.default_rng(1)
    y = np.column_stack([parts["labels"], np.where(rng.random(6000) < 0.4, np.nan, rng.random(6000) < 0.02)])
    s = np.column_stack([parts["scores"], rng.normal(size=6000)])
    table = request_metrics(y, s, parts["groups"], names=["click", "save"])
    assert table["head"].tolist() == ["click"] * 6 + ["save"] * 6
    assert table["metric"].tolist() == list(DEFAULT_METRICS) * 2
    for line in table.to_dict("records"):
        column = ["click", "save"].index(line["head"])
        value, influence = request_influences(line["metric"], y[:, column], s[:, column], parts["groups"])
        error = np.sqrt((influence**2).sum())
        assert (line["value"], line["se"]) == (value, pytest.approx(error, rel=1e-13))
        reach = scipy.stats.t.ppf(0.975, variance_freedom(influence)) * error
        assert line["low"] == pytest.approx(max(value - reach, 0.0), rel=1e-6)
        assert line["high"] == pytest.approx(min(value + reach, 1.0), rel=1e-6)
        known = ~np.isnan(y[:, column])
        per_request = pd.Series(y[known, column]).groupby(parts["groups"][known]).agg(["sum", "count"])
        has_value = per_request["sum"] > 0
        if line["metric"] == "gauc":
            has_value &= per_request["sum"] < per_request["count"]
        assert (line["requests"], line["left_out"]) == (has_value.sum(), (~has_value).sum())
        assert line["reason"] is None


def test_one_score_ranks_every_head() -> None:
    parts = world(2, 50)
    y = np.column_stack([parts["labels"], parts["labels"][::-1]])
    shared = request_metrics(y, parts["scores"], parts["groups"])
    assert shared.equals(request_metrics(y, np.column_stack([parts["scores"]] * 2), parts["groups"]))


def test_what_is_undefined_is_missing_with_a_reason_and_never_0() -> None:
    y = np.array([[0.0, 1.0, np.nan, 1.0], [0.0, 1.0, np.nan, 0.0], [0.0, 1.0, np.nan, 0.0]])
    table = request_metrics(y, [3, 2, 1], ["a", "a", "b"], metrics=["mrr", "gauc"], names=["no", "all", "lost", "one"])
    found = table.set_index(["head", "metric"])
    assert found.loc["no", "reason"].tolist() == [
        "no request with a positive row",
        "no request with both a positive and a negative row",
    ]
    assert found.loc[("all", "mrr"), ["value", "requests", "left_out"]].tolist() == [1.0, 2, 0]
    assert found.loc[("all", "gauc"), "reason"] == "no request with both a positive and a negative row"
    assert found.loc["lost", "reason"].tolist() == ["no row with a label"] * 2
    assert found.loc["lost", "left_out"].tolist() == [0, 0]
    assert found.loc["one", "reason"].tolist() == ["fewer than two requests: no interval"] * 2
    assert found.loc["one", "value"].tolist() == [1.0, 1.0]
    assert found.loc["one", "left_out"].tolist() == [1, 1]
    assert found.loc[["no", "lost"], ["value", "se", "low", "high"]].isna().all(axis=None)
    assert found.loc["one", ["se", "low", "high"]].isna().all(axis=None)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`scores` must have shape \(2, 1\) or \(2,\), got \(2, 3\)"):
        request_metrics([1, 0], np.ones((2, 3)), [1, 1])
    with pytest.raises(ValueError, match="`metrics` must be among"):
        request_metrics([1, 0], [1, 2], [1, 1], metrics=["ndcg@10", "map"])
    with pytest.raises(ValueError, match="`labels` must be 0, 1 or NaN for mrr"):
        request_metrics([2, 0], [1, 2], [1, 1], metrics=["ndcg@10", "mrr"])
    assert request_metrics([2, 1], [1, 2], [1, 1], metrics=["ndcg"])["value"][0] < 1.0


def test_sampling_whole_requests_changes_nothing_on_average() -> None:
    parts = world(3, 20_000)
    kept = np.random.default_rng(4).random(20_000) < np.where(np.arange(20_000) % 2, 1.0, 0.25)
    weights = np.where(np.arange(20_000) % 2, 1.0, 4.0)[parts["groups"]]
    rows = kept[parts["groups"]]
    sampled = request_metrics(**{key: part[rows] for key, part in parts.items()}, weights=weights[rows])
    truth = request_metrics(**parts)["value"]
    assert sampled["reason"].isna().all()
    assert (np.abs(sampled["value"] - truth) < 4 * sampled["se"]).all()


def test_sampling_rows_biases_ranks_but_not_gauc() -> None:
    """Negatives kept at 0.2: what depends on ranks is far off the truth, says so, and claims no interval."""
    parts = world(5, 20_000)
    keep = (parts["labels"] == 1) | (np.random.default_rng(6).random(len(parts["labels"])) < 0.2)
    weights = np.where(parts["labels"] == 1, 1.0, 5.0)[keep]
    sampled = request_metrics(**{key: part[keep] for key, part in parts.items()}, weights=weights).set_index("metric")
    truth = request_metrics(**parts).set_index("metric")
    assert abs(sampled.loc["gauc", "value"] - truth.loc["gauc", "value"]) < 4 * sampled.loc["gauc", "se"]
    others = sampled.drop("gauc")
    assert set(others["reason"]) == {SAMPLED_ROWS}
    assert others[["se", "low", "high"]].isna().all(axis=None)
    assert sampled.loc["mrr", "value"] > truth.loc["mrr", "value"] + 20 * truth.loc["mrr", "se"]
    assert sampled.loc["recall@10", "value"] < truth.loc["recall@10", "value"] - 5 * truth.loc["recall@10", "se"]


def test_intervals_cover_the_truth() -> None:
    """150 logs of 200 requests against one of 40,000: nominal 95 %, at least 90 % seen."""
    names = ["ndcg@10", "mrr", "gauc"]
    truth = request_metrics(**world(7, 40_000), metrics=names)["value"].to_numpy()
    inside = np.zeros(3)
    for seed in range(150):
        table = request_metrics(**world(100 + seed, 200), metrics=names)
        inside += (table["low"].to_numpy() <= truth) & (truth <= table["high"].to_numpy())
    assert (inside / 150 >= 0.9).all()
    assert (inside / 150 < 1.0).any()


def test_the_weight_of_a_row_without_a_label_says_nothing_of_the_others() -> None:
    """Whole requests kept at .1, and in each one row of weight 1 whose label is missing: no rows were sampled."""
    y = [0.0, 1.0, np.nan, 1.0, 0.0, np.nan]
    parts = {"scores": [3, 2, 1, 3, 2, 1], "groups": ["a"] * 3 + ["b"] * 3, "weights": [10.0, 10.0, 1.0] * 2}
    line = request_metrics(y, **parts, metrics=["mrr"]).iloc[0]
    value, influence = request_influences("mrr", y, parts["scores"], parts["groups"], parts["weights"])
    assert (line["value"], line["reason"]) == (0.75, None)
    assert (value, influence.tolist()) == (0.75, [-0.125, 0.125])
    both = request_metrics(np.column_stack([y, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]]), **parts, metrics=["mrr"])
    assert both["reason"].isna().tolist() == [True, False]  # head by head: the second has labels of other weights
    assert both["reason"][1] == SAMPLED_ROWS
