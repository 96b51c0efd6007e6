"""A gallery data set as a whole: tables checked together, attributes guarded, splits by group."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import Fault, InputError
from features.gallery.data import GalleryData

ITEMS = {
    "item_id": [3, 1, 2, 4],
    "pool": [True, False, None, True],
    "price": [10.0, 20.0, 30.0, 40.0],
    "star": [5, 4, None, 1],
    "city": ["a", "b", "a", None],
    "extra": [7, 8, 9, 10],
}
PHOTOS = {"item_id": [1, 3, 3, 2], "order": [0, 1, 0, 0], "jpeg": [b"w", b"x", b"y", b"z"]}
TOML = """
[files]
items = "items.parquet"
photos = "photos.parquet"
{files}
[columns]
item = "item_id"
holdout = ["star"]
[gallery]
image = "jpeg"
order = "order"
{gallery}
[gallery.tasks]
binary = ["pool"]
log = ["price"]
"""


def write(
    folder: Path,
    items: Mapping[str, Any] = ITEMS,
    photos: Mapping[str, Any] = PHOTOS,
    gallery: str = "",
    files: str = "",
) -> Path:
    pq.write_table(pa.table(dict(items)), folder / "items.parquet")
    pq.write_table(pa.table(dict(photos)), folder / "photos.parquet")
    (folder / "dataset.toml").write_text(TOML.format(gallery=gallery, files=files))
    return folder


def faults(folder: Path) -> tuple[Fault, ...]:
    with pytest.raises(InputError) as caught:
        GalleryData.open(folder)
    return caught.value.faults


def told(folder: Path) -> set[tuple[str, str | None, str]]:
    return {(Path(str(fault.file)).name, fault.column, fault.message) for fault in faults(folder)}


def without(columns: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: values for key, values in columns.items() if key != name}


def test_items_keep_their_order_and_photos_find_them(tmp_path: Path) -> None:
    data = GalleryData.open(write(tmp_path))
    assert data.item_ids.to_pylist() == [3, 1, 2, 4]
    assert data.photos.offsets.tolist() == [0, 2, 3, 4, 4]
    assert len(data) == 4
    assert data.report.items_with_photos == 3


def test_attributes_are_the_tasks_or_what_is_asked_for(tmp_path: Path) -> None:
    data = GalleryData.open(write(tmp_path))
    assert data.attributes().column_names == ["pool", "price"]
    assert data.attributes(["price", "extra"]).to_pydict() == {"price": ITEMS["price"], "extra": ITEMS["extra"]}
    with pytest.raises(InputError, match="column `nothing`: column is missing"):
        data.attributes(["nothing"])


def test_the_holdout_is_for_probes_only(tmp_path: Path) -> None:
    data = GalleryData.open(write(tmp_path))
    assert data.holdout("star").to_pylist() == [5, 4, None, 1]
    for name in ("star", "items.star"):
        with pytest.raises(InputError, match="is a holdout column: no trainer may learn from it"):
            data.attributes(["pool", name])
    with pytest.raises(InputError, match=r"must be one of \[columns\].holdout, got 'pool'; held out are `star`"):
        data.holdout("pool")


def test_groups_have_numbers_and_items_without_one_their_own(tmp_path: Path) -> None:
    alone = GalleryData.open(write(tmp_path)).groups
    assert len(set(alone.tolist())) == 4
    groups = GalleryData.open(write(tmp_path, gallery='group = "city"')).groups
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_everything_missing_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, without(without(ITEMS, "price"), "star"), without(PHOTOS, "order"), gallery='group = "nowhere"')
    assert told(tmp_path) == {
        ("items.parquet", "price", "column is missing"),
        ("items.parquet", "star", "column is missing"),
        ("items.parquet", "nowhere", "column is missing"),
        ("photos.parquet", "order", "column is missing"),
    }


def test_files_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path)
    whole = (tmp_path / "photos.parquet").read_bytes()
    (tmp_path / "photos.parquet").write_bytes(whole[:-20])
    (tmp_path / "items.parquet").unlink()
    found = {(Path(str(fault.file)).name, fault.message.split(" (")[0]) for fault in faults(tmp_path)}
    assert found == {("items.parquet", "does not exist"), ("photos.parquet", "cannot be read as Parquet")}


def test_columns_of_the_wrong_type_are_told_at_once(tmp_path: Path) -> None:
    items = {**ITEMS, "item_id": [0.5, 1.5, 2.5, 3.5], "city": [[1], [2], [3], [4]]}
    photos = {"item_id": ["1", "2"], "order": [[1], [2]], "jpeg": ["a", "b"]}
    write(tmp_path, items, photos, gallery='group = "city"')
    columns = {(Path(str(fault.file)).name, fault.column) for fault in faults(tmp_path)}
    assert columns == {
        ("items.parquet", "item_id"), ("items.parquet", "city"), ("photos.parquet", "item_id"),
        ("photos.parquet", "order"), ("photos.parquet", "jpeg"),
    }  # fmt: skip


def test_text_and_numbers_are_no_common_id(tmp_path: Path) -> None:
    write(tmp_path, photos={**PHOTOS, "item_id": ["1", "3", "3", "2"]})
    assert told(tmp_path) == {
        ("photos.parquet", "item_id", "must be of one kind in items and photos, got int64 and large_string")
    }


@pytest.mark.parametrize("large", [0, 2**60])
def test_item_ids_must_be_a_key(tmp_path: Path, large: int) -> None:
    ids = pa.array([large + 1, large + 2, None, large + 1, large + 2, large + 3, None])
    write(tmp_path, {name: ids if name == "item_id" else [None] * 7 for name in ITEMS})
    null, repeated = faults(tmp_path)
    assert (null.message, null.row, null.count) == ("id must not be null", 2, 2)
    assert (repeated.message, repeated.row, repeated.count) == ("id must appear in one row only", 3, 2)
    assert repeated.value == large + 1


def test_neither_table_may_be_without_rows(tmp_path: Path) -> None:
    empty = {name: pa.array(values).slice(0, 0) for name, values in ITEMS.items()}
    write(tmp_path, empty)
    assert told(tmp_path) == {("items.parquet", None, "holds no items")}
    write(tmp_path, photos={**PHOTOS, "item_id": [91, 92, 93, 94]})
    (fault,) = faults(tmp_path)
    assert "holds no photo of any item" in fault.message
    assert "photos of unknown items: 4" in fault.message


def test_policies_that_the_tables_already_break_are_told_when_they_are_opened(tmp_path: Path) -> None:
    photos = {"item_id": [1, 1, 3, 2], "order": [0, 0, 0, 0], "jpeg": [b"w", b"x", b"y", b"z"]}
    write(tmp_path, photos=photos, gallery='duplicates = "error"\nempty = "error"')
    repeated, empty = faults(tmp_path)
    assert (repeated.message, repeated.column, repeated.row) == ("photo of item 1 must not repeat an order", "order", 1)
    assert (empty.message, empty.column, empty.row) == ("item 4 must have a photo, got none", "item_id", 3)


def test_a_log_may_hold_the_held_out_columns_itself(tmp_path: Path) -> None:
    write(tmp_path, without(ITEMS, "star"), files='impressions = "log.parquet"')
    pq.write_table(pa.table({"star": [1]}), tmp_path / "log.parquet")
    data = GalleryData.open(tmp_path)
    assert "star" not in data.items.column_names
    with pytest.raises(InputError, match="column `star`: column is missing"):
        data.holdout("star")
    with pytest.raises(InputError, match="is a holdout column"):
        data.attributes(["star"])


@pytest.mark.parametrize(
    ("held", "places"),
    [
        ("star_", "items or impressions or users"),
        ("items.star_", "items"),
        ("users.star", "users"),
        ("impressions.star", "impressions"),
    ],
)
def test_a_mistyped_held_out_column_is_refused_beside_a_log(tmp_path: Path, held: str, places: str) -> None:
    write(tmp_path, files='impressions = "log.parquet"\nusers = "users.parquet"')
    toml = tmp_path / "dataset.toml"
    text = toml.read_text()
    pq.write_table(pa.table({"rank": [1]}), tmp_path / "log.parquet")
    pq.write_table(pa.table({"home": [1]}), tmp_path / "users.parquet")
    toml.write_text(
        text.replace('["star"]', f'["{held}", "star", "items.extra", "impressions.rank", "users.home", "home"]')
    )
    (fault,) = faults(tmp_path)
    assert (fault.key, fault.message) == (
        "[columns].holdout", f"`{held}` is missing: no column of {places} has that name"
    )  # fmt: skip
    toml.write_text(text.replace('["star"]', '["nowhere"]'))
    (tmp_path / "log.parquet").unlink()
    assert {fault.message.split(" (")[0] for fault in faults(tmp_path)} == {
        "does not exist", "`nowhere` is missing: no column of items or impressions or users has that name",
    }  # fmt: skip


def many(folder: Path, items: int, groups: int) -> GalleryData:
    """`items` items with a photo each, in `groups` groups of different sizes."""
    random = np.random.default_rng(0)
    ids = np.arange(items)
    city = np.concatenate([np.arange(groups), random.integers(0, groups, items - groups) ** 2 // groups])
    table = {"item_id": ids, "pool": [True] * items, "price": [1.0] * items, "star": [1] * items, "city": city}
    photos = {"item_id": ids, "order": [0] * items, "jpeg": [b"x"] * items}
    return GalleryData.open(write(folder, table, photos, gallery='group = "city"'))


def test_a_split_keeps_groups_together_and_depends_on_the_seed(tmp_path: Path) -> None:
    data = many(tmp_path, 3000, 400)
    train, held = data.split(0.2, seed=1)
    assert sorted([*train, *held]) == list(range(3000))
    assert not set(data.groups[train]) & set(data.groups[held])
    assert abs(len(held) / 3000 - 0.2) < 0.05
    assert np.array_equal(held, data.split(0.2, seed=1)[1])
    assert not np.array_equal(held, data.split(0.2, seed=2)[1])


def test_items_stay_on_their_side_when_others_are_added(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "more").mkdir()
    few, more = many(tmp_path / "few", 400, 400), many(tmp_path / "more", 1000, 1000)
    assert np.array_equal(few.split()[1], [row for row in more.split()[1] if row < 400])


def test_neither_side_of_a_split_is_empty(tmp_path: Path) -> None:
    data = many(tmp_path, 5, 2)
    for seed in range(20):
        for fraction in (0.001, 0.999):
            assert all(len(side) for side in data.split(fraction, seed))
    with pytest.raises(ValueError, match=r"`fraction` must satisfy 0 < fraction < 1, got 1\.0"):
        data.split(1.0)
    with pytest.raises(ValueError, match="at least two groups"):
        many(tmp_path, 5, 1).split()


@pytest.mark.parametrize(("items", "groups", "k"), [(942, 928, 5), (50, 10, 10), (400, 23, 4), (7, 3, 2)])
def test_folds_keep_groups_together_and_none_is_empty(tmp_path: Path, items: int, groups: int, k: int) -> None:
    data = many(tmp_path, items, groups)
    fold = data.folds(k, seed=3)
    assert set(fold.tolist()) == set(range(k))
    assert all(len(set(fold[data.groups == group].tolist())) == 1 for group in np.unique(data.groups))
    largest = np.bincount(data.groups).max()
    assert np.bincount(fold).max() <= -(-items // k) - 1 + largest
    assert any(not np.array_equal(fold, data.folds(k, seed=seed)) for seed in range(4, 12))


def test_more_folds_than_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`k` must satisfy 2 <= k <= 3 \(the groups\), got 4"):
        many(tmp_path, 7, 3).folds(4)
