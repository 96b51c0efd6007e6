"""Parquet to Parquet: the scores of `predict`, in any batch size, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import InputError
from ranking import Prepared, Ranker, score_parquet


@pytest.fixture(scope="module")
def log(prepared: Prepared, ranker: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of candidates in two row groups, with string columns that nothing reads."""
    columns = ["request_id", *ranker.encoders.required_columns(serving_position=False)]
    rows = prepared.dataset.table("test", list(dict.fromkeys(columns))).slice(0, 1000)
    rows = rows.append_column("note", pa.array(["x"] * len(rows)))
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    pq.write_table(rows, path, row_group_size=600)
    return path


@pytest.mark.parametrize("batch_rows", [64, 100_000])
def test_scores_are_those_of_predict(ranker: Ranker, log: Path, tmp_path: Path, batch_rows: int) -> None:
    counted: list[int] = []
    rows = score_parquet(ranker, log, tmp_path / "s.parquet", batch_rows=batch_rows, progress=counted.append)
    scores = pd.read_parquet(tmp_path / "s.parquet")
    candidates = pd.read_parquet(log)
    assert rows == len(scores) == sum(counted) == 1000
    assert list(scores.columns) == [
        "request_id", "item_id", "user_id", "position", "closeup", "click", "long_click", "save", "any", "utility",
    ]  # fmt: skip
    for key in ("request_id", "item_id"):
        assert scores[key].equals(candidates[key])
    np.testing.assert_allclose(scores[list(ranker.heads)], ranker.predict(candidates), rtol=1e-5)
    np.testing.assert_allclose(scores["utility"], ranker.utility.score(ranker.predict(candidates)), rtol=1e-5)


def test_bfloat16_is_close(ranker: Ranker, log: Path, tmp_path: Path) -> None:
    score_parquet(ranker, log, tmp_path / "s.parquet", precision="bfloat16")
    scores = pd.read_parquet(tmp_path / "s.parquet")[list(ranker.heads)].to_numpy()
    exact = ranker.predict(pd.read_parquet(log)).to_numpy()
    assert 0 < np.abs(np.log(scores / exact)).max() < 0.1


def test_the_single_head_writes_its_score(importance: Ranker, log: Path, tmp_path: Path) -> None:
    score_parquet(importance, log, tmp_path / "s.parquet")
    assert pq.read_schema(tmp_path / "s.parquet").names[-1] == "score"


def test_trees_write_the_same_columns(trees: Ranker, ranker: Ranker, log: Path, tmp_path: Path) -> None:
    score_parquet(trees, log, tmp_path / "t.parquet")
    score_parquet(ranker, log, tmp_path / "r.parquet")
    assert pq.read_schema(tmp_path / "t.parquet").names == pq.read_schema(tmp_path / "r.parquet").names


def test_a_failure_half_way_leaves_nothing(ranker: Ranker, log: Path, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_parquet(ranker, log, tmp_path / "s.parquet", batch_rows=100, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_log_is_named_and_nothing_is_written(ranker: Ranker, log: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(log.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"broken\.parquet"):
        score_parquet(ranker, broken, tmp_path / "s.parquet")
    assert list(tmp_path.iterdir()) == [broken]


def test_missing_columns_and_files_are_named(ranker: Ranker, log: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(log, columns=["request_id"]), tmp_path / "few.parquet")
    with pytest.raises(InputError, match="item_id"):
        score_parquet(ranker, tmp_path / "few.parquet", tmp_path / "s.parquet")
    with pytest.raises(InputError, match=r"absent\.parquet"):
        score_parquet(ranker, tmp_path / "absent.parquet", tmp_path / "s.parquet")
    with pytest.raises(InputError, match="item_id"):
        score_parquet(ranker, tmp_path / "few.parquet", tmp_path / "new" / "s.parquet")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="is a folder"):
        score_parquet(ranker, log, tmp_path)
    with pytest.raises(InputError, match="is the log itself"):
        score_parquet(ranker, log, log)
    assert not (tmp_path / "s.parquet").exists()


def test_every_file_of_a_log_is_checked_before_the_first_row(ranker: Ranker, log: Path, tmp_path: Path) -> None:
    """File and column of everything that is missing or of another type; wrong values with file and row."""
    folder = tmp_path / "log"
    folder.mkdir()
    table = pq.read_table(log)
    pq.write_table(table, folder / "a.parquet")
    pq.write_table(table.drop_columns("item_id"), folder / "b.parquet")
    strings = pa.array([str(v) for v in table["request_id"].to_pylist()])
    at = table.column_names.index("request_id")
    pq.write_table(table.set_column(at, "request_id", strings), folder / "c.parquet")
    with pytest.raises(InputError) as caught:
        score_parquet(ranker, folder, tmp_path / "s.parquet")
    message = str(caught.value)
    assert "b.parquet: column `item_id`: is missing" in message
    assert "c.parquet: column `request_id`" in message
    assert not (tmp_path / "s.parquet").exists()


def test_a_wrong_type_names_its_file(ranker: Ranker, log: Path, tmp_path: Path) -> None:
    table = pq.read_table(log)
    at = table.column_names.index("position")
    path = tmp_path / "odd.parquet"
    pq.write_table(table.set_column(at, "position", pa.array(["x"] * len(table))), path)
    with pytest.raises(InputError, match=r"odd\.parquet: column `position`"):
        score_parquet(ranker, path, tmp_path / "s.parquet", logged_position=True)
