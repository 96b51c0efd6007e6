"""dataset.toml -> Schema: what it means, and every fault of structure and of sense at once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from features.schema import DEFAULT_FRACTIONS, ROLES, Schema, parse_duration
from features.schema_rules import same_column

FULL = """
name = "trivago"
[files]
impressions = ["a.parquet", "b/*.parquet"]
items = "items.parquet"
users = "users.parquet"
vectors = "vectors.parquet"
[columns]
request = "request_id"
item = "item_id"
user = "user_id"
time = "timestamp"
query_item = "query_item_id"
keep_prob = "keep_prob"
propensity = "propensity"
categorical = ["device", "item_id", "filters"]
numeric = ["price"]
holdout = ["star"]
[position]
column = "position"
serving_value = 2
[heads.click]
[heads.long_click]
column = "long"
implies = "click"
maturity = "24h"
[heads.hide]
sign = -1
[sampling]
negative_rate = 0.1
unit = "request"
protected_by = ["click", "saved"]
roles = ["train"]
[split]
by = "time"
fractions = { train = 0.8, test = 0.2 }
[policy]
duplicates = "drop"
missing = "nan"
"""


def minimal(**parts: Any) -> dict[str, Any]:
    """A sound schema as a dictionary, with `parts` replaced or, when they are tables, extended."""
    data: dict[str, Any] = {
        "files": {"impressions": "log.parquet"},
        "columns": {"request": "request_id", "item": "item_id"},
        "heads": {"click": {}},
    }
    for name, part in parts.items():
        data[name] = {**data[name], **part} if isinstance(part, dict) and name in data else part
    return data


def faults_of(data: dict[str, Any]) -> dict[str | None, str]:
    with pytest.raises(InputError) as caught:
        Schema.from_dict(data, "dataset.toml")
    assert all(fault.file == "dataset.toml" for fault in caught.value.faults)
    return {fault.key: fault.message for fault in caught.value.faults}


def test_every_part_of_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(FULL)
    schema = Schema.load(path)
    assert schema.files.impressions == ("a.parquet", "b/*.parquet")
    assert schema.head_names == ["click", "long_click", "hide"]
    assert schema.label_columns == ["click", "long", "hide"]
    assert schema.parent("long_click") == "click"
    assert schema.parent("click") is None
    assert schema.heads["long_click"].maturity_seconds == 24 * 3600
    assert schema.heads["click"].maturity_seconds is None
    assert schema.heads["hide"].sign == -1
    assert schema.position is not None
    assert schema.position.serving_value == 2
    assert schema.sampling is not None
    assert (schema.sampling.unit, schema.sampling.roles) == ("request", ("train",))
    assert schema.protected_by == ["click", "saved"]
    assert schema.split.shares == (0.8, 0.0, 0.0, 0.2)
    assert (schema.policy.duplicates, schema.policy.missing) == ("drop", "nan")
    assert schema.feature_columns == ["device", "item_id", "filters", "price"]
    assert {"saved", "star", "long", "position", "timestamp"} <= set(schema.named_columns)
    assert len(schema.named_columns) == len(set(schema.named_columns))


def test_a_schema_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(FULL)
    schema = Schema.load(path)
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_defaults() -> None:
    schema = Schema.from_dict(minimal())
    assert schema.split.by == "request"
    assert schema.split.shares == tuple(DEFAULT_FRACTIONS[role] for role in ROLES)
    assert schema.protected_by == ["click"]
    assert schema.position is None
    assert Schema.from_dict(minimal(columns={"time": "t"})).split.by == "time"
    sampled = minimal(columns={"keep_prob": "k"}, sampling={"negative_rate": 0.1})
    assert Schema.from_dict(sampled).sampling.roles == ROLES  # type: ignore[union-attr]


def test_a_schema_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Schema.from_dict(minimal()).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"foo": 1}, "[foo]", "not a key"),
        ({"columns": {"reqest": "r"}}, "[columns].reqest", "not a key"),
        ({"files": {"impressions": 3}}, "[files].impressions", "got 3"),
        ({"heads": {}, "drop": "heads"}, "[heads]", "is missing"),
        ({"drop": "columns"}, "[columns].item", "is missing"),
        ({"heads": {"long": {"implies": "clack"}}}, "[heads.long].implies", "unknown head `clack`"),
        ({"heads": {"a": {"implies": "b"}, "b": {"implies": "a"}}}, "[heads.a].implies", "circle: a -> b -> a"),
        ({"heads": {"click": {"implies": ["click"]}}}, "[heads.click].implies", "circle: click -> click"),
        ({"heads": {"click": {"sign": 2}}}, "[heads.click].sign", "1 or -1, got 2"),
        ({"heads": {"click": {"maturity": "1 day"}}}, "[heads.click].maturity", "'1 day'"),
        ({"heads": {"click": {"maturity": "1d"}}}, "[heads.click].maturity", "needs [columns].time"),
        ({"heads": {"save": {"column": "click"}}}, "[heads.save].column", "already [heads.click].column"),
        ({"columns": {"holdout": ["star"], "numeric": ["star"]}}, "[columns].numeric", "hold-out"),
        ({"columns": {"holdout": ["star"], "numeric": ["items.star"]}}, "[columns].numeric", "hold-out"),
        ({"columns": {"holdout": ["click"]}}, "[columns].holdout", "already [heads.click].column"),
        ({"columns": {"categorical": ["click"]}}, "[columns].categorical", "label of head `click`"),
        ({"columns": {"keep_prob": "k", "numeric": ["k"]}}, "[columns].numeric", "keep probability"),
        ({"columns": {"propensity": "p", "numeric": ["p"]}}, "[columns].numeric", "propensity"),
        ({"position": {"column": "pos"}, "columns": {"numeric": ["pos"]}}, "[columns].numeric", "[position]"),
        ({"columns": {"numeric": ["x"], "categorical": ["x"]}}, "[columns].numeric", "listed twice"),
        ({"columns": {"item": "request_id"}}, "[columns].item", "already [columns].request"),
        ({"columns": {"query_item": "q"}}, "[columns].query_item", "[files].vectors"),
        ({"files": {"users": "u.parquet"}}, "[files].users", "[columns].user"),
        ({"position": {"column": "p", "serving_value": 0}}, "[position].serving_value", "got 0"),
        ({"sampling": {"negative_rate": 0.0}}, "[sampling].negative_rate", "got 0.0"),
        ({"sampling": {"negative_rate": 1.5}}, "[sampling].negative_rate", "got 1.5"),
        ({"sampling": {}}, "[sampling]", "got neither"),
        ({"sampling": {"negative_rate": 1.0, "negative_rate_column": "r"}}, "[sampling]", "got both"),
        ({"sampling": {"negative_rate": 1.0, "protected_by": []}}, "[sampling].protected_by", "got none"),
        ({"sampling": {"negative_rate": 1.0, "roles": []}}, "[sampling].roles", "got none"),
        ({"sampling": {"negative_rate": 1.0, "roles": ["prod"]}}, "[sampling].roles", "'prod'"),
        ({"sampling": {"negative_rate": 1.0, "unit": "page"}}, "[sampling].unit", "'page'"),
        ({"sampling": {"negative_rate": 0.1}}, "[columns].keep_prob", "rows need weights"),
        ({"sampling": {"negative_rate_column": "click"}}, "[sampling].negative_rate_column", "before the outcome"),
        ({"split": {"by": "time"}}, "[split].by", "needs [columns].time"),
        ({"split": {"by": "moon"}}, "[split].by", "'moon'"),
        ({"split": {"by": "column"}}, "[split].column", "got none"),
        ({"split": {"by": "item", "column": "role"}}, "[split].column", "read only when"),
        ({"split": {"fractions": {"train": 0.5}}}, "[split].fractions", "sum to 1, got 0.5"),
        ({"split": {"fractions": {"prod": 1.0}}}, "[split].fractions.prod", "'prod'"),
        ({"policy": {"duplicates": "ignore"}}, "[policy].duplicates", "'ignore'"),
    ],
)
def test_each_fault_says_its_place(change: dict[str, Any], key: str, words: str) -> None:
    change = copy.deepcopy(change)
    dropped = change.pop("drop", None)
    data = minimal(**change)
    data.pop(dropped, None)
    faults = faults_of(data)
    assert key in faults
    assert words in faults[key]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("any", "have another meaning"),
        ("utility", "have another meaning"),
        ("score", "have another meaning"),
        ("rank", "have another meaning"),
        ("utility_click", "have another meaning"),
        ("click_sampled", "stages of another head"),
        ("click_naive", "stages of another head"),
        ("click_corrected", "stages of another head"),
        ("add-to-cart", "letters, digits and underscores"),
        ("2nd", "letters, digits and underscores"),
        ("clíck", "letters, digits and underscores"),
        ("click\n", "letters, digits and underscores"),
        ("", "letters, digits and underscores"),
        ("request_id", "stands beside it"),
        ("item_id", "stands beside it"),
        ("user_id", "stands beside it"),
        ("place", "stands beside it"),
    ],
)
def test_names_that_no_head_may_have(name: str, words: str) -> None:
    parts = {"columns": {"user": "user_id"}, "position": {"column": "place"}}
    message = faults_of(minimal(heads={name: {"column": "label"}}, **parts))["[heads]"]
    assert message.startswith(f"{name!r} cannot name a head")
    assert words in message


def test_names_that_only_look_reserved() -> None:
    names = ["anyhow", "rank2", "scores", "naive", "sampled_click", "_x", "Utility", "my_utility_x"]
    schema = Schema.from_dict(minimal(heads={name: {} for name in names}))
    assert schema.head_names == ["click", *names]


def test_all_head_names_at_fault_are_named_at_once_with_what_else_is_wrong() -> None:
    data = minimal(heads={"any": {"sign": 5}, "utility_naive": {"column": "u"}, "item_id": {"column": "i"}})
    with pytest.raises(InputError) as caught:
        Schema.from_dict(data)
    messages = [fault.message for fault in caught.value.faults if fault.key == "[heads]"]
    assert [message.split()[0] for message in messages] == ["'any'", "'utility_naive'", "'utility_naive'", "'item_id'"]
    assert any(fault.key == "[heads.any].sign" for fault in caught.value.faults)


def test_dictionaries_survive_json_and_tell_edits_from_layout(tmp_path: Path) -> None:
    """The same meaning in another layout gives the same text; any edit, also of the heads' order, another one."""
    path = tmp_path / "dataset.toml"

    def text(toml: str) -> str:
        path.write_text(toml)
        described = Schema.load(path).to_dict()
        assert json.loads(json.dumps(described)) == described
        assert Schema.from_dict(json.loads(json.dumps(described))).to_dict() == described
        return json.dumps(described)

    said = text(FULL)
    assert text(FULL.replace("train = 0.8, test = 0.2", "test = 0.2, train = 0.8")) == said
    assert text(FULL.replace('implies = "click"', 'implies = ["click"]\nsign = 1')) == said
    for old, new in [("0.1", "0.2"), ("24h", "48h"), ('"price"', '"price", "age"'), ('"drop"', '"keep"')]:
        assert text(FULL.replace(old, new)) != said
    swapped = FULL.replace("[heads.click]\n", "").replace("[sampling]", "[heads.click]\n[sampling]")
    assert text(swapped) != said


