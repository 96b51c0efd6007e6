"""Photos by number: decoded once or on demand, with one thread or four, in memory or on disk: the same pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from features.errors import InputError
from features.gallery.data import GalleryData
from features.gallery.decoding import decode_photo
from features.gallery.source import DecodedPhotos, PhotoSource, StreamedPhotos, open_photos

SIZE = 16


def photo(seed: int) -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write(folder: Path, *, paths: bool, broken: tuple[int, ...] = (5, 40), rows: int = 90) -> list[bytes]:
    """`rows` photos of 10 items, some of which are no photos."""
    contents = [b"no photo" if i in broken else photo(i) for i in range(rows)]
    items = np.random.default_rng(0).integers(0, 10, rows)
    columns: dict[str, object] = {"id": items, "order": np.arange(rows)[::-1]}
    if paths:
        (folder / "photos").mkdir()
        for i, content in enumerate(contents):
            (folder / "photos" / f"{i}.jpg").write_bytes(content)
        columns["file"] = [f"photos/{i}.jpg" for i in range(rows)]
    else:
        columns["jpeg"] = contents
    pq.write_table(pa.table({"id": np.arange(10)}), folder / "items.parquet")
    pq.write_table(pa.table(columns), folder / "photos.parquet", row_group_size=25)
    (folder / "dataset.toml").write_text(
        '[files]\nitems = "items.parquet"\nphotos = "photos.parquet"\n[columns]\nitem = "id"\n[gallery]\n'
        f'order = "order"\n{"path" if paths else "image"} = "{"file" if paths else "jpeg"}"\n'
    )
    return contents


@pytest.mark.parametrize("paths", [False, True], ids=["parquet", "files"])
@pytest.mark.parametrize("resize", ["stretch", "crop"])
def test_every_source_gives_the_pixels_that_decoding_gives(tmp_path: Path, paths: bool, resize: str) -> None:
    contents = write(tmp_path, paths=paths)
    data = GalleryData.open(tmp_path)
    options = {"resize": resize}
    sources: list[PhotoSource] = [
        DecodedPhotos.decode(data, SIZE, threads=1, **options),  # type: ignore[arg-type]
        DecodedPhotos.decode(data, SIZE, threads=4, **options),  # type: ignore[arg-type]
        DecodedPhotos.decode(data, SIZE, threads=1, folder=tmp_path / "scratch", **options),  # type: ignore[arg-type]
        StreamedPhotos(data, SIZE, threads=2, **options),  # type: ignore[arg-type]
    ]
    rows = np.random.default_rng(1).permutation(np.flatnonzero(sources[0].sound))
    for source in sources:
        assert len(source) == len(data.photos) == 90
        assert np.array_equal(source.sound, sources[0].sound)
        assert np.array_equal(source.digests, sources[0].digests)
        assert source.fingerprint == sources[0].fingerprint
        pixels = source.pixels(rows)
        assert (pixels.shape, pixels.dtype) == ((88, 3, SIZE, SIZE), torch.uint8)
        assert pixels.is_contiguous()
        assert torch.equal(pixels, sources[0].pixels(torch.from_numpy(rows)))
    for place, row in enumerate(rows[:20]):
        expected = decode_photo(contents[int(data.photos.row[row])], SIZE, resize=resize)  # type: ignore[arg-type]
        assert np.array_equal(sources[0].pixels(rows)[place].numpy(), expected)
    assert sorted(data.photos.row[~sources[0].sound].tolist()) == [5, 40]


def test_the_nameless_file_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, paths=False)
    source = DecodedPhotos.decode(GalleryData.open(tmp_path), SIZE, threads=1, folder=tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert source.pixels(np.array([0])).any()


def test_a_folder_without_room_is_told_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write(tmp_path, paths=False)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InputError, match=r"must have room for 0.0 GB of pixels: No space left"):
        DecodedPhotos.decode(GalleryData.open(tmp_path), SIZE, folder=tmp_path / "scratch")


def test_progress_counts_every_photo(tmp_path: Path) -> None:
    write(tmp_path, paths=False)
    seen: list[tuple[int, int]] = []
    DecodedPhotos.decode(GalleryData.open(tmp_path), SIZE, threads=2, progress=lambda *at: seen.append(at))
    assert seen[-1] == (90, 90)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_fingerprint_is_of_the_photos_and_not_of_the_way_they_are_read(tmp_path: Path) -> None:
    for name, broken, rows in (("a", (5, 40), 90), ("b", (5,), 90), ("c", (5, 40), 89)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, paths=False, broken=broken, rows=rows)
    opened = {name: GalleryData.open(tmp_path / name) for name in "abc"}
    fingerprints = {name: DecodedPhotos.decode(data, SIZE, threads=1).fingerprint for name, data in opened.items()}
    assert len(set(fingerprints.values())) == 3
    assert DecodedPhotos.decode(opened["a"], 8, threads=1).fingerprint == fingerprints["a"]


def test_the_source_is_chosen_by_size(tmp_path: Path) -> None:
    write(tmp_path, paths=False)
    data = GalleryData.open(tmp_path)
    need = 90 * 3 * SIZE * SIZE
    assert isinstance(open_photos(data, SIZE, limit_bytes=need, threads=1), DecodedPhotos)
    assert isinstance(open_photos(data, SIZE, limit_bytes=need - 1, threads=1), StreamedPhotos)
    on_disk = open_photos(data, SIZE, limit_bytes=need - 1, folder=tmp_path / "scratch", threads=1)
    assert isinstance(on_disk, DecodedPhotos)
    assert not on_disk.on_demand


def test_a_file_that_changes_after_it_was_checked_is_told(tmp_path: Path) -> None:
    write(tmp_path, paths=True)
    data = GalleryData.open(tmp_path)
    source = StreamedPhotos(data, SIZE, threads=2)
    rows = np.flatnonzero(source.sound)[:3]
    (tmp_path / "photos" / f"{data.photos.row[rows[1]]}.jpg").unlink()
    with pytest.raises(InputError, match="must stay as it was when it was checked, it is now: file not found"):
        source.pixels(rows)


def test_decoding_again_counts_again_and_not_twice(tmp_path: Path) -> None:
    write(tmp_path, paths=False)
    data = GalleryData.open(tmp_path)
    DecodedPhotos.decode(data, SIZE, threads=1)
    once = data.report.to_dict()
    DecodedPhotos.decode(data, 8, threads=1)
    assert data.report.to_dict() == once
    assert once["masked"]["not an image"]["count"] == 2
