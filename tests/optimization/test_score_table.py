"""The score table: what it holds, what it refuses, and that a ranker's rows are those that serving would see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation import Clusters
from features import Dataset, InputError, Schema
from optimization.score_table import ScoreTable
from ranking import Ranker


def parts(**changes: Any) -> dict[str, Any]:
    """Five sound rows of two heads in two requests."""
    sound = {
        "probabilities": np.array([[0.9, 0.2], [0.1, 0.1], [0.5, 0.3], [0.4, 0.0], [1.0, 0.7]]),
        "labels": np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, np.nan], [0.0, 1.0]]),
        "requests": ["a", "a", "b", "b", "b"],
        "heads": ["click", "hide"],
        "signs": [1, -1],
        "row_weights": [1.0, 5.0, 1.0, 5.0, 0.0],
        "name": "tune rows",
    }
    return sound | changes


def test_it_holds_what_it_was_given_head_by_head() -> None:
    given = parts()
    table = ScoreTable.of(**given)
    assert (table.heads, table.signs, table.rows, table.name) == (("click", "hide"), (1, -1), 5, "tune rows")
    assert table.probabilities.dtype == np.float32
    assert table.probabilities.tolist() == given["probabilities"].astype(np.float32).tolist()
    assert np.array_equal(table.labels, given["labels"].astype(np.float32), equal_nan=True)
    assert table.probabilities.T.flags.c_contiguous
    assert table.labels.T.flags.c_contiguous
    assert table.requests.codes.tolist() == [0, 0, 1, 1, 1]
    assert table.row_weights is not None
    assert table.row_weights.tolist() == given["row_weights"]
    given["probabilities"][0, 0] = 0.0  # its own copy
    assert table.probabilities[0, 0] == np.float32(0.9)


def test_labels_are_bytes_where_none_is_missing_and_unit_weights_are_none() -> None:
    whole = np.nan_to_num(parts()["labels"])
    table = ScoreTable.of(**parts(labels=whole, row_weights=np.ones(5), signs=None))
    assert table.labels.dtype == np.int8
    assert table.row_weights is None
    assert table.signs == (1, 1)
    assert table.labels.tolist() == whole.tolist()
    clusters = Clusters.of(parts()["requests"])
    assert ScoreTable.of(**parts(requests=clusters)).requests is clusters


def test_counts_and_means_by_hand() -> None:
    table = ScoreTable.of(**parts())
    assert table.positives.tolist() == [2, 1]  # the last row has weight 0
    p = parts()["probabilities"]
    expected = [(p[0, t] + 5 * p[1, t] + p[2, t] + 5 * p[3, t]) / 12 for t in range(2)]
    assert table.mean_probabilities == pytest.approx(expected, rel=1e-7)
    plain = ScoreTable.of(**parts(row_weights=None))
    assert plain.positives.tolist() == [2, 2]
    assert plain.mean_probabilities == pytest.approx(p.mean(axis=0), rel=1e-7)


def test_the_fingerprint_is_that_of_the_content() -> None:
    """Every array, the heads and their signs change it; the name, the kind of the arrays and the ids' names do not."""
    known = ScoreTable.of(**parts()).fingerprint
    assert len(known) == 64
    same = parts(
        name="another", requests=[7, 7, 1, 1, 1], probabilities=parts()["probabilities"].astype(np.float32).tolist()
    )
    same["labels"] = np.where(np.isnan(same["labels"]), -np.float64("nan"), same["labels"])
    assert ScoreTable.of(**same).fingerprint == known
    p, y = parts()["probabilities"].copy(), parts()["labels"].copy()
    p[3, 1] = 0.01
    y[3, 1] = 0.0
    changes: list[dict[str, Any]] = [
        {"probabilities": p},
        {"labels": y},
        {"requests": ["a", "b", "b", "b", "b"]},
        {"heads": ["click", "report"]},
        {"signs": [1, 1]},
        {"row_weights": None},
        {"row_weights": [1.0, 4.0, 1.0, 5.0, 0.0]},
    ]
    others = [ScoreTable.of(**parts(**change)).fingerprint for change in changes]
    assert len({known, *others}) == len(changes) + 1


def broken(name: str, row: int, column: int, value: float) -> dict[str, Any]:
    array = parts()[name].copy()
    array[row, column] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (broken("probabilities", 2, 1, np.nan), "tune rows: column `hide`, row 2: a score must be a number within"),
        (broken("probabilities", 0, 0, np.inf), r"column `click`, row 0: .* got inf"),
        (broken("probabilities", 0, 0, 1e300), r"column `click`, row 0: .* got inf"),
        (broken("probabilities", 4, 0, -0.25), r"column `click`, row 4: .* got -0.25"),
        (broken("labels", 1, 1, 2.0), r"column `hide`, row 1: a label must be 0, 1 or NaN \(missing\), got 2.0"),
        (broken("labels", 2, 1, 0.0), "column `hide`: no row has the label 1: the metrics of this head are undefined"),
        ({"row_weights": [1, -5, 1, np.nan, 0]}, r"row 1: a row weight must be finite and >= 0, got -5.0 \(2 rows"),
        ({"requests": [1, 1, 1, 1, 1]}, "at least two requests, which errors are clustered by, got 1"),
        ({"requests": ["a", None, "b", "b", "b"]}, "`requests` must hold an id in every row, got a missing one at"),
        ({"requests": [1, 2]}, r"`requests` must have 5 row\(s\), got 2"),
        ({"labels": np.zeros((4, 2))}, r"labels must be \(5, 2\): a row each, a column per head, got \(4, 2\)"),
        ({"probabilities": np.zeros(5)}, r"scores must be \(5, 2\): .* got \(5,\)"),
        ({"probabilities": [["a", "b"]] * 5}, "scores must be numeric"),
        ({"heads": ["click"]}, r"scores must be \(5, 1\)"),
        ({"heads": "ab"}, "heads must be a sequence of names"),
        ({"heads": ["click", "click"]}, "heads must differ"),
        ({"signs": [1, 0]}, r"signs must be 1 or -1, one for each of 2 head\(s\), got \[1, 0\]"),
        ({"row_weights": [1.0]}, r"row weights must be \(5,\), one per row, got \(1,\)"),
        (
            {"probabilities": np.zeros((0, 2)), "labels": np.zeros((0, 2)), "requests": [], "row_weights": None},
            "got 0",
        ),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreTable.of(**parts(**changes))


