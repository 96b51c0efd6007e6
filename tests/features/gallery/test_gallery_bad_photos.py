"""One folder with everything that goes wrong with photos: each is counted once by its name, the rest goes on."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from features.errors import InputError
from features.gallery.batches import GalleryBatches, sequential_batches
from features.gallery.data import GalleryData
from features.gallery.source import DecodedPhotos, StreamedPhotos


def picture(color: int = 0) -> Image.Image:
    pixels = np.random.default_rng(color).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def saved(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()


def animation(form: str) -> bytes:
    return saved(picture(1), form, save_all=True, append_images=[picture(2)], duration=40)


SOUND = [saved(picture(seed)) for seed in range(100, 130)]
HUGE = saved(Image.new("1", (10_000, 10_000)), "PNG")  # 100 megapixels in 15 kB

# item, order, bytes (None: null)
PHOTOS: list[tuple[int | None, int, bytes | None]] = [
    (1, 0, SOUND[0]), (1, 1, b""), (1, 2, SOUND[1][:300]), (1, 3, saved(picture().convert("CMYK"))),
    (1, 4, animation("GIF")), (1, 5, animation("PNG")), (1, 6, animation("WEBP")), (1, 7, HUGE),
    (1, 8, b"%PDF-1.7 a brochure"), (1, 9, None), (1, 10, SOUND[2]),
    (2, 0, SOUND[3]), (2, 0, SOUND[4]), (2, 1, SOUND[3]), (2, 2, SOUND[5]),  # order twice; bytes of the first again
    (3, 0, b"not a photo"), (3, 1, b""),  # item 3 keeps none
    (None, 0, SOUND[6]), (None, 1, SOUND[7]), (98, 0, SOUND[8]), (99, 0, SOUND[9]), (99, 1, SOUND[10]),
    (5, 0, SOUND[3]),  # the bytes of another item's photo are its own business
]  # fmt: skip
MANY = [(6, order, SOUND[order % 30] + bytes([order // 30])) for order in range(500)]  # bytes behind the end: sound
ITEMS = [1, 2, 3, 4, 5, 6]  # 4: no photo at all


def write(folder: Path, *, gallery: str = "", as_files: bool = False) -> Path:
    rows = [*PHOTOS, *MANY]
    table = {"id": pa.array([row[0] for row in rows]), "n": [row[1] for row in rows]}
    if as_files:
        names = []
        for number, (_, _, content) in enumerate(rows):
            names.append(None if content is None else f"{number}.bin")
            if content is not None:
                (folder / f"{number}.bin").write_bytes(content)
        (folder / "10.bin").unlink()  # the last photo of item 1
        table["photo"] = pa.array(names)
    else:
        table["photo"] = pa.array([row[2] for row in rows], pa.binary())
    pq.write_table(pa.table(table), folder / "photos.parquet", row_group_size=100)
    pq.write_table(pa.table({"id": ITEMS}), folder / "items.parquet")
    (folder / "dataset.toml").write_text(
        '[files]\nitems = "items.parquet"\nphotos = "photos.parquet"\n[columns]\nitem = "id"\n'
        f'[gallery]\n{"path" if as_files else "image"} = "photo"\norder = "n"\n{gallery}\n'
    )
    return folder


def counts(data: GalleryData) -> dict[str, int]:
    plain = data.report.to_dict()
    named = {name: value["count"] for name, value in plain.items() if isinstance(value, dict) and "count" in value}
    masked = {reason: value["count"] for reason, value in plain["masked"].items()}
    remarks = {remark: value["count"] for remark, value in plain["remarks"].items()}
    return {name: count for name, count in {**named, **masked, **remarks}.items() if count}


EXPECTED = {
    "null_ids": 2, "unknown": 3, "repeated": 1, "identical": 1, "over_cap": 456, "empty": 2,
    "empty file": 2, "truncated": 1, "not an image": 2, "too many pixels": 1, "no image": 1,
    "animated, first frame used": 3, "converted from CMYK": 1,
}  # fmt: skip


@pytest.mark.parametrize("on_demand", [False, True])
def test_one_report_counts_everything_once(tmp_path: Path, on_demand: bool) -> None:
    data = GalleryData.open(write(tmp_path))
    source = (StreamedPhotos if on_demand else DecodedPhotos.decode)(data, 16, threads=2)  # type: ignore[operator]
    found = counts(data)
    found.pop("converted from a palette", None)  # how an animated GIF is stored is Pillow's choice
    assert found == EXPECTED
    report = data.report
    assert (report.photos, report.items, report.items_with_photos, report.capped_galleries) == (523, 6, 4, 1)
    lost = [
        report.null_ids,
        report.unknown,
        report.repeated,
        report.identical,
        report.over_cap,
        *report.masked.values(),
    ]
    assert report.sound == int(source.sound.sum()) == report.photos - sum(tally.count for tally in lost)
    assert report.duplicates == 2
    assert str(report.masked["truncated"]) == "1 (item 1 photo 2)"
    assert str(report.empty) == "2 (item 3, 4)"
    assert str(report.masked["no image"]) == "1 (item 1 photo 9)"
    assert json.loads(json.dumps(report.to_dict()))["sound"] == report.sound
    assert len(report.lines()) == 1 + len(counts(data))


def test_training_goes_on_with_what_is_sound(tmp_path: Path) -> None:
    data = GalleryData.open(write(tmp_path))
    source = DecodedPhotos.decode(data, 16, threads=1)
    rows, labels = np.arange(len(data)), torch.zeros(len(data), 1)
    (batch,) = sequential_batches(source, data.photos, rows, 1000)
    assert batch.rows.tolist() == [0, 1, 4, 5]
    assert batch.galleries.counts.tolist() == [6, 2, 1, 44]
    trained = [row for batch in GalleryBatches(source, data.photos, rows, labels, photo_budget=60).epoch(0)
               for row in batch.rows.tolist()]  # fmt: skip
    assert sorted(trained) == [0, 1, 4, 5]


def test_files_that_are_not_there_are_counted(tmp_path: Path) -> None:
    data = GalleryData.open(write(tmp_path, as_files=True))
    DecodedPhotos.decode(data, 16, threads=2)
    found = counts(data)
    found.pop("converted from a palette", None)
    assert found == {**EXPECTED, "file not found": 1}
    assert str(data.report.masked["file not found"]) == "1 (item 1 photo 10)"


def test_a_folder_in_place_of_a_photo_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path, as_files=True)
    (tmp_path / "10.bin").mkdir()
    data = GalleryData.open(tmp_path)
    DecodedPhotos.decode(data, 16, threads=1)
    assert data.report.masked["unreadable"].count == 1


def faults(folder: Path, gallery: str) -> dict[str, int]:
    with pytest.raises(InputError) as caught:
        DecodedPhotos.decode(GalleryData.open(write(folder, gallery=gallery)), 16, threads=1)
    return {fault.message: fault.count for fault in caught.value.faults}


@pytest.mark.parametrize("on_demand", [False, True])
def test_a_name_with_a_null_byte_is_unreadable(tmp_path: Path, on_demand: bool) -> None:
    path = write(tmp_path, as_files=True)
    table = pq.read_table(tmp_path / "photos.parquet")
    names = table["photo"].to_pylist()
    names[0] = "a\0b.jpg"
    pq.write_table(table.set_column(2, "photo", pa.array(names)), tmp_path / "photos.parquet")
    data = GalleryData.open(path)
    photos = StreamedPhotos(data, 16, threads=1) if on_demand else DecodedPhotos.decode(data, 16, threads=1)
    assert data.report.masked["unreadable"].count == 1
    assert not photos.sound[0]


def test_corrupt_photos_stop_the_run_where_the_schema_says_so(tmp_path: Path) -> None:
    assert faults(tmp_path, 'corrupt = "error"') == {
        "photo of item 1 must be sound, found: empty file": 2,  # item 3 has the other one
        "photo of item 1 must be sound, found: truncated": 1,
        "photo of item 1 must be sound, found: not an image": 2,
        "photo of item 1 must be sound, found: too many pixels": 1,
        "photo of item 1 must be sound, found: no image": 1,
    }


def test_duplicates_and_empty_galleries_stop_the_run_where_the_schema_says_so(tmp_path: Path) -> None:
    assert faults(tmp_path, 'duplicates = "error"\nempty = "error"\ncorrupt = "error"') == {
        "photo of item 2 must not repeat an order": 1, "item 4 must have a photo, got none": 1,
    }  # fmt: skip


def test_repeated_bytes_are_found_while_decoding(tmp_path: Path) -> None:
    rows = {"id": [1, 1, 2], "n": [0, 1, 0], "photo": [SOUND[0], SOUND[0], b""]}
    write(tmp_path, gallery='duplicates = "error"\nempty = "error"')
    pq.write_table(pa.table(rows), tmp_path / "photos.parquet")
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "items.parquet")
    data = GalleryData.open(tmp_path)
    with pytest.raises(InputError) as caught:
        DecodedPhotos.decode(data, 16, threads=1)
    identical, empty = caught.value.faults
    assert (identical.message, identical.row) == ("photo of item 1 must not repeat another's bytes", 1)
    assert (empty.message, empty.row) == ("item 2 must have a sound photo, got none", 1)
    assert data.report.identical.count == 1


def test_photos_of_which_none_is_sound_are_an_error_whatever_the_policy(tmp_path: Path) -> None:
    write(tmp_path)
    pq.write_table(pa.table({"id": [1, 2], "n": [0, 0], "photo": [b"", b"x"]}), tmp_path / "photos.parquet")
    with pytest.raises(InputError, match="holds no photo that can be used") as caught:
        DecodedPhotos.decode(GalleryData.open(tmp_path), 16, threads=1)
    assert "photos left out: empty file: 1" in str(caught.value)


def test_the_limit_of_pixels_is_the_schemas(tmp_path: Path) -> None:
    data = GalleryData.open(write(tmp_path, gallery="max_pixels = 700"))  # the sound ones have 768
    with pytest.raises(InputError, match="too many pixels"):
        DecodedPhotos.decode(data, 16, threads=1)


def test_the_cap_is_the_schemas(tmp_path: Path) -> None:
    data = GalleryData.open(write(tmp_path, gallery="max_photos = 500"))
    assert (len(data.photos), data.report.over_cap.count) == (517, 0)
