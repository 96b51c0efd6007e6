"""Slices by columns of a data set: the rows are those that are scored, whatever table a column is in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.measured.scored_log import ScoredLog
from evaluation.slicing.slice_columns import read_slices
from features import Dataset, Encoders, InputError, Schema, encode_log

DAY = 86400
ROWS = 60


def a_log(folder: Path, **described: Any) -> Dataset:
    """Twelve requests of five items, one per day; the last four are test requests, the rest calibrate ones."""
    rng = np.random.default_rng(0)
    request, item = np.divmod(np.arange(ROWS), 5)
    log = pd.DataFrame(
        {
            "request": request,
            "item": [f"i{i}" for i in item],
            "user": request % 3,
            "rank": item + 1,
            "hour": request * DAY,
            "platform": pd.array(rng.choice(["web", "app"], ROWS), dtype="string"),
            "price": rng.normal(100.0, 20.0, ROWS).round(6),
            "both": rng.integers(0, 2, ROWS),
            "tags": [["a"]] * ROWS,
            "shelf": np.arange(ROWS) % 20,
            "click": (rng.random(ROWS) < 0.4).astype(np.int8),
            "keep": np.ones(ROWS),
            "role": np.where(request >= 8, "test", "calibrate"),
        }
    )
    log.loc[50, "platform"] = None
    items = pd.DataFrame({"item": ["i4", "i3", "i2", "i0"], "city": ["Rome", "Oslo", "Rome", "Oslo"], "both": 1})
    log.to_parquet(folder / "log.parquet", index=False)
    items.to_parquet(folder / "items.parquet", index=False)
    pd.DataFrame({"user": [0, 1, 2], "segment": [True, False, True]}).to_parquet(folder / "users.parquet", index=False)
    schema = {
        "name": "shop",
        "files": {"impressions": "log.parquet", "items": "items.parquet", "users": "users.parquet"},
        "columns": {"request": "request", "item": "item", "user": "user", "time": "hour", "keep_prob": "keep"},
        "position": {"column": "rank"},
        "heads": {"click": {}},
        "split": {"by": "column", "column": "role"},
        **described,
    }
    return Dataset(Schema.from_dict(schema), folder)


def names_of(dataset: Dataset, role: str, column: str) -> list[str]:
    [slices] = read_slices(dataset, role, [column])
    assert slices.column == column
    return [slices.names[code] for code in slices.codes]


def test_every_row_is_in_the_slice_of_its_value(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    rows = dataset.table("test", ["platform", "rank", "items.city", "segment"]).to_pandas()
    assert names_of(dataset, "test", "platform") == rows["platform"].fillna("missing").tolist()
    assert names_of(dataset, "test", "position") == rows["rank"].astype(str).tolist()
    assert names_of(dataset, "test", "city") == rows["items.city"].fillna("missing").tolist()
    assert names_of(dataset, "test", "items.city") == names_of(dataset, "test", "city")
    assert names_of(dataset, "test", "users.segment") == rows["segment"].astype(str).str.lower().tolist()
    assert [len(s.names) for s in read_slices(dataset, "test", ["price", "platform", "price"])] == [5, 3]


def test_numbers_that_are_declared_categorical_are_names(tmp_path: Path) -> None:
    columns = {"request": "request", "item": "item", "user": "user", "time": "hour", "keep_prob": "keep"}
    declared = a_log(tmp_path, columns=columns | {"categorical": ["shelf"]})
    [as_names] = read_slices(declared, "test", ["shelf"])
    assert as_names.names[-1] == "other (8 values)"
    assert set(as_names.names[:-1]) < {str(number) for number in range(20)}
    [as_numbers] = read_slices(a_log(tmp_path), "test", ["shelf"])
    assert len(as_numbers.names) == 5
    assert all(" to " in name for name in as_numbers.names)


def test_expected_values_are_listed_where_no_row_has_them(tmp_path: Path) -> None:
    [slices] = read_slices(a_log(tmp_path), "test", ["platform"], {"platform": ("tv", "web")})
    assert set(slices.names) == {"web", "app", "tv", "missing"}
    assert slices.rows()[slices.names.index("tv")] == 0


def test_the_rows_are_those_that_are_scored(tmp_path: Path) -> None:
    """Roles that are fitted to lose rows younger than the maturity: the slices lose the same ones."""
    dataset = a_log(tmp_path, heads={"click": {"maturity": "5d"}})
    for role, rows in (("calibrate", 35), ("test", 20)):
        log = ScoredLog.read(dataset, role)
        encoded = encode_log(dataset, Encoders.fit(dataset), role, serving_position=True)
        assert len(log) == rows == len(encoded)
        assert len(names_of(dataset, role, "platform")) == rows
        assert np.array_equal(log.labels, encoded.labels.numpy(), equal_nan=True)
        assert log.requests.codes.tolist() == encoded.requests.tolist()
        assert log.times is not None
        assert log.times.tolist() == dataset.table(role, ["hour"])["hour"].to_numpy()[:rows].tolist()
        expected = dataset.table(role, ["platform"]).to_pandas()["platform"].fillna("missing").tolist()[:rows]
        assert names_of(dataset, role, "platform") == expected


def test_what_is_no_slice_is_refused_all_at_once(tmp_path: Path) -> None:
    dataset = a_log(tmp_path)
    columns = ["plattform", "click", "keep", "tags", "both", "items.town", "platform"]
    with pytest.raises(InputError) as caught:
        read_slices(dataset, "test", columns, {"platform": ("web",), "price": ("1",)})
    faults = {fault.column: fault.message for fault in caught.value.faults}
    assert set(faults) == {*columns, "price"} - {"platform"}
    assert faults["plattform"].startswith("there is no such column; there are position, request, item")
    assert "items.city" in faults["plattform"]
    assert "click" not in faults["plattform"]
    assert faults["items.town"].startswith("there is no such column")
    assert all("known before the outcome" in faults[name] for name in ("click", "keep"))
    assert "one value per row" in faults["tags"]
    assert "items.both" in faults["both"]
    assert "no slices of it are asked for" in faults["price"]


def test_a_log_without_position_has_no_slices_of_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no position is declared; there are request"):
        read_slices(a_log(tmp_path, position=None), "test", ["position"])


def test_moments_are_dates_where_they_can_be() -> None:
    def log(times: list[float] | None) -> ScoredLog:
        parts = dict.fromkeys(ScoredLog.__dataclass_fields__) | {"labels": np.zeros((2, 1))}
        return ScoredLog(**parts | {"times": None if times is None else np.array(times)})  # type: ignore[arg-type]

    assert log(None).moments is None
    dates = log([1_541_690_000.0, 1_541_690_060.5]).moments
    assert dates is not None
    assert dates.astype(str).tolist() == ["2018-11-08T15:13:20", "2018-11-08T15:14:20"]
    days = log([0.0, 27.0]).moments
    assert days is not None
    assert days.tolist() == [0.0, 27.0]
