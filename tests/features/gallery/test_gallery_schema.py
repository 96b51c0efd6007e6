"""[gallery]: one dataset.toml serves the log and the galleries, and every fault in it is told at once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from features.errors import InputError
from features.gallery.schema import GallerySchema

SOUND: dict[str, Any] = {
    "name": "homes",
    "files": {"items": "items.parquet", "photos": ["a.parquet", "b.parquet"]},
    "columns": {"item": "item_id", "holdout": ["star"]},
    "gallery": {
        "image": "jpeg", "order": "order", "group": "city", "max_photos": 10,
        "tasks": {"binary": ["pool"], "multiclass": "type", "regression": ["review"], "log": ["price"]},
    },
}  # fmt: skip


def changed(**tables: dict[str, Any]) -> dict[str, Any]:
    data = copy.deepcopy(SOUND)
    for name, table in tables.items():
        data[name] |= table
    return data


def faults(data: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        GallerySchema.from_dict(data)
    return {str(fault.key): fault.message for fault in caught.value.faults}


def test_defaults_are_the_papers() -> None:
    schema = GallerySchema.from_dict(SOUND)
    assert (schema.item, schema.holdout, schema.files.photos) == ("item_id", ("star",), ("a.parquet", "b.parquet"))
    table = schema.table
    assert (table.empty, table.corrupt, table.duplicates, table.max_pixels) == ("skip", "mask", "drop", 50_000_000)
    assert GallerySchema.from_dict(changed(gallery={"max_photos": 44})).table.max_photos == 44
    assert schema.item_columns == ["item_id", "pool", "type", "review", "price", "city", "star"]


def test_task_columns_keep_their_kind() -> None:
    expected = {"pool": "binary", "type": "multiclass", "review": "regression", "price": "log"}
    assert GallerySchema.from_dict(SOUND).task_columns == expected


def test_dictionaries_give_the_same_schema_back() -> None:
    schema = GallerySchema.from_dict(SOUND)
    assert GallerySchema.from_dict(schema.to_dict()) == schema


def test_the_keys_of_the_log_are_left_to_its_schema() -> None:
    data = changed(files={"impressions": "log.parquet", "vectors": "v.parquet"}, columns={"request": "r", "time": "t"})
    data |= {"heads": {"click": {}}, "split": {"by": "time"}, "sampling": {}, "position": {"column": "p"}}
    schema = GallerySchema.from_dict(data)
    assert schema.gallery == GallerySchema.from_dict(SOUND).gallery
    assert schema.item_columns == ["item_id", "pool", "type", "review", "price", "city"]  # the log may hold the stars


def test_keys_that_nobody_knows_are_refused_in_every_table() -> None:
    data = changed(files={"photo": "p.parquet"}, columns={"items": "x"}, gallery={"cap": 3})
    data |= {"galery": {}}
    data["gallery"]["tasks"]["classes"] = ["type"]
    expected = {"[files].photo", "[columns].items", "[gallery].cap", "[gallery.tasks].classes", "[galery]"}
    assert faults(data) == dict.fromkeys(expected, "is not a key that is known here")


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "log"])
@pytest.mark.parametrize(("held", "learned"), [("star", "star"), ("items.star", "star")])
def test_a_holdout_column_among_the_tasks_is_refused(kind: str, held: str, learned: str) -> None:
    data = changed(columns={"holdout": held}, gallery={"tasks": {kind: [learned]}})
    assert faults(data) == {f"[gallery.tasks].{kind}": "`star` is a holdout column: no trainer may learn from it"}


def test_one_of_image_and_path() -> None:
    assert "got both" in faults(changed(gallery={"path": "file"}))["[gallery]"]
    data = changed()
    del data["gallery"]["image"]
    assert "got neither" in faults(data)["[gallery]"]
    data["gallery"]["path"] = "file"
    assert GallerySchema.from_dict(data).table.path == "file"


def test_without_the_table_the_message_says_what_to_add() -> None:
    data = changed()
    del data["gallery"], data["files"]["photos"]
    found = faults(data)
    assert "Add [gallery] with `image`" in found["[gallery]"]
    assert "one row per photo" in found["[files].photos"]


def test_a_column_plays_one_part() -> None:
    tasks = {"binary": ["pool", "pool"], "multiclass": ["pool"], "log": ["item_id"]}
    found = faults(changed(gallery={"order": "jpeg", "tasks": tasks}))
    assert found == {
        "[gallery.tasks].binary": "`pool` is listed twice",
        "[gallery.tasks].multiclass": "`pool` is already [gallery.tasks].binary",
        "[gallery.tasks].log": "`item_id` is already [columns].item",
        "[gallery].order": "`jpeg` is already [gallery].image",
    }


def test_faults_of_structure_and_of_sense_come_together() -> None:
    tasks = {"binary": [3], "multiclass": ["star"]}
    data = changed(gallery={"path": "file", "empty": "keep", "max_photos": 0, "tasks": tasks})
    del data["columns"]["item"]
    found = faults(data)
    assert set(found) == {
        "[columns].item", "[gallery]", "[gallery].empty", "[gallery].max_photos",
        "[gallery.tasks].binary", "[gallery.tasks].multiclass",
    }  # fmt: skip
    assert found["[gallery].empty"] == "must be 'skip' or 'error', got 'keep'"
    assert found["[columns].item"] == "is missing"


def test_a_folder_means_its_dataset_toml(tmp_path: Path) -> None:
    text = '[files]\nitems = "i"\nphotos = "p"\n[columns]\nitem = "id"\n[gallery]\npath = "file"\n'
    (tmp_path / "dataset.toml").write_text(text)
    schema = GallerySchema.load(tmp_path)
    assert schema == GallerySchema.load(tmp_path / "dataset.toml")
    assert (schema.folder, schema.task_columns) == (tmp_path, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"[files", "is not valid TOML"), (b"a = '\xff'", "is not UTF-8 text")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "dataset.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        GallerySchema.load(path)
    assert caught.value.faults[0].file == path
