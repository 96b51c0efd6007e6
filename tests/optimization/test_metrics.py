"""The door to the objectives: names, delegation to the one-sort PR-AUC, and what is maximised."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from evaluation.average_precision import ap_influence
from features import InputError
from optimization.objective.metrics import METRICS, head_combination, make_metric
from optimization.objective.pr_auc import utilities
from optimization.score_table import ScoreTable


def a_table(**changes: Any) -> ScoreTable:
    rng = np.random.default_rng(0)
    p = rng.random((400, 2)).round(2)
    y = (rng.random((400, 2)) < p * 0.3).astype(float)
    sound = {"probabilities": p, "labels": y, "requests": rng.integers(0, 60, 400), "heads": ["click", "hide"]}
    return ScoreTable.of(**(sound | changes))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_pr_auc_and_its_errors_are_those_of_evaluation(missing: bool, weighted: bool) -> None:
    rng = np.random.default_rng(1)
    plain = a_table()
    labels = np.where(rng.random((400, 2)) < 0.2, np.nan, plain.labels) if missing else plain.labels
    w = rng.choice([1.0, 5.0], 400) if weighted else np.ones(400)
    table = a_table(labels=labels, row_weights=w)
    prepared = make_metric("pr_auc").prepare(table)
    vectors = np.array([[0.7, -0.3], [0.5, 0.5]])
    found = prepared.values(vectors)
    for vector, values in zip(vectors, found):
        also, influences = prepared.influences(vector)
        s = utilities(table.probabilities, vector[None])[0]
        for t in range(2):
            known = ~np.isnan(labels[:, t])
            expected, by_row = ap_influence(labels[known, t], s[known], w[known])
            per_request = np.bincount(table.requests.codes[known], by_row, table.requests.count)
            assert values[t] == pytest.approx(expected, abs=1e-9)
            assert also[t] == pytest.approx(expected, abs=1e-9)
            assert influences[:, t] == pytest.approx(per_request, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("pr_auc", "PR-AUC"),
        ("mean_ap", "mean AP per request"),
        ("ndcg@10", "NDCG@10"),
        ("expected_utility@3", "engagements per request in the top 3"),
    ],
)
def test_every_name_leads_to_its_metric(name: str, label: str) -> None:
    metric = make_metric(name)
    assert (metric.name, metric.label) == (name, label)
    table = a_table()
    values, influences = metric.prepare(table).influences(np.array([0.5, 0.5]))
    assert values.shape == (2,)
    assert influences.shape == (table.requests.count, 2)
    assert metric.prepare(table).values(np.eye(2)).shape == (2, 2)


@pytest.mark.parametrize("name", ["auc", "ndcg", "ndcg@0", "ndcg@-1", "ndcg@1.5", "NDCG@5", "mean_ap@3", "ndcg@5 ", ""])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        ValueError, match="`metric` must be one of pr_auc, mean_ap, ndcg@K, expected_utility@K"
    ) as caught:
        make_metric(name)
    assert repr(name) in str(caught.value)
    assert len(METRICS) == 4


def test_a_combination_follows_the_order_of_the_heads() -> None:
    heads = ["click", "save", "hide"]
    assert head_combination("hide", heads).tolist() == [0.0, 0.0, 1.0]
    assert head_combination({"hide": -3, "click": np.float32(0.5)}, heads).tolist() == [0.5, 0.0, -3.0]


@pytest.mark.parametrize(
    ("objective", "messages"),
    [
        ("buy", [r"must name heads of the model \(click, save\), got 'buy'"]),
        ({"buy": 1.0, "call": 2.0}, ["got 'buy'", "got 'call'"]),
        ({"click": np.nan, "buy": 1.0}, ["got 'buy'", "value of `click` must be a finite number, got nan"]),
        ({"click": "2", "save": True}, ["value of `click` must be a finite number, got '2'", "value of `save`"]),
        ({"click": 0.0}, ["a value other than 0 to some head"]),
        ({}, ["a value other than 0 to some head"]),
    ],
)
def test_all_faults_of_an_objective_are_named(objective: Any, messages: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        head_combination(objective, ["click", "save"])
    assert len(caught.value.faults) == len(messages)
    for fault, message in zip(caught.value.faults, messages):
        assert re.search(message, str(fault))