def test_a_protecting_outcome_cannot_be_a_feature() -> None:
    sampling = {"negative_rate": 1.0, "protected_by": ["saved"]}
    data = minimal(sampling=sampling, columns={"numeric": ["saved"]})
    assert "protects rows" in faults_of(data)["[columns].numeric"]


def test_all_faults_of_structure_and_of_sense_come_at_once() -> None:
    data = minimal(
        foo=1,
        columns={"numeric": ["click"], "holdout": 4},
        heads={"long": {"implies": "clack", "sign": 5}},
        sampling={"negative_rate": 2.0},
        split={"by": "time"},
    )
    assert set(faults_of(data)) == {
        "[foo]",
        "[columns].holdout",
        "[heads.long].sign",
        "[sampling].negative_rate",
        "[columns].numeric",
        "[heads.long].implies",
        "[split].by",
    }


def test_what_was_taken_out_to_go_on_is_no_fault_of_its_own() -> None:
    faults = faults_of(minimal(sampling={"negative_rate": 2.0}, split={"fractions": {"train": "x", "test": 0.5}}))
    assert set(faults) == {"[sampling].negative_rate", "[split].fractions.train"}


def test_a_toml_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text('name = "a"\n[files\n')
    with pytest.raises(InputError, match=r"dataset\.toml: line 2: is not valid TOML"):
        Schema.load(path)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: cannot be read: No such file"):
        Schema.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.toml: is not UTF-8"):
        Schema.load(tmp_path / "binary.toml")


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(0, 2)
    | st.sampled_from(["", "click", "time", "x", "2d"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["column", "implies", "by"]), inner),
    max_leaves=4,
)
KEYS = ["files", "columns", "heads", "position", "sampling", "split", "policy", "name", "junk"]
PARTS = [
    "impressions",
    "request",
    "item",
    "time",
    "numeric",
    "click",
    "long",
    "column",
    "negative_rate",
    "by",
    "fractions",
]


