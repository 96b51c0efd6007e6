"""Scores of another system, joined to a role by request and item: every row once, whatever else the file holds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.measured import score_file
from evaluation.measured.score_file import read_scores
from evaluation.measured.scored_log import ScoredLog
from features import Dataset, InputError, Schema
from optimization.score_table import ScoreTable
from ranking import Ranker

DAY = 86400


def write(table: Any, path: Path) -> Path:
    table = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(table, path, row_group_size=100)
    return path


def a_log(folder: Path, *, integers: bool = True, **described: Any) -> Dataset:
    """Ten tune and two train requests of five items each; a null label; the last two requests are young."""
    rng = np.random.default_rng(0)
    request, item = np.divmod(np.arange(60), 5)
    click, save = rng.random(60) < 0.4, pd.array(rng.random(60) < 0.3, dtype="Int8")
    save[7] = None
    log = pd.DataFrame(
        {
            "request": request * 10 if integers else [f"r{r}" for r in request],
            "item": 2**60 + item if integers else [f"i{i}" for i in item],
            "click": click.astype(np.int8),
            "book": save,
            "hour": request * DAY,
            "keep": np.where(click, 1.0, 0.25),
            "role": np.where(request < 10, "tune", "train"),
        }
    )
    schema = {
        "name": "shop",
        "files": {"impressions": "log.parquet"},
        "columns": {"request": "request", "item": "item", "time": "hour", "keep_prob": "keep"},
        "heads": {"click": {}, "save": {"column": "book", "sign": -1}},
        "split": {"by": "column", "column": "role"},
        **described,
    }
    write(log, folder / "log.parquet")
    return Dataset(Schema.from_dict(schema), folder)


def scores_of(dataset: Dataset) -> pd.DataFrame:
    """A score for every row of the log, in another order; the smallest item first."""
    ids = dataset.table(None, ["request", "item"]).to_pandas()
    rng = np.random.default_rng(1)
    scores = ids.assign(model="v7", save=rng.random(len(ids)), click=rng.random(len(ids)))
    return scores.sample(frac=1.0, random_state=2, ignore_index=True)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("batch", [7, 10**6])
def test_scores_meet_the_rows_they_are_of(
    tmp_path: Path, integers: bool, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_file, "BATCH_ROWS", batch)
    dataset = a_log(tmp_path, integers=integers)
    scores = scores_of(dataset)
    table = ScoreTable.from_scores(write(scores, tmp_path / "scores.parquet"), dataset, "tune")
    log = dataset.table("tune", ["request", "item", "click", "book", "keep"]).to_pandas()
    expected = log.merge(scores.drop(columns="model"), on=["request", "item"], suffixes=("_label", ""))
    assert table.heads == ("click", "save")
    assert table.signs == (1, -1)
    assert table.name == "tune rows of shop"
    assert table.probabilities.tolist() == expected[["click", "save"]].to_numpy(np.float32).tolist()
    labels = log[["click", "book"]].to_numpy(np.float32, na_value=np.nan)
    assert np.array_equal(table.labels, labels, equal_nan=True)
    assert np.isnan(table.labels).sum() == 1
    assert table.row_weights is not None
    assert table.row_weights.tolist() == (1 / log["keep"]).tolist()
    assert table.requests.codes.tolist() == pd.factorize(log["request"])[0].tolist()


def test_a_rankers_own_scores_through_a_file_are_its_table(ranker: Ranker, world: Path, tmp_path: Path) -> None:
    """Several files in a folder, ids as dictionaries, half of the rows of other roles."""
    dataset = Dataset.open(world)
    rows = dataset.table(["tune", "test"])
    names = [dataset.schema.columns.request, dataset.schema.columns.item]
    scores = pa.Table.from_pandas(ranker.predict(rows), preserve_index=False)
    for name in names:
        scores = scores.append_column(name, rows[name].dictionary_encode())
    (tmp_path / "scores").mkdir()
    turned = scores.take(np.random.default_rng(3).permutation(len(scores)))
    write(turned.slice(0, 1000), tmp_path / "scores" / "a.parquet")
    write(turned.slice(1000), tmp_path / "scores" / "b.parquet")
    table = ScoreTable.from_scores(tmp_path / "scores", dataset, "tune")
    own = ScoreTable.from_ranker(ranker, dataset, "tune")
    assert table.fingerprint == own.fingerprint


def test_rows_that_are_shown_twice_share_their_score(tmp_path: Path) -> None:
    """[policy].duplicates = "keep": the log may repeat a pair, the file may not."""
    a_log(tmp_path)
    log = pq.read_table(tmp_path / "log.parquet")
    dataset = a_log(tmp_path, policy={"duplicates": "keep"})
    scores = scores_of(dataset)
    write(pa.concat_tables([log.slice(0, 3), log]), tmp_path / "log.parquet")
    repeated = Dataset(dataset.schema, tmp_path)
    table = ScoreTable.from_scores(write(scores, tmp_path / "scores.parquet"), repeated, "tune")
    assert table.rows == 53
    assert table.probabilities[:3].tolist() == table.probabilities[3:6].tolist()


def test_labels_that_are_not_final_are_missing(tmp_path: Path) -> None:
    """The log ends with request 11; after six days, those of requests 6 to 9 are not final."""
    dataset = a_log(tmp_path, heads={"click": {"maturity": "6d"}, "save": {"column": "book"}})
    table = ScoreTable.from_scores(write(scores_of(dataset), tmp_path / "scores.parquet"), dataset, "tune")
    assert np.isnan(table.labels[:, 0]).tolist() == [False] * 30 + [True] * 20


def test_other_rows_may_hold_anything(tmp_path: Path) -> None:
    """Unknown ids, a known request beside an unknown item, a pair of known ids that was not shown, other roles."""
    schema = a_log(tmp_path).schema
    log = pq.read_table(tmp_path / "log.parquet")
    write(log.take(np.delete(np.arange(60), 12)), tmp_path / "log.parquet")
    dataset = Dataset(schema, tmp_path)
    scores = scores_of(dataset)
    path = tmp_path / "scores.parquet"
    known = ScoreTable.from_scores(write(scores, path), dataset, "tune").fingerprint
    item = 2**60
    strange = pd.DataFrame(
        {"request": [-7, -7, 20, 20, 110, 110], "item": [1, 1, 1, item + 2, item, item], "click": [np.nan] * 6}
    )
    both = pd.concat([strange, scores[scores["request"] < 100], strange])
    assert ScoreTable.from_scores(write(both, path), dataset, "tune").fingerprint == known


def faults_of(scores: Any, dataset: Dataset, path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        ScoreTable.from_scores(write(scores, path), dataset, "tune")
    return [str(fault).removeprefix(f"{path}: ") for fault in caught.value.faults]


def test_every_fault_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    path = tmp_path / "scores.parquet"
    scores = scores_of(dataset).sort_values(["request", "item"], ignore_index=True)
    broken = scores.drop(index=[2, 3, 49]).reset_index(drop=True)
    broken.loc[5, "click"] = 1.5
    broken.loc[[6, 9], "save"] = [np.inf, -0.5]
    broken = pd.concat([broken, broken.iloc[[10, 11, 56]]])  # row 56 is of another role
    item = 2**60
    assert faults_of(broken, dataset, path) == [
        "must score every one of the 50 tune rows of shop: 3 of them have no score, the first being request 0, "
        f"item {item + 2}",
        "column `click`, row 5: a score must be a number within [0, 1], got 1.5",
        "column `save`, row 6: a score must be a number within [0, 1], got inf (2 rows; then row 9: -0.5)",
        f"column `request, item`, row 57: a request and item must be scored once, and these are there already, "
        f"got (20, {item + 2}) (2 rows; then row 58: (20, {item + 3}))",
    ]


def test_a_pair_repeated_in_a_later_batch_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_file, "BATCH_ROWS", 20)
    dataset = a_log(tmp_path)
    scores = scores_of(dataset).sort_values(["request", "item"], ignore_index=True)
    found = faults_of(pd.concat([scores, scores.iloc[[0, 1]]]), dataset, tmp_path / "scores.parquet")
    assert found == [
        f"column `request, item`, row 60: a request and item must be scored once, and these are there already, "
        f"got (0, {2**60}) (2 rows; then row 61: (0, {2**60 + 1}))"
    ]


def test_columns_are_checked_before_rows(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    path = tmp_path / "scores.parquet"
    scores = scores_of(dataset)
    assert faults_of(scores.drop(columns=["item", "save"]), dataset, path) == [
        "column `item`: is missing (the id that joins it to the log)",
        "column `save`: is missing (the scores of this head)",
    ]
    text = pa.array(["0.5"] * 60)
    strange = pa.table({"request": text, "item": scores["item"], "click": pa.array([0.5] * 60), "save": text})
    assert faults_of(strange, dataset, path) == [
        "column `request`: must be an id of the log's type int64, got string",
        "column `save`: must hold numbers, got string",
    ]


@pytest.mark.parametrize(("value", "shown"), [(None, ", got null"), (float("nan"), ", got nan")])
def test_null_and_nan_scores_are_no_numbers(tmp_path: Path, value: float | None, shown: str) -> None:
    dataset = a_log(tmp_path)
    scores = pa.Table.from_pandas(scores_of(dataset).sort_values("request"), preserve_index=False)
    column = pa.array([value, *scores["click"].to_pylist()[1:]])
    nulls = scores.set_column(scores.schema.get_field_index("click"), "click", column)
    found = faults_of(nulls, dataset, tmp_path / "scores.parquet")
    assert found == ["column `click`, row 0: a score must be a number within [0, 1]" + shown]


def test_what_is_no_file_or_no_role_is_refused(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.parquet: does not exist"):
        ScoreTable.from_scores(tmp_path / "nowhere.parquet", dataset, "tune")
    (tmp_path / "text.parquet").write_text("request,item,click\n")
    with pytest.raises(InputError, match=r"text\.parquet: cannot be read as Parquet"):
        ScoreTable.from_scores(tmp_path / "text.parquet", dataset, "tune")
    path = write(scores_of(dataset), tmp_path / "scores.parquet")
    with pytest.raises(InputError, match="never train"):
        ScoreTable.from_scores(path, dataset, "train")
    with pytest.raises(InputError, match="role 'test' has no rows"):
        ScoreTable.from_scores(path, dataset, "test")


def test_rows_that_are_in_no_log_are_counted(tmp_path: Path) -> None:
    """A note beside whole scores; beside missing ones it says why: the ids are probably other ones."""
    dataset = a_log(tmp_path)
    log = ScoredLog.read(dataset, "tune")
    scores = scores_of(dataset)
    path = write(scores, tmp_path / "scores.parquet")
    plain = read_scores(path, dataset, log)
    assert plain.notes == ()
    assert plain.heads == ("click", "save")
    assert plain.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    strange = scores.iloc[[0, 1, 2]].assign(request=[-7, -7, 20], item=[1, 2, 1])
    found = read_scores(write(pd.concat([scores, strange]), path), dataset, log)
    assert found.notes == (f"3 rows of {path} are not in the log; their scores were not used.",)
    assert found.fingerprint != plain.fingerprint
    tune = (scores["request"] < 100).to_numpy()
    other = scores.assign(request=np.where(tune & (scores["item"] == 2**60), scores["request"] + 1, scores["request"]))
    message = "must score every one of the 50 tune rows of shop: 10 of them have no score, the first being request 0, "
    assert faults_of(other, dataset, path) == [f"{message}item {2**60}; 10 rows of the file are not in the log at all"]


def test_an_id_that_is_null_is_named(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    scores = scores_of(dataset).sort_values(["request", "item"], ignore_index=True)
    broken = pd.concat([scores, scores.iloc[[3, 4]]], ignore_index=True)
    broken["request"] = broken["request"].astype("Int64")
    broken.loc[[60, 61], "request"] = None
    assert faults_of(broken, dataset, tmp_path / "scores.parquet") == [
        "column `request`, row 60: an id must not be null: its scores belong to no row, got null "
        "(2 rows; then row 61: null)"
    ]


def test_production_need_not_have_every_head(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    log = ScoredLog.read(dataset, "tune")
    scores = scores_of(dataset)
    path = write(scores.drop(columns="click"), tmp_path / "scores.parquet")
    found = read_scores(path, dataset, log, some_heads=True)
    assert found.heads == ("save",)
    assert found.notes == (f"{path} has no scores of click.",)
    both = read_scores(write(scores, tmp_path / "both.parquet"), dataset, log)
    assert np.array_equal(found.probabilities, both.of_heads(("save",)))
    with pytest.raises(InputError, match="column `click`: is missing"):
        read_scores(path, dataset, log)
    write(scores.drop(columns=["click", "save"]), path)
    with pytest.raises(InputError, match="column `click`: is missing") as caught:
        read_scores(path, dataset, log, some_heads=True)
    assert len(caught.value.faults) == 2


def test_a_column_that_is_nearly_a_head_is_no_missing_head(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    log = ScoredLog.read(dataset, "tune")
    path = write(scores_of(dataset).rename(columns={"click": "Click"}), tmp_path / "scores.parquet")
    with pytest.raises(InputError, match="column `click`: is missing, but there is `Click`"):
        read_scores(path, dataset, log, some_heads=True)
