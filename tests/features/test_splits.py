"""Splits: whole requests, in order of time, stable under growth and shuffling, at the shares asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InputError
from features.ids import hash_ids
from features.schema import ROLES, Schema
from features.splits import roles_by_hash, roles_by_name, roles_by_time

SHARES = (0.6, 0.2, 0.0, 0.2)
STABLE_INTEGERS = [3, 0, 0, 0, 0, 0]  # written down once: a later release must not move rows between roles
STABLE_STRINGS = [0, 3, 1, 3, 1, 0]


def open_log(folder: Path, table: pa.Table, split: dict[str, Any], files: int = 1, **columns: str) -> Dataset:
    """A data set over `table`, cut into `files` files of small row groups."""
    size = -(-table.num_rows // files)
    for i in range(files):
        pq.write_table(table.slice(i * size, size), folder / f"log{i}.parquet", row_group_size=7)
    data = {
        "files": {"impressions": "log*.parquet"},
        "columns": {"request": "request", "item": "item", **columns},
        "heads": {"click": {}},
        "split": split,
    }
    return Dataset(Schema.from_dict(data), folder)


def random_log(rows: int = 400, requests: int = 60, seed: int = 0, *, text: bool = False) -> pa.Table:
    """Rows in random order, so that requests straddle batches and files."""
    rng = np.random.default_rng(seed)
    request = rng.integers(0, requests, rows)
    ids = pa.array([f"r{i}" for i in request]) if text else pa.array(request)
    time = 1_500_000_000 + request // 3 * 100 + rng.integers(0, 50, rows)
    columns = {"request": ids, "item": np.arange(rows), "time": time, "click": rng.integers(0, 2, rows)}
    return pa.table(columns)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=80), st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_roles_by_time_are_in_order_and_ties_stay_together(times: list[int], weights: list[int]) -> None:
    shares = np.array(weights) / sum(weights) if sum(weights) else np.array([1.0, 0, 0, 0])
    first = np.array(times)
    roles = roles_by_time(first, shares)
    assert (np.diff(roles[np.argsort(first, kind="stable")]) >= 0).all()
    for time in set(times):
        assert len(set(roles[first == time])) == 1


@given(st.integers(1, 300), st.integers(0, 100))
def test_shares_by_time_are_exact_to_half_a_request_without_ties(requests: int, seed: int) -> None:
    first = np.random.default_rng(seed).permutation(requests)
    counts = np.bincount(roles_by_time(first, SHARES), minlength=4)
    assert np.abs(np.cumsum(counts) - np.cumsum(SHARES) * requests).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("files", [1, 3])
def test_a_request_has_one_role_and_train_is_earliest(tmp_path: Path, text: bool, files: int) -> None:
    table = random_log(text=text)
    dataset = open_log(tmp_path, table, {"by": "time", "fractions": {"train": 0.6, "calibrate": 0.2, "test": 0.2}},
                       files, time="time")  # fmt: skip
    frame = table.to_pandas().assign(role=dataset.roles)
    assert (frame.groupby("request").role.nunique() == 1).all()
    per_request = frame.groupby("request").agg(first=("time", "min"), role=("role", "first"))
    ends = per_request.groupby("role")["first"].agg(["min", "max"])
    assert (ends["max"].to_numpy()[:-1] < ends["min"].to_numpy()[1:]).all()
    assert list(ends.index) == [0, 1, 3]
    assert abs((per_request.role == 0).mean() - 0.6) < 0.05


def test_roles_do_not_depend_on_files_and_batches(tmp_path: Path) -> None:
    table = random_log()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = open_log(tmp_path / "a", table, {"by": "time"}, 1, time="time")
    many = open_log(tmp_path / "b", table, {"by": "time"}, 5, time="time")
    np.testing.assert_array_equal(one.roles, many.roles)


def test_timestamps_split_as_their_seconds(tmp_path: Path) -> None:
    table = random_log()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    stamps = table.set_column(2, "time", table["time"].cast(pa.timestamp("s")).cast(pa.timestamp("us", "UTC")))
    seconds = open_log(tmp_path / "a", table, {"by": "time"}, time="time")
    timestamps = open_log(tmp_path / "b", stamps, {"by": "time"}, time="time")
    np.testing.assert_array_equal(seconds.roles, timestamps.roles)
    assert seconds.last_time == timestamps.last_time == max(table["time"].to_pylist())


@pytest.mark.parametrize("by", ["request", "item"])
def test_a_hash_split_keeps_an_ids_role_when_the_log_grows(tmp_path: Path, by: str) -> None:
    table = random_log(text=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    grown = pa.concat_tables([random_log(seed=1, text=True), table])
    before = dict(zip(table[by].to_pylist(), open_log(tmp_path / "a", table, {"by": by}).roles, strict=True))
    after = dict(zip(grown[by].to_pylist(), open_log(tmp_path / "b", grown, {"by": by}).roles, strict=True))
    assert {key: after[key] for key in before} == before


def test_hash_shares_are_met_within_four_standard_errors() -> None:
    n = 200_000
    roles = roles_by_hash(hash_ids(pa.array(np.arange(n))), SHARES)
    counts = np.bincount(roles, minlength=4)
    expected = np.array(SHARES) * n
    assert (np.abs(counts - expected) <= 4 * np.sqrt(expected * (1 - np.array(SHARES)))).all()


def test_hash_roles_are_the_same_in_every_run_and_for_every_width() -> None:
    ids = [0, 1, 2, 3, 10**12, -5]
    narrow = roles_by_hash(hash_ids(pa.array(ids[:4], pa.int8())), SHARES)
    wide = roles_by_hash(hash_ids(pa.array(ids)), SHARES)
    np.testing.assert_array_equal(narrow, wide[:4])
    assert wide.tolist() == STABLE_INTEGERS
    assert roles_by_hash(hash_ids(pa.array(["a", "b", "c", "d", "e", "f"])), SHARES).tolist() == STABLE_STRINGS


def test_by_column_reads_the_names_of_roles(tmp_path: Path) -> None:
    role = np.random.default_rng(0).choice(ROLES, 400)
    dataset = open_log(tmp_path, random_log().append_column("role", pa.array(role)), {"by": "column", "column": "role"})
    assert [ROLES[i] for i in dataset.roles] == role.tolist()
    assert roles_by_name(pa.array(["prod", None])).tolist() == [-1, -1]


def test_a_value_that_names_no_role_is_named(tmp_path: Path) -> None:
    table = random_log(rows=10).append_column("role", pa.array(["train"] * 8 + ["prod", "test"]))
    with pytest.raises(InputError, match=r"log1\.parquet: column `role`, row 3: must name a role .*, got 'prod'"):
        _ = open_log(tmp_path, table, {"by": "column", "column": "role"}, files=2).roles


def test_a_missing_time_is_named(tmp_path: Path) -> None:
    table = random_log(rows=10)
    times = pa.array([*table["time"].to_pylist()[:9], None])
    dataset = open_log(tmp_path, table.set_column(2, "time", times), {"by": "time"}, time="time")
    with pytest.raises(InputError, match="column `time`, row 9: must not be null"):
        _ = dataset.roles
