"""Duplicates are found by hash and proven by comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import Dataset
from features.duplicates import duplicate_rows, pair_hashes, repeated
from features.schema import Schema


def open_log(folder: Path, frame: pd.DataFrame) -> Dataset:
    pq.write_table(pa.Table.from_pandas(frame), folder / "log.parquet", row_group_size=50)
    data = {
        "files": {"impressions": "log.parquet"},
        "columns": {"request": "request", "item": "item"},
        "heads": {"click": {}},
    }
    return Dataset(Schema.from_dict(data), folder)


@pytest.mark.parametrize("text", [False, True])
def test_duplicates_are_those_that_pandas_finds(tmp_path: Path, text: bool) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"request": rng.integers(0, 20, 500), "item": rng.integers(0, 40, 500)})
    expected = np.flatnonzero(frame.duplicated().to_numpy())
    if text:
        frame = frame.astype(str)
    found = duplicate_rows(open_log(tmp_path, frame.assign(click=0)))
    np.testing.assert_array_equal(found, expected)


def test_rows_that_merely_share_a_hash_are_not_accused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"request": [1, 2, 1, 3, 1], "item": [1, 1, 1, 1, 2], "click": 0})
    same_hash = np.zeros(5, np.uint64)
    assert duplicate_rows(open_log(tmp_path, frame), same_hash).tolist() == [2]


def test_null_ids_repeat_nothing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"request": pd.array([1, 1, None, None], "Int64"), "item": [5, 5, 5, 5], "click": 0})
    assert duplicate_rows(open_log(tmp_path, frame)).tolist() == [1]


def test_repeated_lists_every_member_of_a_group() -> None:
    assert repeated(np.array([9, 1, 9, 2, 1, 9, 3], np.uint64)).tolist() == [0, 1, 2, 4, 5]
    assert repeated(np.empty(0, np.uint64)).tolist() == []


def test_the_hash_of_a_pair_depends_on_which_is_which() -> None:
    a, b = pa.chunked_array([[1, 2]]), pa.chunked_array([[2, 1]])
    assert len(set(pair_hashes(a, b).tolist())) == 2
