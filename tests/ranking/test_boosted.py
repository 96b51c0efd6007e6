"""LightGBM behind the ranker: the same inputs, one booster per node, and a plain reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from features import Inputs
from ranking import Prepared, Ranker, RankerConfig, fit_prepared
from ranking.boosted import tree_matrix


class OneOfEach:
    """Encoders with one scalar field of 3 rows, one list field of 4 rows and one number."""

    fields, offsets = ("device",), (1,)
    list_fields, list_offsets, list_sizes = ("filters",), (4,), (4,)
    numeric_names, vectors = ("price",), None


def test_lists_become_one_column_per_value_and_ids_count_from_zero() -> None:
    inputs = Inputs(
        torch.tensor([[1], [3]], dtype=torch.int32),
        (torch.tensor([[5, 7, 0], [4, 0, 0]], dtype=torch.int32),),
        torch.tensor([[0.5], [-1.0]]),
    )
    expected = [[0, 0, 1, 0, 1, 0.5], [2, 1, 0, 0, 0, -1.0]]
    np.testing.assert_array_equal(tree_matrix(inputs, OneOfEach()), expected)  # type: ignore[arg-type]


def test_a_booster_per_node_equals_lightgbm_by_hand(prepared: Prepared, small: RankerConfig, trees: Ranker) -> None:
    import lightgbm

    x = tree_matrix(prepared.train.inputs, prepared.encoders)
    data = lightgbm.Dataset(
        x,
        np.ascontiguousarray(prepared.train.labels[:, 1]),
        categorical_feature=list(range(len(prepared.encoders.fields))),
        params={"max_bin": 255, "verbose": -1},
    )
    by_hand = lightgbm.train(
        {
            "objective": "binary", "learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 20, "num_threads": 1,
            "seed": 0, "deterministic": True, "force_row_wise": True, "verbose": -1,
        },
        data,
        10,
    )  # fmt: skip
    got = trees.scorer.logits(prepared.train.inputs)
    np.testing.assert_allclose(got[:, 1], by_hand.predict(x, raw_score=True), rtol=1e-12)


def test_a_conditional_node_sees_only_rows_of_its_parent(trees: Ranker, prepared: Prepared) -> None:
    """long_click is learned among clicks: its mean raw probability there is the rate among clicks."""
    clicked = prepared.train.labels[:, 1] == 1
    z = trees.scorer.logits(prepared.train.inputs.select(torch.nonzero(clicked)[:, 0]))[:, 2]
    rate = float(prepared.train.labels[clicked, 2].mean())
    assert abs(float((1 / (1 + np.exp(-z))).mean()) - rate) < 0.02


def test_early_stopping_keeps_the_best_round(prepared: Prepared, small: RankerConfig) -> None:
    config = small.model_copy(
        update={"model": "lightgbm", "trees": small.trees.model_copy(update={"rounds": 400, "early_stopping": 5})}
    )
    ranker = fit_prepared(prepared, config)
    rounds = [b["rounds"] for b in ranker.info["history"]["boosters"]]
    assert rounds == [booster.num_trees() for booster in ranker.scorer.boosters]  # type: ignore[attr-defined]
    assert max(rounds) < 400


def test_the_single_booster_is_weighted_by_importance(prepared: Prepared, small: RankerConfig) -> None:
    """With a larger importance of saves, saved rows score higher beside clicked ones."""

    def gap(importance: dict[str, float]) -> float:
        config = small.model_copy(update={"model": "lightgbm", "objective": "importance", "importance": importance})
        score = fit_prepared(prepared, config).scorer.logits(prepared.train.inputs)[:, 0]
        labels = prepared.train.labels.numpy()
        return float(score[labels[:, 3] == 1].mean() - score[labels[:, 0] == 1].mean())

    assert gap({"save": 20.0}) > gap({"closeup": 20.0})


def test_a_node_without_rows_is_a_constant(prepared: Prepared, small: RankerConfig) -> None:
    """Labels that are all missing: nothing to train on, or nothing to stop on; neither may end the fit."""
    nan = float("nan")
    labels, held_out = prepared.train.labels.clone(), prepared.held_out.labels.clone()
    labels[:, 3], held_out[:, 1] = nan, nan
    data = replace(
        prepared,
        train=replace(prepared.train, labels=labels),
        held_out=replace(prepared.held_out, labels=held_out),
        serving=replace(prepared.serving, labels=held_out),
    )
    trees = small.trees.model_copy(update={"early_stopping": 3})
    said: list[str] = []
    ranker = fit_prepared(data, small.model_copy(update={"model": "lightgbm", "trees": trees}), log=said.append)
    assert any(line.startswith("save: no labelled row to train on") for line in said)
    assert any(line.startswith("click: no labelled row to stop on") for line in said)
    logits = ranker.scorer.logits(prepared.train.inputs)
    np.testing.assert_allclose(logits[:, 3], 0.0, atol=1e-9)
    assert np.isfinite(logits).all()
