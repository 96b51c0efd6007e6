"""Encoded logs: labels, protection, sampling and maturity of each row, whatever batch it came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from features.dataset import Dataset
from features.encoded import EncodedLog, encode_log
from features.encoders import Encoders
from features.errors import InputError
from features.protection import request_codes
from features.sampling import downsample_negatives
from features.schema import ROLES, Schema

ROWS = 2000


def a_log(time_type: pa.DataType | None = None, *, hidden: bool = True) -> pa.Table:
    rng = np.random.default_rng(0)
    request = np.repeat(rng.permutation(ROWS // 5), 5)
    seconds = np.repeat(np.arange(ROWS // 5) * 3600, 5)
    click = (rng.random(ROWS) < 0.1).astype(np.int8)
    return pa.table(
        {
            "request": pa.array([f"r{r}" for r in request]),
            "item": rng.integers(0, 6, ROWS) * 5 + np.arange(ROWS) % 5,  # none twice in a request
            "time": pa.array(seconds) if time_type is None else pa.array(seconds * 1000).cast(pa.timestamp("ms")),
            "price": rng.random(ROWS),
            "click": pa.array(click, mask=(rng.random(ROWS) < 0.1) & hidden),
            "save": pa.array((rng.random(ROWS) < 0.05).astype(float), mask=(rng.random(ROWS) < 0.1) & hidden),
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
    assert np.array_equal(found.protected.numpy(), own_event(chosen), equal_nan=True)
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


def a_sampled_log(roles: tuple[str, ...], unit: str, rate: float | str) -> pa.Table:
    """Rows of `roles` thinned by what happened ("truth" = protected then), some labels lost only afterwards."""
    full = a_log(hidden=False)
    full = full.append_column("n", pa.array(np.arange(ROWS))).drop_columns(["keep"])
    chosen = pa.array(np.isin(full["role"].to_pylist(), roles))
    thin = downsample_negatives(
        full.filter(chosen), rate, LABELS, unit=unit, request="request", seed=1, keep_prob="keep"
    )
    rest = full.filter(pc.invert(chosen))
    rest = rest.append_column("keep", pa.array(np.ones(rest.num_rows)))
    table = pa.concat_tables([thin, rest]).sort_by("n")
    rng = np.random.default_rng(3)
    for name in LABELS:
        hidden = pa.array(table[name].to_numpy(), mask=rng.random(table.num_rows) < 0.1)
        table = table.set_column(table.schema.get_field_index(name), name, hidden)
    return table


LABELS = ["click", "save"]
BY_ROLE = {"split": {"by": "column", "column": "role"}, "columns": {"keep_prob": "keep"}}


def own_event(log: pa.Table) -> np.ndarray:
    """Any label of the row is 1; NaN where one is missing."""
    return log.select(LABELS).to_pandas().astype(float).max(axis=1, skipna=False).to_numpy()


def request_events(log: pa.Table) -> np.ndarray:
    event = pd.DataFrame({"request": log["request"].to_pylist(), "event": own_event(log)})
    found = event.groupby("request")["event"].transform(lambda e: np.nan if e.isna().any() else e.max())
    return found.to_numpy()


@pytest.mark.parametrize("unit", ["row", "request"])
@pytest.mark.parametrize("rate", [0.3, "rate"])
def test_where_rows_were_dropped_the_log_itself_tells_which_were_protected(
    tmp_path: Path, unit: str, rate: float | str
) -> None:
    """Also where labels are missing. Requests span the roles, of which one was sampled: no label of another counts."""
    log = a_sampled_log(("train",), unit, rate)
    declared = {"negative_rate": rate} if isinstance(rate, float) else {"negative_rate_column": rate}
    dataset = a_dataset(tmp_path, log, parts=2, sampling={**declared, "unit": unit, "roles": ["train"]}, **BY_ROLE)
    assert dataset.validate().ok
    train, test = encoded(dataset), encoded(dataset, "test")
    chosen = log.take(train.row.numpy())
    assert np.array_equal(train.protected.numpy(), chosen["keep"].to_numpy() == 1.0)
    events = own_event(chosen) if unit == "row" else request_events(chosen)
    known = ~np.isnan(events)
    assert np.array_equal(train.protected.numpy()[known], events[known])
    assert 0.2 < train.protected[~torch.from_numpy(known)].mean() < 1.0
    measured = log.take(test.row.numpy())
    events = own_event(measured) if unit == "row" else request_events(measured)
    assert np.array_equal(test.protected.numpy(), events, equal_nan=True)
    assert set(np.unique(events[~np.isnan(events)])) == {0.0, 1.0}
    assert np.isnan(events).any()


def test_a_keep_probability_of_nearly_one_is_one_to_validator_and_encoder(tmp_path: Path) -> None:
    log = a_sampled_log(("train", "test"), "row", 0.3)
    keep = log["keep"].to_numpy()
    nearly = log.set_column(log.schema.get_field_index("keep"), "keep", pa.array(np.where(keep == 1.0, 1 - 8e-7, keep)))
    dataset = a_dataset(tmp_path, nearly, sampling={"negative_rate": 0.3}, **BY_ROLE)
    assert dataset.validate().ok
    found = encoded(dataset)
    assert np.array_equal(found.protected.numpy(), keep[found.row.numpy()] == 1.0)


def test_requests_sampled_whole_that_play_several_roles(tmp_path: Path) -> None:
    log = a_sampled_log(("train", "test"), "request", 0.3)
    dataset = a_dataset(tmp_path, log, sampling={"negative_rate": 0.3, "unit": "request"}, **BY_ROLE)
    assert dataset.validate().ok
    for role in ("train", "test"):
        found = encoded(dataset, role)
        assert np.array_equal(found.protected.numpy(), log["keep"].to_numpy()[found.row.numpy()] == 1.0)


def test_the_validator_and_the_encoder_agree_when_a_split_by_item_cuts_requests(tmp_path: Path) -> None:
    log = a_log(hidden=False)
    roles = a_dataset(tmp_path / "roles", log, split={"by": "item"}).roles
    log = log.drop_columns(["role", "keep"]).append_column("role", pa.array(np.array(ROLES)[roles]))
    log = log.append_column("n", pa.array(np.arange(ROWS)))
    train = log.filter(pc.equal(log["role"], "train"))
    rest = log.filter(pc.not_equal(log["role"], "train"))
    thin = downsample_negatives(train, 0.3, LABELS, unit="request", request="request", keep_prob="keep")
    whole = rest.append_column("keep", pa.array(np.ones(rest.num_rows)))
    log = pa.concat_tables([thin, whole]).sort_by("n")
    sampling = {"negative_rate": 0.3, "unit": "request", "roles": ["train"]}
    described = {"sampling": sampling, "split": {"by": "item"}, "columns": {"keep_prob": "keep"}}
    dataset = a_dataset(tmp_path, log, **described)
    assert dataset.validate().ok
    for role in ROLES:
        found = encoded(dataset, role)
        expected = request_events(log.take(found.row.numpy()))
        assert np.array_equal(found.protected.numpy(), expected)


def test_a_row_rate_of_one_dropped_nothing_there_so_labels_tell(tmp_path: Path) -> None:
    log = a_log()
    rate = np.where(np.arange(ROWS) < 700, 1.0, 0.5)
    keep = np.where((rate == 1) | (np.nan_to_num(own_event(log)) == 1), 1.0, rate)
    for name, values in (("rate", rate), ("keep", keep)):
        log = log.set_column(log.schema.get_field_index(name), name, pa.array(values))
    sampling = {"negative_rate_column": "rate", "protected_by": LABELS}
    dataset = a_dataset(tmp_path, log, sampling=sampling, columns={"keep_prob": "keep"})
    found = encoded(dataset)
    early = found.row.numpy() < 700
    assert np.array_equal(found.protected.numpy()[early], own_event(log)[:700], equal_nan=True)
    assert np.array_equal(found.protected.numpy()[~early], keep[found.row.numpy()[~early]] == 1.0)
    assert 0 < early.sum() < len(found)


def test_protection_by_a_column_that_is_no_head(tmp_path: Path) -> None:
    log = a_log()
    sampling = {"negative_rate": 0.2, "protected_by": ["click", "call"], "roles": ["train"]}
    dataset = a_dataset(tmp_path, log, sampling=sampling, columns={"keep_prob": "keep"})
    found = encoded(dataset, "test")
    chosen = log.take(found.row.numpy())
    click = np.array([np.nan if y is None else y for y in chosen["click"].to_pylist()])
    expected = np.where(np.isnan(click), np.nan, (click == 1) | chosen["call"].to_numpy())
    assert np.array_equal(found.protected.numpy(), expected, equal_nan=True)
    assert found.negative_rate == 1.0
    assert encoded(dataset).negative_rate == 0.2


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
    assert found.immature == everything.immature == {}
    calibrate = encoded(dataset, "calibrate")
    assert (len(calibrate), calibrate.refused, calibrate.immature) == (0, 40 * 5, {})
    nothing = encoded(a_dataset(tmp_path / "all", log, heads={"click": {"maturity": "60d"}}))
    assert (len(nothing), nothing.refused) == (0, 280 * 5)


@pytest.mark.parametrize("unit", [None, "row", "request"])
@pytest.mark.parametrize("role", ["tune", "test"])
def test_measured_roles_lose_labels_that_are_not_final_and_keep_their_rows(
    tmp_path: Path, role: str, unit: str | None
) -> None:
    """The log ends at hour 399, so a label with maturity m hours is final up to hour 399 - m."""
    log = a_log()
    described: dict[str, Any] = {"heads": {"click": {"maturity": "20h"}, "save": {"maturity": "60h"}}}
    if unit is not None:  # all other roles were sampled
        sampling = {"negative_rate": 0.2, "unit": unit, "roles": ["train"]}
        described |= {"sampling": sampling, "columns": {"keep_prob": "keep"}}
    dataset = a_dataset(tmp_path, log, **described)
    found, everything = encoded(dataset, role), encoded(dataset, role, drop_immature=False)
    assert found.row.tolist() == everything.row.tolist()
    assert (found.refused, everything.immature) == (0, {})
    hour = log["time"].to_numpy()[found.row.numpy()] / 3600
    lost = {}
    for j, (name, hours) in enumerate((("click", 20), ("save", 60))):
        expected = np.where(hour > 399 - hours, np.nan, everything.labels[:, j].numpy())
        assert np.array_equal(found.labels[:, j].numpy(), expected, equal_nan=True)
        count = int((everything.labels[:, j].numpy() >= 0)[hour > 399 - hours].sum())
        lost |= {name: count} if count else {}
    assert found.immature == lost
    assert set(lost) == ({"save"} if role == "tune" else {"click", "save"})
    young = hour > 399 - 60
    assert found.protected[torch.from_numpy(young)].isnan().all()
    assert torch.equal(found.protected[~young].nan_to_num(-1), everything.protected[~young].nan_to_num(-1))


def test_in_a_sampled_role_labels_that_are_not_final_leave_protection_known(tmp_path: Path) -> None:
    log = a_sampled_log(("train", "test"), "row", 0.3)
    heads = {"click": {}, "save": {"maturity": "400h"}}
    dataset = a_dataset(tmp_path, log, sampling={"negative_rate": 0.3}, heads=heads, **BY_ROLE)
    found = encoded(dataset, "test")
    assert found.labels[:, 1].isnan().all()
    assert np.array_equal(found.protected.numpy(), log["keep"].to_numpy()[found.row.numpy()] == 1.0)


@pytest.mark.parametrize(
    ("column", "value", "words"), [("rate", 0.0, "0 < rate"), ("price", -np.inf, "must be finite")]
)
def test_a_fault_in_a_row_names_its_file_and_row(tmp_path: Path, column: str, value: float, words: str) -> None:
    """The third of four files, and rows counted in it although others play another role."""
    log = a_log(hidden=False)
    values = log[column].to_numpy().copy()
    values[[1234, 1500]] = value  # both train rows of the third and the fourth file
    log = log.set_column(log.schema.get_field_index(column), column, pa.array(values))
    dataset = a_dataset(tmp_path, log, parts=4, sampling={"negative_rate_column": "rate"}, **BY_ROLE)
    encoders = Encoders.fit(a_dataset(tmp_path / "sound", a_log(), parts=4), min_count=1)
    with pytest.raises(InputError, match=words) as caught:
        encode_log(dataset, encoders, "train", serving_position=False)
    fault = caught.value.faults[0]
    assert (fault.file, fault.column, fault.row, fault.value) == (dataset.impression_files[2], column, 234, value)


def test_select_slice_and_to_take_every_part(tmp_path: Path) -> None:
    heads = {"click": {}, "save": {"maturity": "60h"}}
    found = encoded(a_dataset(tmp_path, a_log(), columns={"keep_prob": "keep"}, heads=heads), "test")
    lost = found.immature["save"]
    chosen, view = found.select(torch.arange(10, 20)), found.slice(10, 20)
    for log in (chosen, view, found.to("cpu").slice(10, 20)):
        assert len(log) == 10
        assert torch.equal(log.inputs.ids, found.inputs.ids[10:20])
        assert torch.equal(log.labels.nan_to_num(-1), found.labels[10:20].nan_to_num(-1))
        for name in ("protected", "keep_prob", "requests", "row"):
            assert torch.equal(getattr(log, name).nan_to_num(-1), getattr(found, name)[10:20].nan_to_num(-1))
        assert (log.negative_rate, log.refused, log.immature) == (1.0, 0, {"save": lost})
        assert lost > 0


def test_request_codes() -> None:
    values = [7, 7, 2**60, 7, 3]
    chunks = [pa.array(values[:2]).dictionary_encode(), pa.array(values[2:]).dictionary_encode()]
    assert request_codes(chunks).tolist() == [0, 0, 1, 0, 2]
    assert request_codes([]).tolist() == []
    with pytest.raises(InputError, match="a request id must not be null"):
        request_codes([pa.array([1, None]).dictionary_encode()])
