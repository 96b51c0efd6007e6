"""Encoders: every table means the same inputs, every field has its own rows, nothing leaks from later roles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load, save

import features.encoders as encoders_module
import features.sidefeatures as side_module
from features.dataset import Dataset
from features.encoders import Encoders
from features.errors import InputError
from features.inputs import Inputs
from features.schema import Schema

CATEGORICAL = ["device", "item", "user", "filters", "city", "tags", "tier"]
NUMERIC = ["price", "rank", "distance", "age"]


def a_log(rows: int = 3000, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    request = np.repeat(np.arange(rows // 10), 10)
    filters = [list(rng.choice(["pool", "spa", "wifi", "bar"], rng.integers(0, 4))) for _ in range(rows)]
    return pa.table(
        {
            "request": request,
            "item": rng.integers(0, 60, rows) + 2**60,
            "user": pa.array([f"user-{u}" for u in rng.integers(0, 20, rows)]),
            "query": pa.array(rng.integers(0, 80, rows) + 2**60, mask=rng.random(rows) < 0.2),
            "time": request * 60,
            "position": np.tile(np.arange(1, 11), rows // 10).astype(np.int8),
            "device": pa.array(rng.choice(["phone", "desktop", "tv"], rows, p=[0.6, 0.398, 0.002])),
            "filters": pa.array(filters, pa.list_(pa.string())),
            "price": pa.array(rng.lognormal(4, 1, rows).astype(np.float32), mask=rng.random(rows) < 0.05),
            "rank": rng.integers(1, 11, rows).astype(np.int16),
            "click": (rng.random(rows) < 0.1).astype(np.int8),
        }
    )


def item_table() -> pa.Table:
    rng = np.random.default_rng(1)
    n = 50  # ten of the log's sixty items are not in it
    return pa.table(
        {
            "item": rng.permutation(n) + 2**60,
            "city": pa.array(rng.choice(["Rome", "Oslo", None], n)),
            "tags": pa.array([list(map(int, rng.integers(0, 5, rng.integers(0, 4)))) for _ in range(n)]),
            "distance": pa.array(rng.random(n), mask=rng.random(n) < 0.2),
        }
    )


def user_table() -> pa.Table:
    rng = np.random.default_rng(2)
    return pa.table(
        {
            "user": [f"user-{u}" for u in range(20)],
            "tier": rng.integers(0, 3, 20),
            "age": rng.integers(18, 80, 20),
        }
    )


def a_dataset(folder: Path, log: pa.Table | None = None, **changes: Any) -> Dataset:
    folder.mkdir(exist_ok=True)
    pq.write_table(a_log() if log is None else log, folder / "log.parquet")
    pq.write_table(item_table(), folder / "items.parquet")
    pq.write_table(user_table(), folder / "users.parquet")
    numbers = np.random.default_rng(3).standard_normal(55 * 4).astype(np.float32)
    vectors = {"item": np.arange(55) + 2**60, "v": pa.FixedSizeListArray.from_arrays(numbers, 4)}
    pq.write_table(pa.table(vectors), folder / "vectors.parquet")
    columns = {
        "request": "request", "item": "item", "user": "user", "time": "time", "query_item": "query",
        "categorical": CATEGORICAL, "numeric": NUMERIC,
    }  # fmt: skip
    files = {name: f"{name}.parquet" for name in ("items", "users", "vectors")}
    described = {
        "files": {"impressions": "log.parquet", **files},
        "columns": {**columns, **changes.pop("columns", {})},
        "position": {"column": "position", "serving_value": 2},
        "heads": {"click": {}},
        **changes,
    }
    return Dataset(Schema.from_dict(described), folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return a_dataset(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def encoders(dataset: Dataset) -> Encoders:
    return Encoders.fit(dataset, min_count=10, max_list_length=2)


def assert_same(a: Inputs, b: Inputs) -> None:
    assert torch.equal(a.ids, b.ids)
    assert len(a.lists) == len(b.lists)
    assert all(torch.equal(x, y) for x, y in zip(a.lists, b.lists))
    assert torch.equal(a.numeric, b.numeric)
    for x, y in ((a.item_row, b.item_row), (a.query_row, b.query_row)):
        assert (x is None) == (y is None)
        assert x is None or torch.equal(x, y)


def column_of(encoders: Encoders, inputs: Inputs, name: str) -> np.ndarray:
    if name in encoders.fields:
        return inputs.ids[:, encoders.fields.index(name)].numpy()
    return inputs.numeric[:, encoders.numeric_names.index(name)].numpy()


def test_the_fused_table_has_no_overlaps_and_no_gaps(encoders: Encoders) -> None:
    spans = [*zip(encoders.offsets, encoders.field_sizes), *zip(encoders.list_offsets, encoders.list_sizes)]
    rows = np.concatenate([np.arange(first, first + size) for first, size in spans])
    assert sorted(rows) == list(range(1, encoders.n_embeddings))
    assert encoders.fields == ("device", "item", "user", "position", "city", "tier")
    assert encoders.list_fields == ("filters", "tags")


def test_every_index_lies_in_its_field(encoders: Encoders) -> None:
    inputs = encoders.encode(a_log(seed=9), serving_position=False)
    for j, (first, size) in enumerate(zip(encoders.offsets, encoders.field_sizes)):
        assert (inputs.ids[:, j] >= first).all()
        assert (inputs.ids[:, j] < first + size).all()
    for bag, first, size in zip(inputs.lists, encoders.list_offsets, encoders.list_sizes):
        assert bag.shape[1] == 2
        assert ((bag == 0) | ((bag >= first) & (bag < first + size))).all()
        assert (bag[:, 0] != 0).any()
    assert torch.isfinite(inputs.numeric).all()
    assert inputs.numeric.shape[1] == len(encoders.numeric_names)


def test_numeric_names_tell_where_values_were_missing(encoders: Encoders) -> None:
    assert encoders.numeric_names == (
        "price", "price is missing", "rank", "log1p(position)",
        "distance", "distance is missing", "items is absent", "age",
    )  # fmt: skip


def test_kinds_of_tables_give_the_same_inputs(encoders: Encoders) -> None:
    log = a_log(500, seed=4)
    expected = encoders.encode(log, serving_position=False)
    plain = {name: log[name] for name in log.schema.names}
    plain |= {name: log[name].to_numpy() for name in ("item", "position", "rank", "request")}
    kinds = {
        "batch": log.combine_chunks().to_batches()[0],
        "pandas": log.to_pandas(types_mapper=pd.ArrowDtype),
        "mapping": plain,
        "categories": log.to_pandas(types_mapper=pd.ArrowDtype).astype({"device": "category", "user": "category"}),
        "dictionaries": log.set_column(6, "device", log["device"].dictionary_encode()),
        "chunks": pa.concat_tables([log.slice(0, 123), log.slice(123)]),
    }
    for data in kinds.values():
        assert_same(encoders.encode(data, serving_position=False), expected)


def test_pandas_numbers_with_gaps_equal_arrow(encoders: Encoders) -> None:
    log = a_log(500, seed=4).drop_columns(["query"])
    frame = log.to_pandas()  # price: NaN for null; filters: arrays of objects; strings: pandas' own
    frame["query"] = 2**60
    log = log.append_column("query", pa.array(np.full(500, 2**60)))
    assert_same(encoders.encode(frame, serving_position=True), encoders.encode(log, serving_position=True))


def test_polars_gives_the_same_inputs(encoders: Encoders) -> None:
    polars = pytest.importorskip("polars")
    log = a_log(500, seed=4)
    frame = polars.from_arrow(log)
    expected = encoders.encode(log, serving_position=False)
    assert_same(encoders.encode(frame, serving_position=False), expected)
    assert_same(
        encoders.encode(frame.with_columns(polars.col("device").cast(polars.Categorical)), serving_position=False),
        expected,
    )


@pytest.mark.parametrize("rows", [1, 7, 250])
def test_batches_equal_the_whole(encoders: Encoders, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    log = a_log(500, seed=5)
    whole = encoders.encode(log, serving_position=False)
    out, at = encoders.allocate(500), 0
    for start in range(0, 500, rows):
        at = encoders.encode_into(log.slice(start, rows), out, at, serving_position=False)
    assert at == 500
    assert_same(out, whole)
    monkeypatch.setattr(encoders_module, "BLOCK_ROWS", rows)
    assert_same(encoders.encode(log, serving_position=False), whole)


def test_no_rows(encoders: Encoders) -> None:
    assert len(encoders.encode(a_log().slice(0, 0), serving_position=True)) == 0


@pytest.mark.parametrize("hold", [("items", "users"), ("users",), ()])
def test_round_trip_through_files(dataset: Dataset, hold: tuple[str, ...]) -> None:
    encoders = Encoders.fit(dataset, min_count=10, max_list_length=2, hold=hold)
    meta, arrays = encoders.state()
    again = Encoders.from_state(json.loads(json.dumps(meta)), load(save(arrays)))
    data = dataset.table("test")
    assert_same(again.encode(data, serving_position=True), encoders.encode(data, serving_position=True))
    for name in ("fields", "field_sizes", "offsets", "list_fields", "list_sizes", "numeric_names", "n_embeddings"):
        assert getattr(again, name) == getattr(encoders, name)


def test_item_vectors_may_be_stored_elsewhere(encoders: Encoders) -> None:
    meta, arrays = encoders.state(vectors=False)
    assert not any("matrix" in name for name in arrays)
    with pytest.raises(ValueError, match="`vectors` must be given"):
        Encoders.from_state(meta, arrays)
    again = Encoders.from_state(meta, arrays, vectors=encoders.vectors)
    log = a_log(100)
    assert_same(again.encode(log, serving_position=True), encoders.encode(log, serving_position=True))
    with pytest.raises(ValueError, match="must have version 1, got 99"):
        Encoders.from_state({**meta, "version": 99}, arrays)


def test_unseen_rare_and_missing_share_the_bucket(encoders: Encoders) -> None:
    log = a_log(10).slice(0, 4).set_column(6, "device", pa.array(["phone", "tv", None, "fridge"]))
    log = log.set_column(1, "item", pa.array([2**60, 2**60 + 999, None, 5]))
    inputs = encoders.encode(log, serving_position=True)
    bucket = encoders.offsets[encoders.fields.index("device")]
    assert (column_of(encoders, inputs, "device") == bucket).tolist() == [False, True, True, True]
    assert encoders.unseen(inputs)["device"] == 3
    assert encoders.unseen(inputs)["item"] == 3
    assert encoders.unseen(inputs)["position"] == 0
    assert encoders.unseen(inputs)["city"] >= 3


def test_lists_are_cut_padded_and_keep_unknown_values_apart_from_padding(encoders: Encoders) -> None:
    rows = [["pool", "spa", "bar"], ["moat"], [], None]
    log = a_log(10).slice(0, 4).set_column(7, "filters", pa.array(rows, pa.large_list(pa.large_string())))
    bag = encoders.encode(log, serving_position=True).lists[0]
    bucket = encoders.list_offsets[0]
    vocabulary = {key: bucket + 1 + j for j, key in enumerate(encoders.own.lists[0].keys)}
    assert bag.tolist() == [[vocabulary["pool"], vocabulary["spa"]], [bucket, 0], [0, 0], [0, 0]]


def test_serving_position_replaces_the_logged_one(encoders: Encoders) -> None:
    log = a_log(100)
    served = encoders.encode(log.drop_columns("position"), serving_position=True)
    at_two = encoders.encode(
        log.set_column(log.schema.get_field_index("position"), "position", pa.array([2] * 100)), serving_position=False
    )
    assert_same(served, at_two)
    logged = encoders.encode(log, serving_position=False)
    first = encoders.offsets[encoders.fields.index("position")]
    assert (column_of(encoders, logged, "position") - first).tolist() == log["position"].to_pylist()
    numbers = column_of(encoders, logged, "log1p(position)")
    assert np.allclose(np.diff(numbers[:10]), np.diff(np.log1p(np.arange(1, 11))) / encoders.position.scaler.scale)
    deep = log.set_column(5, "position", pa.array([None, 11, 500, 0] * 25))
    buckets = column_of(encoders, encoders.encode(deep, serving_position=False), "position") - first
    assert buckets[:4].tolist() == [0, 10, 10, 0]


def test_vectors_are_found_by_id(encoders: Encoders) -> None:
    log = a_log(200)
    inputs = encoders.encode(log, serving_position=True)
    for name, rows in (("item", inputs.item_row), ("query", inputs.query_row)):
        ids = [None if i is None else i - 2**60 for i in log[name].to_pylist()]
        assert rows.tolist() == [0 if i is None or i >= 55 else i + 1 for i in ids]


def test_held_side_tables_equal_joined_ones(
    dataset: Dataset, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item encoded once and gathered equals the item's columns joined into every row and encoded there."""
    monkeypatch.setattr(side_module, "BLOCK_ROWS", 7)
    unheld = Encoders.fit(dataset, min_count=10, max_list_length=2, hold=())
    joined = dataset.table()
    bare = joined.drop_columns(["city", "tags", "distance", "tier", "age"])
    assert_same(encoders.encode(bare, serving_position=False), unheld.encode(joined, serving_position=False))
    assert_same(encoders.encode(joined, serving_position=False), unheld.encode(joined, serving_position=False))
    ids_alone = encoders.required_columns(serving_position=True)
    assert ids_alone == ["device", "item", "user", "filters", "price", "rank", "query"]
    assert set(unheld.required_columns(serving_position=True)) - set(ids_alone) == {
        "city", "tags", "distance", "tier", "age",
    }  # fmt: skip


