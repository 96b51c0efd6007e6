"""The photo index: whose photos, in what order, how many; and their bytes in a stream."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import features.gallery.photos as photos_module
from features.errors import InputError
from features.gallery.photos import PhotoIndex, index_photos
from features.gallery.report import PhotoReport
from features.gallery.schema import GallerySchema

IDS = pa.array([30, 10, 20])


def index(
    folder: Path, *tables: dict[str, Any], ids: pa.Array = IDS, group_rows: int | None = None, **gallery: Any
) -> tuple[PhotoIndex, PhotoReport]:
    """The index of photos tables whose columns are `item`, `order` and `image` or `path`."""
    files = []
    for number, columns in enumerate(tables):
        files.append(folder / f"photos{number}.parquet")
        pq.write_table(pa.table(columns), files[-1], row_group_size=group_rows)
    gallery = {"path": "path"} | gallery if "path" in tables[0] else {"image": "image"} | gallery
    data = {"files": {"items": "i", "photos": "p"}, "columns": {"item": "item"}, "gallery": gallery}
    schema = GallerySchema.from_dict(data, folder=folder)
    types = {field.name: field.type for field in pa.table(tables[0]).schema}
    types = {name: dtype.value_type if pa.types.is_dictionary(dtype) else dtype for name, dtype in types.items()}
    return index_photos(files, types, schema, ids, [(folder / "items.parquet", len(ids))])


def contents(photos: PhotoIndex) -> list[list[object]]:
    """Every gallery's bytes (or paths), in order."""
    found: dict[int, object] = {}
    for numbers, parts in photos.read():
        found |= dict(zip(numbers.tolist(), parts, strict=True))
    assert sorted(found) == list(range(len(photos)))
    return [[found[i] for i in range(a, b)] for a, b in zip(photos.offsets[:-1], photos.offsets[1:], strict=True)]


ORDERS = {
    "integers": pa.array([2, -1, 0, 1, 5, 4]),
    "unsigned": pa.array([2, 0, 1, 1, 5, 4], pa.uint64()),
    "floats": pa.array([0.5, -1.0, 0.1, 1, 9, 8]),
    "text": pa.array(["c", "a", "b", "a", "e", "d"]),
    "dictionary": pa.array(["c", "a", "b", "a", "e", "d"]).dictionary_encode(),
    "dates": pa.array([date(2024, 1, day) for day in (3, 1, 2, 1, 5, 4)]),
}


def test_an_order_of_nan_is_none(tmp_path: Path) -> None:
    order = pa.array([float("nan"), 1.0, None, float("nan")])
    photos, report = index(
        tmp_path, {"item": [30, 30, 30, 30], "order": order, "image": [b"c", b"a", b"e", b"d"]}, order="order"
    )
    assert (report.no_order.count, report.repeated.count) == (3, 0)
    assert contents(photos)[0] == [b"a", b"c", b"d", b"e"]


@pytest.mark.parametrize("order", list(ORDERS.values()), ids=list(ORDERS))
def test_photos_stand_by_item_and_then_by_order(tmp_path: Path, order: pa.Array) -> None:
    photos, report = index(
        tmp_path, {"item": [10, 10, 10, 30, 30, 30], "order": order, "image": [b"0", b"1", b"2", b"3", b"4", b"5"]},
        order="order",
    )  # fmt: skip
    assert photos.offsets.tolist() == [0, 3, 6, 6]
    assert photos.item_row.tolist() == [0, 0, 0, 1, 1, 1]
    assert contents(photos) == [[b"3", b"5", b"4"], [b"1", b"2", b"0"], []]
    assert (report.photos, report.indexed, report.items, report.items_with_photos) == (6, 6, 3, 2)
    assert str(report.empty) == "1 (item 20)"


def test_without_an_order_rows_count_over_all_files(tmp_path: Path) -> None:
    first = {"item": [10, 30, 10], "image": [b"a", b"b", b"c"]}
    second = {"item": [30, 10, 20], "image": [b"d", b"e", b"f"]}
    photos, _ = index(tmp_path, first, second)
    assert contents(photos) == [[b"b", b"d"], [b"a", b"c", b"e"], [b"f"]]
    assert photos.source(1) == (tmp_path / "photos1.parquet", 0)
    assert photos.source(2) == (tmp_path / "photos0.parquet", 0)


def test_photos_without_an_order_come_last_and_are_counted(tmp_path: Path) -> None:
    photos, report = index(
        tmp_path, {"item": [10] * 4, "order": pa.array([None, 3, None, 1]), "image": [b"a", b"b", b"c", b"d"]},
        order="order",
    )  # fmt: skip
    assert contents(photos)[1] == [b"d", b"b", b"a", b"c"]
    assert (report.no_order.count, report.repeated.count) == (2, 0)


