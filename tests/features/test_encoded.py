"""Encoded logs: labels, protection, sampling and maturity of each row, whatever batch it came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from features.dataset import Dataset
from features.encoded import EncodedLog, encode_log
from features.encoders import Encoders
from features.errors import InputError
from features.protection import request_codes
from features.schema import Schema

ROWS = 2000


def a_log(time_type: pa.DataType | None = None) -> pa.Table:
    rng = np.random.default_rng(0)
    request = np.repeat(rng.permutation(ROWS // 5), 5)
    seconds = np.repeat(np.arange(ROWS // 5) * 3600, 5)
    click = (rng.random(ROWS) < 0.1).astype(np.int8)
    return pa.table(
        {
            "request": pa.array([f"r{r}" for r in request]),
            "item": rng.integers(0, 30, ROWS),
            "time": pa.array(seconds) if time_type is None else pa.array(seconds * 1000).cast(pa.timestamp("ms")),
            "price": rng.random(ROWS),
            "click": pa.array(click, mask=rng.random(ROWS) < 0.1),
            "save": pa.array((rng.random(ROWS) < 0.05).astype(float), mask=rng.random(ROWS) < 0.1),
            "call": (rng.random(ROWS) < 0.03).astype(bool),
            "keep": np.where(click == 1, 1.0, 0.2),
            "rate": np.repeat(np.linspace(0.1, 0.9, ROWS // 5), 5),
            "role": np.where(np.arange(ROWS) % 7 == 0, "test", "train"),
        }
    )


def a_dataset(folder: Path, log: pa.Table, parts: int = 1, **described: Any) -> Dataset:
    folder.mkdir(exist_ok=True)
    for part, rows in enumerate(np.array_split(np.arange(log.num_rows), parts)):
        pq.write_table(log.take(rows), folder / f"log{part}.parquet")
    columns = {"request": "request", "item": "item", "time": "time", "categorical": ["item"], "numeric": ["price"]}
    schema = {
        "files": {"impressions": "log*.parquet"},
        "heads": {"click": {}, "save": {}},
        **described,
        "columns": {**columns, **described.get("columns", {})},
    }
    return Dataset(Schema.from_dict(schema), folder)


def encoded(dataset: Dataset, role: str = "train", **options: Any) -> EncodedLog:
    encoders = Encoders.fit(dataset, min_count=1)
    return encode_log(dataset, encoders, role, **{"serving_position": False, **options})


@pytest.mark.parametrize("role", ["train", "calibrate", "tune", "test"])
def test_rows_carry_what_the_log_says(tmp_path: Path, role: str) -> None:
    log = a_log()
    dataset = a_dataset(tmp_path, log, parts=3, columns={"keep_prob": "keep"})
    found = encoded(dataset, role)
    rows = np.flatnonzero(dataset.roles == ["train", "calibrate", "tune", "test"].index(role))
    assert found.row.tolist() == rows.tolist()
    assert len(found) == len(rows) > 0
    chosen = log.take(rows)
    for j, name in enumerate(("click", "save")):
        labels = [float("nan") if y is None else y for y in chosen[name].to_pylist()]
        assert np.array_equal(found.labels[:, j].numpy(), np.array(labels, np.float32), equal_nan=True)
    click, save = (chosen[name].fill_null(0).to_numpy() for name in ("click", "save"))
    assert np.array_equal(found.protected.numpy(), np.maximum(click, save).astype(np.float32))
    assert np.array_equal(found.keep_prob.numpy(), chosen["keep"].to_numpy().astype(np.float32))
    assert found.negative_rate == 1.0
    assert found.refused == 0
    names = chosen["request"].to_pylist()
    first_seen = {name: code for code, name in enumerate(dict.fromkeys(names))}
    assert found.requests.tolist() == [first_seen[name] for name in names]
    again = Encoders.fit(dataset, min_count=1).encode(chosen, serving_position=False)
    assert torch.equal(found.inputs.ids, again.ids)
    assert torch.equal(found.inputs.numeric, again.numeric)


def test_one_file_or_many(tmp_path: Path) -> None:
    one, many = (encoded(a_dataset(tmp_path / str(parts), a_log(), parts)) for parts in (1, 9))
    assert torch.equal(one.inputs.ids, many.inputs.ids)
    assert torch.equal(one.labels, many.labels) or torch.equal(one.labels.isnan(), many.labels.isnan())
    assert torch.equal(one.requests, many.requests)
    assert torch.equal(one.row, many.row)


def test_protection_by_a_column_that_is_no_head(tmp_path: Path) -> None:
    log = a_log()
    sampling = {"negative_rate": 0.2, "protected_by": ["click", "call"], "roles": ["train"]}
    dataset = a_dataset(tmp_path, log, sampling=sampling, columns={"keep_prob": "keep"})
    found = encoded(dataset)
    chosen = log.take(found.row.numpy())
    engaged = (chosen["click"].fill_null(0).to_numpy() == 1) | chosen["call"].to_numpy()
    assert np.array_equal(found.protected.numpy() == 1, engaged)
    assert found.negative_rate == 0.2
    test = encoded(dataset, "test")
    assert test.negative_rate == 1.0
    assert (test.protected == 1).any()


@pytest.mark.parametrize("split", [{"by": "time"}, {"by": "column", "column": "role"}])
def test_protection_by_request_counts_all_rows_of_the_request(tmp_path: Path, split: dict[str, str]) -> None:
    """Also those that play another role: the request was kept for what happened anywhere in it."""
    log = a_log()
    sampling = {"negative_rate": 0.3, "unit": "request"}
    described = {"sampling": sampling, "split": split, "columns": {"keep_prob": "keep"}}
    found = encoded(a_dataset(tmp_path, log, parts=2, **described))
    frame = log.to_pandas()
    frame["engaged"] = (frame["click"] == 1) | (frame["save"] == 1)
    expected = frame.groupby("request")["engaged"].transform("any").to_numpy()[found.row.numpy()]
    assert np.array_equal(found.protected.numpy() == 1, expected)
    assert 0 < expected.mean() < 1


def test_a_rate_per_row(tmp_path: Path) -> None:
    log = a_log()
    sampling = {"negative_rate_column": "rate", "roles": ["train"]}
    found = encoded(a_dataset(tmp_path, log, sampling=sampling, columns={"keep_prob": "keep"}))
    rate = log["rate"].to_numpy()[found.row.numpy()]
    assert found.negative_rate.dtype == torch.float64
    assert np.array_equal(found.negative_rate.numpy(), rate)
    chosen = found.select(torch.tensor([3, 1]))
    assert chosen.negative_rate.tolist() == [rate[3], rate[1]]
    assert found.slice(1, 3).negative_rate.tolist() == rate[1:3].tolist()


@pytest.mark.parametrize("time_type", [None, pa.timestamp("ms")])
def test_immature_rows_are_left_out_of_training_and_counted(tmp_path: Path, time_type: pa.DataType | None) -> None:
    """The log ends at hour 399; a 150 h maturity leaves rows up to hour 249 of the training rows up to hour 279."""
    log = a_log(time_type)
    dataset = a_dataset(tmp_path, log, heads={"click": {}, "save": {"maturity": "150h"}})
    found, everything = encoded(dataset), encoded(dataset, drop_immature=False)
    assert len(everything) == dataset.count("train") == 280 * 5
    assert found.refused == 30 * 5
    assert found.row.tolist() == list(range(250 * 5))
    assert everything.refused == 0
    assert torch.equal(found.inputs.ids, everything.inputs.ids[: 250 * 5])
    assert encoded(dataset, "test").refused == 0
    nothing = encoded(a_dataset(tmp_path / "all", log, heads={"click": {"maturity": "60d"}}))
    assert (len(nothing), nothing.refused) == (0, 280 * 5)


def test_select_slice_and_to_take_every_part(tmp_path: Path) -> None:
    found = encoded(a_dataset(tmp_path, a_log(), columns={"keep_prob": "keep"}))
    chosen, view = found.select(torch.arange(10, 20)), found.slice(10, 20)
    for log in (chosen, view, found.to("cpu").slice(10, 20)):
        assert len(log) == 10
        assert torch.equal(log.inputs.ids, found.inputs.ids[10:20])
        assert torch.equal(log.labels.nan_to_num(-1), found.labels[10:20].nan_to_num(-1))
        for name in ("protected", "keep_prob", "requests", "row"):
            assert torch.equal(getattr(log, name), getattr(found, name)[10:20])


def test_request_codes() -> None:
    values = [7, 7, 2**60, 7, 3]
    chunks = [pa.array(values[:2]).dictionary_encode(), pa.array(values[2:]).dictionary_encode()]
    assert request_codes(chunks).tolist() == [0, 0, 1, 0, 2]
    assert request_codes([]).tolist() == []
    with pytest.raises(InputError, match="a request id must not be null"):
        request_codes([pa.array([1, None]).dictionary_encode()])