def test_side_features_are_fitted_as_if_joined(dataset: Dataset, encoders: Encoders, tmp_path: Path) -> None:
    """Frequencies and quartiles of a side table weigh every row by its impressions in training."""
    flat = dataset.table().drop_columns(["query"])
    folder = tmp_path / "flat"
    folder.mkdir()
    pq.write_table(flat, folder / "log.parquet")
    columns = {"request": "request", "item": "item", "user": "user", "time": "time"}
    described = {
        "files": {"impressions": "log.parquet"},
        "columns": {**columns, "categorical": CATEGORICAL, "numeric": NUMERIC},
        "heads": {"click": {}},
    }
    joined = Encoders.fit(Dataset(Schema.from_dict(described), folder), min_count=10, max_list_length=2)
    own = {vocabulary.name: vocabulary.keys for vocabulary in (*joined.own.scalars, *joined.own.lists)}
    scalers = {scaler.name: scaler for scaler in joined.own.scalers}
    for side in encoders.sides:
        for vocabulary in (*side.fields.scalars, *side.fields.lists):
            assert list(vocabulary.keys) == list(own[vocabulary.name])
        for scaler in side.fields.scalers:
            assert (scaler.center, scaler.scale) == (scalers[scaler.name].center, scalers[scaler.name].scale)