@given(st.dictionaries(st.sampled_from(KEYS), JUNK | st.dictionaries(st.sampled_from(PARTS), JUNK, max_size=4)))
def test_whatever_a_toml_holds_gives_a_schema_or_an_input_error(data: dict[str, Any]) -> None:
    try:
        schema = Schema.from_dict(data)
    except InputError as error:
        said = str(error)
    else:
        described = schema.to_dict()
        again = Schema.from_dict(json.loads(json.dumps(described)))
        said = "" if again == schema and again.to_dict() == described else "does not survive to_dict"
    assert "\0" not in said
    assert said != "does not survive to_dict"


PHOTOS = (
    FULL.replace("[columns]", 'photos = ["photos.parquet"]\n[columns]')
    + """
[gallery]
image = "jpeg"
max_photos = 12
[gallery.tasks]
binary = ["pool"]
log = ["rate"]
"""
)


def test_the_gallery_is_kept_and_is_no_part_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(PHOTOS)
    schema = Schema.load(path)
    assert schema.files.photos == ("photos.parquet",)
    assert schema.gallery == {"image": "jpeg", "max_photos": 12, "tasks": {"binary": ["pool"], "log": ["rate"]}}
    assert "pool" not in schema.named_columns
    described = json.loads(json.dumps(schema.to_dict()))
    assert described["gallery"]["tasks"] == {"binary": ["pool"], "log": ["rate"]}
    assert Schema.from_dict(described) == schema
    path.write_text(PHOTOS.replace("max_photos = 12", "max_photos = 44").replace("photos.parquet", "p.parquet"))
    edited = Schema.load(path)
    assert edited.to_dict() != schema.to_dict()
    assert edited.log_dict() == schema.log_dict()
    path.write_text(FULL)
    assert Schema.load(path).to_dict() == Schema.load(path).log_dict() == schema.log_dict()


