"""A few photos of a data set, for a picture: only the parts of its files that hold them are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from evaluation.gallery.photo_sheet import Photo
from features.gallery.data import GalleryData
from features.gallery.decoding import DecodedPhoto, read_photo
from features.gallery.examination import content_of
from features.gallery.photos import PhotoIndex
from features.reading import open_parquet, unreadable

BATCH = 64  # photos read at a time, as long as a row group allows


def shown_photos(data: GalleryData, items: Sequence[int], size: int, *, most: int) -> list[list[Photo]]:
    """The first photos of each item, decoded, or the reason why one cannot be shown.

    Args:
        data: The galleries.
        items: `(n,)` rows of the items table.
        size: Pixels of a side; the largest square is cut out of the middle.
        most: Photos per item, the cover first.

    Returns:
        One list per item of `(3, size, size)` uint8 arrays and reasons.
    """
    index, cap = data.photos, data.schema.table.max_pixels
    wanted = [np.arange(index.offsets[i], min(index.offsets[i] + most, index.offsets[i + 1])) for i in items]
    every = np.unique(np.concatenate([*wanted, np.empty(0, np.int64)]).astype(np.int64))
    decoded: dict[int, Photo] = {}
    for photo, (content, reason) in _contents(index, every):
        found = DecodedPhoto(None, reason) if reason else read_photo(content, size, resize="crop", max_pixels=cap)
        decoded[photo] = str(found.reason) if found.pixels is None else found.pixels
    return [[decoded[photo] for photo in photos.tolist()] for photos in wanted]


def _contents(index: PhotoIndex, photos: np.ndarray) -> Iterator[tuple[int, tuple[bytes | None, str | None]]]:
    """Every one of `photos` with its bytes, or with the reason why there are none."""
    if index.paths is not None:
        for photo in photos.tolist():
            yield photo, content_of(index.source(photo))
        return
    for number in np.unique(index.file[photos]).tolist():
        of_file = photos[index.file[photos] == number]
        yield from _stored(index, number, of_file[np.argsort(index.row[of_file])])


def _stored(
    index: PhotoIndex, number: int, photos: np.ndarray
) -> Iterator[tuple[int, tuple[bytes | None, str | None]]]:
    """Photos of one Parquet file, ascending by row: row groups without any of them are not touched."""
    path, rows = index.files[number], index.row[photos]
    with open_parquet(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        for group in np.unique(np.searchsorted(starts, rows, side="right") - 1).tolist():
            start, last = int(starts[group]), int(rows[rows < starts[group + 1]][-1])
            batches = file.iter_batches(BATCH, row_groups=[group], columns=[index.image])
            while start <= last:
                try:
                    column = next(batches).column(0)
                except (pa.ArrowException, OSError) as error:
                    raise unreadable(path, error) from error
                low, high = np.searchsorted(rows, [start, start + len(column)])
                contents = column.take(pa.array(rows[low:high] - start)).to_pylist()
                yield from zip(photos[low:high].tolist(), map(content_of, contents))
                start += len(column)