def test_a_column_that_candidates_carry_wins(encoders: Encoders) -> None:
    log = a_log(40)
    given = log.append_column("city", pa.array(["Oslo", None] * 20))
    inputs = encoders.encode(given, serving_position=True)
    cities = column_of(encoders, inputs, "city")
    bucket = encoders.offsets[encoders.fields.index("city")]
    oslo = bucket + 1 + encoders.sides[0].fields.scalars[0].keys.index("Oslo")
    assert cities.tolist() == [oslo, bucket] * 20
    plain = encoders.encode(log, serving_position=True)
    for name in ("distance", "distance is missing"):
        assert np.array_equal(column_of(encoders, inputs, name), column_of(encoders, plain, name))
    absent = column_of(encoders, plain, "items is absent") == 1
    assert absent.any()
    assert not column_of(encoders, inputs, "items is absent")[0::2].any()
    assert np.array_equal(column_of(encoders, inputs, "items is absent")[1::2] == 1, absent[1::2])


def test_missing_columns_are_listed_at_once_and_others_are_ignored(encoders: Encoders) -> None:
    log = a_log(10)
    with pytest.raises(InputError) as error:
        encoders.encode(log.drop_columns(["device", "user", "price", "position"]), serving_position=False)
    assert [fault.column for fault in error.value.faults] == ["device", "user", "price", "position"]
    more = log.append_column("star", pa.array([None] * 10)).drop_columns(["click", "request", "time"])
    assert_same(encoders.encode(more, serving_position=True), encoders.encode(log, serving_position=True))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("item", ["a"] * 10, "column `item`: must hold integers, as in training, got type string"),
        ("device", [1] * 10, "column `device`: must hold strings, as in training, got type int64"),
        ("price", ["9.50"] * 10, "column `price`: must hold numbers, got type string"),
        ("filters", ["pool"] * 10, "column `filters`: must hold lists, got type string"),
        ("device", [["phone"]] * 10, "column `device`: must hold one value per row, got lists"),
    ],
)
def test_a_type_that_is_not_that_of_training(encoders: Encoders, column: str, values: list[Any], message: str) -> None:
    log = a_log(10)
    changed = log.set_column(log.schema.get_field_index(column), column, pa.array(values))
    with pytest.raises(InputError, match=message):
        encoders.encode(changed, serving_position=True)