def test_faults_of_the_gallery_come_with_those_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    text = PHOTOS.replace('binary = ["pool"]', 'binary = ["pool", "star"]').replace("max_photos = 12", "max_photo = 12")
    path.write_text(text.replace("sign = -1", "sign = -2"))
    with pytest.raises(InputError) as caught:
        Schema.load(path)
    faults = {str(fault.key): fault.message for fault in caught.value.faults}
    assert len(faults) == len(caught.value.faults)
    assert set(faults) == {"[heads.hide].sign", "[gallery].max_photo", "[gallery.tasks].binary"}
    assert "no trainer may learn from it" in faults["[gallery.tasks].binary"]
    path.write_text(text)  # a sound log with an unsound gallery is refused as well
    with pytest.raises(InputError, match="no trainer may learn from it"):
        Schema.load(path)
    path.write_text(PHOTOS.replace('item = "item_id"', 'item = ""'))
    with pytest.raises(InputError) as caught:
        Schema.load(path)
    assert [fault.key for fault in caught.value.faults] == ["[columns].item"]  # said once


def test_photos_without_a_gallery_say_what_to_add(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(PHOTOS.split("[gallery]")[0])
    with pytest.raises(InputError, match=r"\[gallery\]: .*Add \[gallery\]"):
        Schema.load(path)
    assert faults_of(minimal(gallery=3))["[gallery]"].startswith("must be a table")


def test_vectors_are_replaced_or_left_out_before_anything_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(FULL)
    assert Schema.load(path, vectors="new.parquet").files.vectors == "new.parquet"
    without = Schema.load(path, vectors=False)
    assert (without.files.vectors, without.columns.query_item) == (None, None)
    path.write_text(FULL.replace('vectors = "vectors.parquet"', ""))
    with pytest.raises(InputError, match=r"needs \[files\]\.vectors"):
        Schema.load(path)
    assert Schema.load(path, vectors="new.parquet").columns.query_item == "query_item_id"
    assert Schema.load(path, vectors=False).columns.query_item is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("2d", 172800), ("1w", 604800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


def test_a_bare_name_may_be_any_tables_column() -> None:
    assert same_column("star", "star")
    assert same_column("impressions.star", "star")
    assert not same_column("star", "stars")
