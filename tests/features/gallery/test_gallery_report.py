"""The photo report: what is counted is said, in words, as JSON and as faults."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from features.gallery.report import Example, PhotoReport, Tally
from features.gallery.schema import GallerySchema

FILE, OTHER = Path("photos.parquet"), Path("more.parquet")


def example(item: object, order: object = 0, row: int = 0, file: Path = FILE) -> Example:
    return Example(item, order, file, row)


def report() -> PhotoReport:
    return PhotoReport(
        items=10, photos=1234, indexed=1200, sound=1190,
        null_ids=Tally(1, (example(None, 3, 9),)),
        unknown=Tally(4, (example(7), example(8), example(9))),
        repeated=Tally(2, (example("a", "b", 5), example("a", "c", 6))),
        identical=Tally(1, (example("a", date(2024, 1, 2), 7),)),
        over_cap=Tally(20, (example("x", 44),) * 3),
        capped_galleries=2,
        no_order=Tally(1, (example("y", None),)),
        masked={"truncated": Tally(9, (example("q", 1, 3), example("q", 2, 4), example("r", 0, 1, OTHER)))},
        remarks={"converted from CMYK": Tally(2, (example("z"), example("z", 1)))},
        empty=Tally(3, tuple(Example(i, None, Path("items.parquet"), i) for i in range(3))),
    )  # fmt: skip


def schema(**gallery: str) -> GallerySchema:
    tables = {"files": {"items": "i", "photos": "p"}, "columns": {"item": "id"}}
    return GallerySchema.from_dict({**tables, "gallery": {"image": "jpeg", "order": "n", **gallery}})


def test_every_count_has_a_line() -> None:
    assert report().lines() == [
        "1,234 photos for 10 items, 1,190 of them used; 7 items have photos",
        "photos without an item id: 1 (item None photo 3)",
        "photos of unknown items: 4 (item 7 photo 0, 8 photo 0, 9 photo 0, ...)",
        "photos that repeat an order of their item: 2 (item 'a' photo 'b', 'a' photo 'c')",
        "photos that repeat another's bytes within their item: 1 (item 'a' photo datetime.date(2024, 1, 2))",
        "photos beyond the cap, in 2 galleries: 20 (item 'x' photo 44, 'x' photo 44, 'x' photo 44, ...)",
        "photos left out: truncated: 9 (item 'q' photo 1, 'q' photo 2, 'r' photo 0, ...)",
        "photos without an order, put last: 1 (item 'y')",
        "photos converted from CMYK: 2 (item 'z' photo 0, 'z' photo 1)",
        "items without a sound photo: 3 (item 0, 1, 2)",
    ]


def test_nothing_found_is_one_line() -> None:
    clean = PhotoReport(items=2, photos=5, indexed=5, sound=5)
    assert clean.lines() == ["5 photos for 2 items, 5 of them used; 2 items have photos"]
    assert clean.faults(schema(empty="error", corrupt="error", duplicates="error")) == []


def test_json_holds_every_number() -> None:
    plain = json.loads(json.dumps(report().to_dict()))
    assert (plain["items_with_photos"], plain["duplicates"], plain["capped_galleries"]) == (7, 3, 2)
    assert plain["masked"]["truncated"]["count"] == 9
    assert plain["identical"]["examples"] == [{"item": "a", "order": "2024-01-02", "row": 7}]
    counts = {name: plain[name]["count"] for name in ("null_ids", "unknown", "repeated", "over_cap", "empty")}
    assert counts == {"null_ids": 1, "unknown": 4, "repeated": 2, "over_cap": 20, "empty": 3}


def test_policies_decide_what_is_a_fault() -> None:
    assert report().faults(schema()) == []
    (truncated,) = report().faults(schema(corrupt="error"))
    assert str(truncated) == (
        "photos.parquet: column `jpeg`, row 3: photo of item 'q' must be sound, found: truncated (9 rows; then row 4)"
    )  # the third is in another file
    repeated, identical = report().faults(schema(duplicates="error"))
    assert (repeated.message, repeated.column, repeated.row) == ("photo of item 'a' must not repeat an order", "n", 5)
    assert (identical.message, identical.column, identical.row) == (
        "photo of item 'a' must not repeat another's bytes", "jpeg", 7,
    )  # fmt: skip
    (empty,) = report().faults(schema(empty="error"))
    assert (empty.file, empty.column, empty.count) == (Path("items.parquet"), "id", 3)
    assert len(report().faults(schema(empty="error", corrupt="error", duplicates="error"))) == 4