@pytest.mark.parametrize("kind", ["arrow", "pandas", "mapping"])
def test_infinite_numbers_are_refused_with_row_value_and_count(
    encoders: Encoders, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and counts are those of the whole table, whatever blocks it is encoded in, also beside missing values."""
    monkeypatch.setattr(encoders_module, "BLOCK_ROWS", 64)
    log = a_log(300)
    price = log["price"].to_pandas().to_numpy().copy()
    price[[70, 71, 200]] = [-np.inf, np.inf, np.inf]
    distance = np.full(300, np.nan)
    distance[150] = np.inf
    table = log.set_column(log.schema.get_field_index("price"), "price", pa.array(price))
    table = table.append_column("distance", pa.array(distance))
    data = {"arrow": table, "pandas": table.to_pandas(), "mapping": {n: table[n] for n in table.column_names}}[kind]
    with pytest.raises(InputError) as caught:
        encoders.encode(data, serving_position=True)
    fault = caught.value.faults[0]
    assert (fault.column, fault.row, fault.value, fault.count) == ("price", 70, -np.inf, 3)
    sound = table.set_column(table.schema.get_field_index("price"), "price", log["price"])
    with pytest.raises(InputError, match="column `distance`, row 150: must be finite"):
        encoders.encode(sound, serving_position=True)
    encoders.encode(log, serving_position=True)


def test_an_infinite_position_is_refused_where_it_is_read(encoders: Encoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders_module, "BLOCK_ROWS", 64)
    log = a_log(300)
    position = log["position"].to_numpy().astype(float)
    position[100] = np.inf
    log = log.set_column(log.schema.get_field_index("position"), "position", pa.array(position))
    encoders.encode(log, serving_position=True)
    with pytest.raises(InputError, match=r"column `position`, row 100: must be finite .* got inf"):
        encoders.encode(log, serving_position=False)


def test_only_the_roles_asked_for_are_learnt_from(tmp_path: Path) -> None:
    log = a_log()
    late = np.arange(3000) >= 2100  # by time, 70 % are training
    device = pa.array(np.where(late, "watch", log["device"].to_numpy(zero_copy_only=False)).astype(object))
    price = pa.array(np.where(late, 1e6, 10.0 + np.arange(3000) % 7))
    changed = log.set_column(6, "device", device).set_column(8, "price", price)
    dataset = a_dataset(tmp_path / "late", changed)
    train = Encoders.fit(dataset, min_count=10)
    assert "watch" not in train.own.scalars[0].keys
    assert train.own.scalers[0].center == 13.0
    everything = Encoders.fit(dataset, min_count=10, roles=("train", "calibrate", "tune", "test"))
    assert "watch" in everything.own.scalars[0].keys


def test_files_do_not_matter(dataset: Dataset, encoders: Encoders, tmp_path: Path) -> None:
    split = a_dataset(tmp_path / "split", files={
        "impressions": ["a.parquet", "b.parquet"], "items": "items.parquet", "users": "users.parquet",
        "vectors": "vectors.parquet",
    })  # fmt: skip
    log = a_log()
    pq.write_table(log.slice(0, 777), split.folder / "a.parquet")
    pq.write_table(log.slice(777), split.folder / "b.parquet")
    again = Encoders.fit(split, min_count=10, max_list_length=2)
    assert_same(again.encode(log, serving_position=False), encoders.encode(log, serving_position=False))


def test_a_name_that_two_tables_have(tmp_path: Path) -> None:
    log = a_log()
    log = log.append_column("city", pa.array(np.random.default_rng(7).choice(["here", "there"], 3000)))
    columns = {"categorical": ["impressions.city", "items.city"], "numeric": []}
    dataset = a_dataset(tmp_path / "two", log, columns=columns)
    encoders = Encoders.fit(dataset, min_count=1)
    assert encoders.fields == ("city", "position", "items.city")
    inputs = encoders.encode(log, serving_position=True)
    own = encoders.own.scalars[0]
    expected = [encoders.offsets[0] + 1 + list(own.keys).index(city) for city in log["city"].to_pylist()]
    assert column_of(encoders, inputs, "city").tolist() == expected
    assert len(set(column_of(encoders, inputs, "items.city").tolist())) == 3


def test_arguments_out_of_range(dataset: Dataset) -> None:
    for arguments, message in (
        ({"min_count": 0}, "`min_count` must be at least 1, got 0"),
        ({"max_list_length": 0}, "`max_list_length` must be at least 1, got 0"),
        ({"hold": ("photos",)}, "`hold` must name"),
    ):
        with pytest.raises(ValueError, match=message):
            Encoders.fit(dataset, **arguments)