def test_a_repeated_order_keeps_the_first_row(tmp_path: Path) -> None:
    table = {"item": [10, 30, 10, 10, 30], "order": [0, 0, 0, 1, 1], "image": [b"a", b"b", b"c", b"d", b"e"]}
    photos, report = index(tmp_path, table, order="order")
    assert contents(photos) == [[b"b", b"e"], [b"a", b"d"], []]
    assert (report.repeated.count, report.duplicates) == (1, 1)
    assert (report.repeated.examples[0].row, report.repeated.examples[0].order) == (2, 0)


def test_the_cap_keeps_the_first_in_order_after_duplicates_are_gone(tmp_path: Path) -> None:
    order = [5, 4, 3, 2, 1, 0, 0, 0]
    table = {"item": [10] * 8, "order": order, "image": [bytes([65 + i]) for i in range(8)]}
    photos, report = index(tmp_path, table, order="order", max_photos=3)
    assert contents(photos)[1] == [b"F", b"E", b"D"]
    assert (report.repeated.count, report.over_cap.count, report.capped_galleries, report.indexed) == (2, 3, 1, 3)
    assert [example.row for example in report.over_cap.examples] == [0, 1, 2]


def test_null_and_unknown_ids_are_counted_apart(tmp_path: Path) -> None:
    photos, report = index(tmp_path, {"item": pa.array([None, 10, 99, 99, None, 7]), "image": [b"x"] * 6})
    assert (len(photos), report.null_ids.count, report.unknown.count) == (1, 2, 3)
    assert [example.item for example in report.unknown.examples] == [99, 99, 7]


def test_ids_may_be_text_in_another_layout(tmp_path: Path) -> None:
    ids = pa.array(["b", "a"], pa.large_string())
    table = {"item": pa.array(["a", "b", "a"]).dictionary_encode(), "image": [b"1", b"2", b"3"]}
    assert contents(index(tmp_path, table, ids=ids)[0]) == [[b"2"], [b"1", b"3"]]


def test_paths_are_relative_to_the_folder_unless_they_are_absolute(tmp_path: Path) -> None:
    absolute = tmp_path.parent / "c.jpg"
    table = {"item": [10, 10, 10, 10], "path": ["a.jpg", None, "../b.jpg", str(absolute)]}
    photos, _ = index(tmp_path, table)
    assert contents(photos)[1] == [tmp_path / "a.jpg", None, tmp_path / "../b.jpg", absolute]
    assert photos.source(0) == tmp_path / "a.jpg"
    assert photos.source(1) == (tmp_path / "photos0.parquet", 1)


def test_reading_goes_batch_by_batch_over_row_groups_and_takes_only_what_is_wanted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    items = random.choice([10, 20, 30, 99], 500)
    images = [bytes([i % 256, i // 256]) for i in range(500)]
    photos, _ = index(tmp_path, {"item": items, "image": images}, group_rows=37, max_photos=60)
    sizes, seen = [], {}
    for numbers, parts in photos.read(batch=16):
        sizes.append(len(numbers))
        seen |= dict(zip(numbers.tolist(), parts, strict=True))
    assert max(sizes) <= 16
    assert len(seen) == len(photos) == 180
    assert all(seen[i] == images[photos.row[i]] for i in range(180))
    assert all(items[photos.row[i]] == IDS[int(photos.item_row[i])].as_py() for i in range(180))


def test_sound_photos_close_up(tmp_path: Path) -> None:
    photos, _ = index(tmp_path, {"item": [30, 30, 10, 10, 20], "image": [b"x"] * 5})
    rows, offsets = photos.galleries(np.array([True, False, False, False, True]))
    assert (rows.tolist(), offsets.tolist()) == ([0, 4], [0, 1, 1, 2])


def test_a_file_damaged_inside_is_named_when_its_photos_are_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    photos, _ = index(tmp_path, {"item": [10] * 50, "image": [random.bytes(2000) for _ in range(50)]})
    path = tmp_path / "photos0.parquet"
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data[start : start + 3000] = b"\xff" * 3000
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"photos0.parquet: cannot be read as Parquet"):
        list(photos.read())
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"photos0.parquet: cannot be read as Parquet"):
        list(photos.read())


def test_many_rows_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos_module, "ID_ROWS", 3)
    table = {"item": [10, 20, 30] * 4, "order": list(range(12)), "image": [bytes([i]) for i in range(12)]}
    photos, _ = index(tmp_path, table, order="order")
    assert contents(photos)[1] == [bytes([0]), bytes([3]), bytes([6]), bytes([9])]
