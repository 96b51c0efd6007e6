"""The drafted dataset.toml: right about plain logs, careful about outcomes, and always a schema that loads."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import Dataset
from features.draft import draft_schema, head_names
from features.errors import InputError
from features.schema import Schema
from features.schema_rules import head_name_problems

TRIVAGO = Path(__file__).parents[2].parent / "shared" / "data" / "trivago_impressions"
needs_trivago = pytest.mark.skipif(not TRIVAGO.is_dir(), reason=f"the trivago log is not at {TRIVAGO}")


def shop_log(requests: int = 300, per_request: int = 10, seed: int = 0) -> pd.DataFrame:
    """A clean log with a part for everything: implied heads, outcomes in disguise, lists, ids, constants."""
    rng = np.random.default_rng(seed)
    n = requests * per_request
    request = np.repeat(np.arange(requests), per_request)
    item = np.concatenate([rng.choice(80, per_request, replace=False) for _ in range(requests)])
    click = (rng.random(n) < 0.2).astype(np.int8)
    long_click = click * (rng.random(n) < 0.5)
    return pd.DataFrame(
        {
            "request_id": request,
            "session_id": request // 2,
            "product_id": item + 5_000_000_000,
            "user_id": [f"u{r % 50}" for r in request],
            "timestamp": 1_600_000_000 + request * 60,
            "position": np.tile(np.arange(1, per_request + 1), requests),
            "price": rng.normal(50, 10, n),
            "discounted": (item % 2).astype(np.int8),  # belongs to the item: a feature
            "mobile": (request % 3 == 0).astype(np.int8),  # belongs to the request: a feature
            "country": [["fr", "de", "nl"][r % 3] for r in request],
            "category_code": item % 7,
            "filters": [["pool", "wifi"][: r % 3] for r in request],
            "embedding": [[0.5, 1.5]] * n,
            "click": click,
            "long_click": long_click.astype(np.int8),
            "hide": (rng.random(n) < 0.05).astype(np.int8),
            "n_clicks": click * rng.integers(1, 4, n),
            "dwell_seconds": np.where(click == 1, rng.random(n) * 60, np.nan),
            "true_click": rng.random(n),
            "site": "main",
        }
    )


def draft(folder: Path, frame: pd.DataFrame | pa.Table) -> tuple[str, Schema]:
    """The draft for a log, and the schema that it loads as; a clean log passes it."""
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, folder / "impressions.parquet")
    text = draft_schema(folder / "impressions.parquet")
    (folder / "dataset.toml").write_text(text)
    return text, Schema.load(folder / "dataset.toml")


def left_out(text: str) -> dict[str, str]:
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#     ")]
    return {name.strip('"'): why for name, _, why in (line.partition(": ") for line in lines)}


def test_every_part_of_a_plain_log_is_recognised(tmp_path: Path) -> None:
    text, schema = draft(tmp_path, shop_log())
    c = schema.columns
    assert (c.request, c.item, c.user, c.time) == ("request_id", "product_id", "user_id", "timestamp")
    assert schema.position is not None
    assert schema.position.column == "position"
    assert schema.head_names == ["click", "long_click", "hide"]
    assert schema.parent("long_click") == "click"
    assert schema.parent("hide") is None
    assert [head.sign for head in schema.heads.values()] == [1, 1, -1]
    assert set(c.categorical) == {"product_id", "country", "category_code", "filters"}
    assert set(c.numeric) == {"price", "discounted", "mobile"}
    assert schema.split.by == "time"
    assert set(left_out(text)) == {"session_id", "n_clicks", "dwell_seconds", "true_click", "site", "embedding"}
    report = Dataset.open(tmp_path).validate()
    assert report.ok, [str(fault) for fault in report.faults]


def test_outcomes_in_disguise_are_left_out_and_the_reason_is_said(tmp_path: Path) -> None:
    reasons = left_out(draft(tmp_path, shop_log())[0])
    for name in ("n_clicks", "dwell_seconds"):
        assert "looks like an outcome/count: set only where `click` is 1" in reasons[name]


def test_every_guess_says_why(tmp_path: Path) -> None:
    text, _ = draft(tmp_path, shop_log())
    for line in text.splitlines():
        if line.startswith(("request", "item", "user", "time", "column", "implies", "sign", "    ", "[heads", "by")):
            assert "  # " in line


@pytest.mark.parametrize(("unit", "rate"), [("row", 0.25), ("request", 0.1)])
def test_the_rate_and_unit_of_sampling_are_read_from_keep_prob(tmp_path: Path, unit: str, rate: float) -> None:
    frame = shop_log(per_request=4)
    engaged = frame[["click", "long_click", "hide"]].max(axis=1)
    if unit == "request":
        engaged = engaged.groupby(frame.request_id).transform("max")
    frame["keep_prob"] = np.where(engaged == 1, 1.0, rate).astype(np.float32)
    _, schema = draft(tmp_path, frame)
    assert schema.sampling is not None
    assert (schema.sampling.unit, schema.sampling.negative_rate) == (unit, rate)
    assert Dataset.open(tmp_path).validate().ok


def test_roles_that_were_not_sampled_are_seen(tmp_path: Path) -> None:
    frame = shop_log()
    frame["role"] = np.array(["train", "calibrate", "tune", "test"])[frame.request_id % 4]
    engaged = frame[["click", "long_click", "hide"]].max(axis=1) == 1
    frame["keep_prob"] = np.where(engaged | (frame.role != "train"), 1.0, 0.5)
    _, schema = draft(tmp_path, frame)
    assert schema.sampling is not None
    assert (schema.sampling.negative_rate, schema.sampling.roles) == (0.5, ("train",))
    assert Dataset.open(tmp_path).validate().ok


def test_keep_probabilities_of_no_single_rate_declare_none(tmp_path: Path) -> None:
    frame = shop_log()
    frame["keep_prob"] = np.random.default_rng(0).uniform(0.2, 1.0, len(frame))
    text, schema = draft(tmp_path, frame)
    assert schema.sampling is None
    assert schema.columns.keep_prob == "keep_prob"
    assert "follows no single rate" in text


def test_a_faulty_log_is_drafted_all_the_same_so_that_its_faults_can_be_listed(tmp_path: Path) -> None:
    frame = shop_log().astype({"click": float})
    child = int(np.flatnonzero(frame.long_click)[0])
    frame.loc[child, "click"] = 0.0
    frame.loc[7, ["click", "long_click"]] = 2.0
    frame.loc[8, "position"] = 0
    _, schema = draft(tmp_path, frame)
    assert schema.head_names == ["click", "long_click", "hide"]
    assert schema.parent("long_click") == "click"
    found = {(fault.column, fault.row) for fault in Dataset.open(tmp_path).validate().faults}
    assert found == {("click", 7), ("long_click", 7), ("position", 8), ("long_click", child)}


def test_a_folder_brings_its_side_tables(tmp_path: Path) -> None:
    frame = shop_log()
    items = np.unique(frame.product_id)
    side = {"product_id": items, "stars": items % 5, "country": ["x", "y"] * (len(items) // 2), "brand": 1}
    pq.write_table(pa.table(pd.DataFrame(side)), tmp_path / "items.parquet")
    pq.write_table(pa.table({"user": ["u1"], "age": [30]}), tmp_path / "users.parquet")  # its key has another name
    flat = pa.array(np.ones(2 * len(items), np.float32))
    vectors = pa.table({"product_id": items, "vector": pa.FixedSizeListArray.from_arrays(flat, 2)})
    pq.write_table(vectors, tmp_path / "vectors.parquet")
    frame["query_product_id"] = frame.product_id.iloc[0] + frame.request_id % 5
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "impressions.parquet")
    text = draft_schema(tmp_path)
    (tmp_path / "dataset.toml").write_text(text)
    schema = Schema.load(tmp_path / "dataset.toml")
    assert schema.files.items == ("items.parquet",)
    assert schema.files.users is None
    assert "users.parquet is left out" in text
    assert schema.files.vectors == "vectors.parquet"
    assert schema.columns.query_item == "query_product_id"
    assert "stars" in schema.columns.numeric
    assert "items.country" in schema.columns.categorical
    assert left_out(text)["items.brand"] == "the same value in every row"
    assert "impressions.country" in schema.columns.categorical
    report = Dataset.open(tmp_path).validate()
    assert report.ok, [str(fault) for fault in report.faults]


def test_roles_in_a_column_are_the_split(tmp_path: Path) -> None:
    frame = shop_log()
    frame["split"] = np.array(["train", "calibrate", "tune", "test"])[frame.request_id % 4]
    _, schema = draft(tmp_path, frame)
    assert (schema.split.by, schema.split.column) == ("column", "split")
    assert "split" not in schema.feature_columns


def test_strange_names_are_quoted(tmp_path: Path) -> None:
    frame = shop_log().rename(columns={"click": 'cl"ick me', "price": "pri\nce = [1]", "country": "pays é.x"})
    _, schema = draft(tmp_path, frame)
    assert schema.heads["cl_ick_me"].column == 'cl"ick me'
    assert schema.parent("long_click") == "cl_ick_me"
    assert {"pri\nce = [1]", "pays é.x"} <= set(schema.feature_columns)
    assert Dataset.open(tmp_path).validate().ok


def test_columns_that_cannot_name_a_head_get_a_name() -> None:
    columns = ["save_naive", "add to cart", "add-to-cart", "click", "utility_x", "9th"]
    names = head_names(columns, ["item_id"])
    assert list(names) == columns
    assert len(set(names.values())) == len(columns)
    assert names["click"] == "click"
    assert not any(head_name_problems(name, ["item_id"]) for name in names.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"product_id": "x"}, "no column looks like an item id"),
        ({"request_id": "x", "session_id": "y"}, "no column looks like a request id"),
    ],
)
def test_what_is_no_ranking_log_is_refused_in_words(tmp_path: Path, change: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        draft(tmp_path, shop_log(20).rename(columns=change))


def test_a_log_without_engagement_or_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no 0/1 column looks like an engagement"):
        draft(tmp_path, shop_log(20)[["request_id", "product_id", "price"]])
    with pytest.raises(InputError, match="holds no rows"):
        draft(tmp_path, pa.Table.from_pandas(shop_log(20)).slice(0, 0))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"log\.parquet: cannot be read as Parquet"):
        draft_schema(tmp_path / "log.parquet")


def trivago_draft(name: str) -> tuple[dict[str, Any], str, Dataset]:
    text = draft_schema(TRIVAGO / name)
    data = tomllib.loads(text)
    return data, text, Dataset(Schema.from_dict(data), TRIVAGO)


@needs_trivago
def test_the_trivago_session_items() -> None:
    data, text, dataset = trivago_draft("session_items.parquet")
    assert (data["columns"]["request"], data["columns"]["item"]) == ("session_id", "item_id")
    assert data["position"]["column"] == "position"
    assert set(data["heads"]) == {"click", "closeup", "detail", "deals", "reclick", "searched"}
    assert {name: head["implies"] for name, head in data["heads"].items() if head} == {"reclick": "click"}
    assert data["columns"]["numeric"] == ["price"]
    assert set(left_out(text)) == {"list_id", "n_click", "times_shown"}
    assert "gives the label away" in left_out(text)["n_click"]
    assert "outcome/count" in left_out(text)["times_shown"]
    report = dataset.validate()
    assert report.ok
    assert report.heads["click"].positives == 11_690


@needs_trivago
def test_the_trivago_impressions() -> None:
    data, text, dataset = trivago_draft("impressions.parquet")
    assert (data["columns"]["request"], data["columns"]["time"]) == ("list_id", "timestamp")
    assert list(data["heads"]) == ["clickout"]
    after = {f"{kind}_after" for kind in ("image", "info", "rating", "deals", "search", "clickout")}
    assert after <= set(left_out(text))
    assert not after & set(data["columns"]["numeric"])
    assert dataset.validate().ok