def test_weights_decide_what_is_there() -> None:
    """Rows of weight 0 neither make a head's positives nor a second request."""
    with pytest.raises(InputError) as caught:
        ScoreTable.of(**parts(row_weights=[1, 1, 0, 0, 0]))
    assert [fault.column for fault in caught.value.faults] == ["hide", None]


def test_all_faults_at_once() -> None:
    changes = broken("probabilities", 0, 0, 7.0) | broken("labels", 2, 1, 3.0) | {"row_weights": [-1, 1, 1, 1, 0]}
    with pytest.raises(InputError) as caught:
        ScoreTable.of(**parts(**changes))
    assert [fault.column for fault in caught.value.faults] == ["click", "hide", "row weight", "hide"]
    with pytest.raises(InputError) as caught:
        ScoreTable.of(**parts(heads=["a", "a"], labels=[[1]], requests=[1], row_weights=["x"]))
    assert len(caught.value.faults) == 5  # the unreadable weights are no row either


@pytest.fixture(scope="module")
def dataset(world: Path) -> Dataset:
    return Dataset.open(world)


@pytest.mark.parametrize("logged", [False, True])
def test_a_rankers_table_is_what_it_predicts(ranker: Ranker, dataset: Dataset, logged: bool) -> None:
    table = ScoreTable.from_ranker(ranker, dataset, "tune", logged_position=logged)
    rows = dataset.table("tune").to_pandas()
    expected = ranker.predict(rows, logged_position=logged)
    assert table.heads == ranker.heads
    assert table.probabilities == pytest.approx(expected[list(ranker.heads)].to_numpy(), rel=1e-6)
    assert table.labels.tolist() == rows[list(ranker.heads)].to_numpy().tolist()
    assert table.requests.codes.tolist() == Clusters.of(rows["request_id"]).codes.tolist()
    assert table.row_weights is None
    assert table.name == f"tune rows of {dataset.schema.name}"
    assert table.signs == tuple(dataset.schema.heads[head].sign for head in ranker.heads)


def test_a_sampled_role_is_weighted_by_the_keep_probability(ranker: Ranker, dataset: Dataset) -> None:
    table = ScoreTable.from_ranker(ranker, dataset, "calibrate")
    keep = dataset.table("calibrate", ["keep_prob"])["keep_prob"].to_numpy()
    assert table.row_weights is not None
    assert table.row_weights == pytest.approx(1 / keep, rel=1e-6)
    assert table.row_weights.max() > 4


def test_labels_follow_the_models_order_of_heads(ranker: Ranker, dataset: Dataset, world: Path) -> None:
    description = dataset.schema.to_dict()
    description["heads"] = dict(reversed(list(description["heads"].items())))
    reordered = Dataset(Schema.from_dict(description), world.parent, world)
    table = ScoreTable.from_ranker(ranker, reordered, "tune")
    assert table.fingerprint == ScoreTable.from_ranker(ranker, dataset, "tune").fingerprint


def test_labels_that_are_not_final_are_missing(ranker: Ranker, dataset: Dataset, world: Path) -> None:
    description = dataset.schema.to_dict()
    description["heads"]["save"]["maturity"] = "3d"
    young = Dataset(Schema.from_dict(description), world.parent, world)
    table = ScoreTable.from_ranker(ranker, young, "test")
    missing = np.isnan(table.labels).sum(axis=0)
    assert 0 < missing[ranker.heads.index("save")] == missing.sum() < table.rows


def test_what_cannot_be_scored_is_refused(ranker: Ranker, importance: Ranker, dataset: Dataset, world: Path) -> None:
    with pytest.raises(InputError, match="the model has seen it"):
        ScoreTable.from_ranker(ranker, dataset, "train")
    with pytest.raises(InputError, match="importance-weighted single head"):
        ScoreTable.from_ranker(importance, dataset, "tune")
    description = dataset.schema.to_dict()
    del description["heads"]["save"]
    with pytest.raises(InputError, match="must have the model's heads"):
        ScoreTable.from_ranker(ranker, Dataset(Schema.from_dict(description), world.parent, world), "tune")
    description = dataset.schema.to_dict()
    description["split"] = {"by": "request", "fractions": {"train": 0.5, "calibrate": 0.5}}
    with pytest.raises(InputError, match="role 'tune' has no rows"):
        ScoreTable.from_ranker(ranker, Dataset(Schema.from_dict(description), world.parent, world), "tune")
    known = ranker.encoders.vectors
    assert known is not None
    other = replace(ranker, encoders=replace(ranker.encoders, vectors=turned(known)))
    with pytest.raises(InputError, match=r"vectors\.parquet: item vectors must be"):
        ScoreTable.from_ranker(other, dataset, "tune")


def turned(vectors: Any) -> Any:
    """Vectors of the same items that are not those the model was trained with."""
    return type(vectors)(vectors.key, vectors.matrix[:, ::-1].copy(), vectors.encoder)
