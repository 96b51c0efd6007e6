"""Attributes as tasks: classes and scales of the training items only, missing and unseen counted, faults named."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from features.errors import InputError
from features.gallery.attributes import Attribute
from features.gallery.tasks import GalleryTasks
from multitask import Task, masked_losses

NAN = float("nan")
KINDS = {"pool": "binary", "bar": "binary", "city": "multiclass", "review": "regression", "price": "log"}


def items() -> pa.Table:
    """Eight items; the first five are for training."""
    return pa.table({
        "pool": [True, False, None, True, True, False, None, True],
        "bar": ["yes", "no", "no", None, "no", "yes", "no", "yes"],
        "city": pa.array(["Rome", "Oslo", "Rome", "Bath", None, "Nice", "Rome", "Oslo"]).dictionary_encode(),
        "review": [7.0, 9.0, NAN, 8.0, None, 10.0, 7.0, NAN],
        "price": [1.0, np.e, np.e**2, np.e, NAN, np.e**3, 1.0, np.e],
    })  # fmt: skip


TRAIN = np.arange(5)


def data(table: pa.Table, kinds: dict[str, str], holdout: tuple[str, ...] = ()) -> Any:
    """What `fit` reads of a `GalleryData`."""
    schema = SimpleNamespace(task_columns=kinds, holdout=holdout)
    items_at = ((Path("d/items.parquet"), len(table)),)
    return SimpleNamespace(schema=schema, attributes=table.select, items_at=items_at)


def test_labels_by_hand() -> None:
    tasks = GalleryTasks.fit(data(items(), KINDS), TRAIN)
    assert tasks.tasks == [
        Task("pool"), Task("bar"), Task("city", "multiclass", n_classes=3), Task("review", "regression"),
        Task("price", "regression"),
    ]  # fmt: skip
    labels = tasks.labels(data(items(), KINDS)).numpy()
    scale = np.std([7.0, 9.0, 8.0])
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels[:, 0], [1, 0, NAN, 1, 1, 0, NAN, 1])
    np.testing.assert_array_equal(labels[:, 1], [1, 0, 0, NAN, 0, 1, 0, 1])  # "yes" sorts after "no"
    np.testing.assert_array_equal(labels[:, 2], [2, 1, 2, 0, NAN, NAN, 2, 1])  # Nice was not seen in training
    np.testing.assert_allclose(labels[:, 3], np.array([-1, 1, NAN, 0, NAN, 2, -1, NAN]) / scale, atol=1e-6)
    np.testing.assert_allclose(labels[:4, 4], np.array([-1, 0, 1, 0]) / np.std([0, 1, 2, 1]), atol=1e-6)


def test_missing_and_unseen_labels_are_counted() -> None:
    whole = data(items(), KINDS)
    table = GalleryTasks.fit(whole, TRAIN).counts(whole).set_index("task")
    assert table.loc["city", ["labelled", "missing", "unseen"]].tolist() == [6, 1, 1]
    assert table.loc["review", ["labelled", "missing", "unseen"]].tolist() == [5, 3, 0]
    assert (table[["labelled", "missing", "unseen"]].sum(axis=1) == 8).all()


def test_standardised_labels_have_mean_zero_and_variance_one_on_the_training_items() -> None:
    values = np.random.default_rng(0).lognormal(4, 1, 500)
    table = pa.table({"price": values})
    tasks = GalleryTasks.fit_table(table, {"price": "log"}, np.arange(400))
    labels = tasks.labels_of(table, np.arange(400)).double()
    assert labels.mean().item() == pytest.approx(0, abs=1e-6)
    assert labels.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_the_base_bias_predicts_the_training_rates() -> None:
    """With it alone every head's loss is the base rate's: the entropy, or the variance (1)."""
    tasks = GalleryTasks.fit_table(items(), KINDS, TRAIN)
    bias = tasks.base_bias()
    assert bias[0].item() == pytest.approx(np.log(3 / 1))
    assert torch.softmax(bias[2:5], 0).tolist() == pytest.approx([0.25, 0.25, 0.5])
    labels = tasks.labels_of(items(), TRAIN)
    losses, _ = masked_losses(tasks.tasks, bias.expand(5, -1), labels)
    entropy = -(np.array([0.25, 0.25, 0.5]) * np.log([0.25, 0.25, 0.5])).sum()
    assert losses[2:].tolist() == pytest.approx([entropy, 1.0, 1.0], abs=1e-6)


def test_predictions_come_back_in_their_own_units() -> None:
    tasks = GalleryTasks.fit_table(items(), KINDS, TRAIN)
    labels = tasks.labels_of(items(), TRAIN)
    outputs = torch.zeros(5, 7)
    outputs[:, 5:] = torch.nan_to_num(labels[:, 3:])
    outputs[:, 0] = np.log(3)
    values = tasks.values(outputs)
    assert list(values) == ["pool", "bar", "city=Bath", "city=Oslo", "city=Rome", "review", "price"]
    assert values["pool"].tolist() == pytest.approx([0.75] * 5)
    assert values["city=Oslo"].tolist() == pytest.approx([1 / 3] * 5)
    assert values["review"].tolist() == pytest.approx([7.0, 9.0, 8.0, 8.0, 8.0])
    assert values["price"].tolist()[:3] == pytest.approx([1.0, np.e, np.e**2], rel=1e-5)


def test_what_cannot_be_learned_is_left_out_with_its_reason() -> None:
    table = items().append_column("one", pa.array(["a"] * 8)).append_column("none", pa.nulls(8, pa.float64()))
    table = table.append_column("late", pa.array([None] * 5 + [0, 1, 1])).append_column("flat", pa.array([3.0] * 8))
    kinds = {"one": "multiclass", "none": "regression", "late": "binary", "flat": "log", "pool": "binary"}
    tasks = GalleryTasks.fit_table(table, kinds, TRAIN)
    assert tasks.names == ["pool"]
    assert tasks.dropped == {
        "one": "has one class only in the training items",
        "none": "is not observed in the training items",
        "late": "is not observed in the training items",
        "flat": "has one value only in the training items",
    }
    assert "left out: `late` is not observed in the training items" in tasks.lines()
    with pytest.raises(InputError, match="at least one column") as caught:
        GalleryTasks.fit_table(table, {"one": "multiclass", "none": "regression"}, TRAIN)
    assert len(caught.value.faults) == 3


def test_faults_of_all_columns_at_once_with_row_and_value() -> None:
    table = pa.table({
        "price": [10.0, 0.0, -2.0, np.inf], "distance": [1.0, -np.inf, NAN, 2.0], "pool": ["a", "b", "c", None],
        "text": ["1", "2", "3", "4"], "city": [1.5, 2.0, 3.0, 4.0],
    })  # fmt: skip
    kinds = {"price": "log", "distance": "regression", "pool": "binary", "text": "regression", "city": "multiclass"}
    with pytest.raises(InputError) as caught:
        GalleryTasks.fit(data(table, kinds), np.array([0]))
    lines = str(caught.value).splitlines()
    assert lines[0] == "d/items.parquet: column `price`, row 3: must be finite, got inf"
    expected = "column `price`, row 1: must be above 0 to have a logarithm, got 0.0 (2 rows; then row 2: -2.0)"
    assert expected in lines[1]
    assert "column `distance`, row 1: must be finite, got -inf" in lines[2]
    assert "column `pool`: a binary attribute must hold two values, got 3: a, b, c" in lines[3]
    assert "column `text`: must hold numbers, got type string" in lines[4]
    assert "column `city`: must hold integers, booleans or strings" in lines[5]


def test_a_fault_names_the_file_its_row_is_in() -> None:
    table = pa.table({"price": [1.0, 2.0, 3.0, 0.0, -1.0, 5.0]})
    files = ((Path("a.parquet"), 2), (Path("b.parquet"), 2), (Path("c.parquet"), 2))
    with pytest.raises(InputError, match=r"b.parquet: column `price`, row 1: must be above 0.*got 0.0 \(2 rows\)"):
        GalleryTasks.fit_table(table, {"price": "log"}, np.arange(6), files)


@pytest.mark.parametrize("name", ["city", "items.city"])
def test_a_holdout_column_is_refused_whatever_the_schema_let_through(name: str) -> None:
    with pytest.raises(InputError, match="column `city`: is a holdout column: no trainer may learn from it"):
        GalleryTasks.fit(data(items(), KINDS, (name,)), TRAIN)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="column `sea`: is missing"):
        GalleryTasks.fit_table(items(), {"sea": "binary"}, TRAIN)
    tasks = GalleryTasks.fit_table(items(), KINDS, TRAIN)
    with pytest.raises(InputError, match="column `pool`: is missing"):
        tasks.labels_of(items().drop_columns("pool"))
    with pytest.raises(InputError, match=r"row 2: must be above 0"):
        tasks.labels(data(items().set_column(4, "price", pa.array([1.0, 1, -1, 1, 1, 1, 1, 1])), KINDS))


def test_state_and_back() -> None:
    table = items().append_column("none", pa.nulls(8))
    tasks = GalleryTasks.fit_table(table, KINDS | {"none": "binary"}, TRAIN)
    again = GalleryTasks.from_state(json.loads(json.dumps(tasks.to_state())))
    assert again == tasks
    np.testing.assert_array_equal(again.labels_of(table).numpy(), tasks.labels_of(table).numpy())


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        (pa.array([1.0, 0.0, NAN]), (0, 1)),
        (pa.array([2, 1, None], pa.int8()), (1, 2)),
        (pa.array([False, True, None]), (0, 1)),
        (pa.array(["no", "yes", None], pa.large_string()), ("no", "yes")),
    ],
)
def test_binary_attributes_in_every_spelling(column: pa.Array, classes: tuple[Any, ...]) -> None:
    attribute, reason = Attribute.fit("x", "binary", column)
    assert reason is None
    assert attribute is not None
    assert attribute.classes == classes
    labels = attribute.encode(column)
    assert np.isnan(labels[2])
    assert sorted(labels[:2].tolist()) == [0.0, 1.0]


def test_a_column_of_another_type_than_in_training_is_refused() -> None:
    attribute, _ = Attribute.fit("x", "multiclass", pa.array(["a", "b"]))
    assert attribute is not None
    with pytest.raises(InputError, match="strings, as in training"):
        attribute.encode(pa.array([1, 2]))
