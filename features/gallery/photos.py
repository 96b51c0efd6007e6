"""Which photos belong to which item and in what order, and their bytes in a stream: never a whole table of photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.gallery.report import Example, PhotoReport, Tally, tally
from features.gallery.schema import GallerySchema
from features.ids import IdIndex
from features.reading import as_type, read_batches, unreadable

ID_ROWS = 65_536  # per batch of ids
IMAGE_ROWS = 64  # per batch of photos: of 5 MB each that is 320 MB


@dataclass(frozen=True, eq=False)
class PhotoIndex:
    """P photos, sorted by the item's row and then by order: the photos of item i are `offsets[i]` to `offsets[i + 1]`.

    Parameters
    ----------
    item_row : array `(P,)` int64
        Row of the items table.
    offsets : array `(V + 1,)` int64
        Where each item's photos begin; two equal numbers are an item without photos.
    file, row : arrays `(P,)` int64
        Where the photo is written down: index into `files`, and row of that file.
    orders : Arrow array `(P,)`
        What the order column says; the row over all files where there is none.
    paths : Arrow array `(P,)` of text, or None
        File names relative to `folder`; None where the Parquet files hold the images.
    item_ids : Arrow array `(V,)`
        The items' ids.
    """

    item_row: np.ndarray
    offsets: np.ndarray
    file: np.ndarray
    row: np.ndarray
    orders: pa.Array
    paths: pa.Array | None
    item_ids: pa.Array
    files: tuple[Path, ...]
    image: str | None  # the binary column of `files`
    folder: Path

    def __len__(self) -> int:
        """How many photos, P."""
        return len(self.item_row)

    @property
    def items(self) -> int:
        """How many items, V."""
        return len(self.offsets) - 1

    def source(self, photo: int) -> Path | tuple[Path, int]:
        """Where a photo is: its own file, or (Parquet file, row)."""
        if self.paths is not None and self.paths[photo].is_valid:
            return self.folder / self.paths[photo].as_py()
        return self.files[self.file[photo]], int(self.row[photo])

    def example(self, photo: int) -> Example:
        """How a report names a photo."""
        item, order = self.item_ids[int(self.item_row[photo])].as_py(), self.orders[int(photo)].as_py()
        return Example(item, order, self.files[self.file[photo]], int(self.row[photo]))

    def same_photos(self, other: PhotoIndex) -> bool:
        """Whether both say the same of which photos there are, where they lie and whose they are."""
        if self is other:
            return True
        arrays = ((self.offsets, other.offsets), (self.file, other.file), (self.row, other.row))
        return (
            all(np.array_equal(mine, theirs) for mine, theirs in arrays)
            and [file.resolve() for file in self.files] == [file.resolve() for file in other.files]
            and (self.paths is None) == (other.paths is None)
            and (self.paths is None or bool(self.paths.equals(other.paths)))
            and bool(self.item_ids.equals(other.item_ids))
        )

    def galleries(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sound photos `(P',)` int64, in order, and where each item's begin `(V + 1,)`, given `sound` (P,) bool."""
        before = np.concatenate([[0], np.cumsum(sound, dtype=np.int64)])
        return np.flatnonzero(sound), before[self.offsets]

    def read(self, batch: int = IMAGE_ROWS) -> Iterator[tuple[np.ndarray, list[Any]]]:
        """Every photo once, in the order in which they are stored: numbers `(n,)` and bytes or paths (None: null).

        Raises
        ------
        InputError
            A Parquet file turns out to be damaged.
        """
        if self.paths is not None:
            for start in range(0, len(self), batch):
                names = self.paths.slice(start, batch).to_pylist()
                photos = np.arange(start, start + len(names))
                yield photos, [None if name is None else self.folder / name for name in names]
            return
        for number, path in enumerate(self.files):
            photos = np.flatnonzero(self.file == number)
            photos = photos[np.argsort(self.row[photos])]
            yield from self._read_file(path, photos, batch)

    def _read_file(self, path: Path, photos: np.ndarray, batch: int) -> Iterator[tuple[np.ndarray, list[Any]]]:
        rows, start = self.row[photos], 0
        with _mapped(path) as file:
            batches = file.iter_batches(batch_size=batch, columns=[self.image])
            while start < (int(rows[-1]) + 1 if len(rows) else 0):
                try:
                    column = next(batches).column(0)
                except (pa.ArrowException, OSError) as error:
                    raise unreadable(path, error) from error
                low, high = np.searchsorted(rows, [start, start + len(column)])
                if low < high:
                    yield photos[low:high], column.take(pa.array(rows[low:high] - start)).to_pylist()
                start += len(column)


def _mapped(path: Path) -> pq.ParquetFile:
    """Memory-mapped: a row group of many gigabytes is decoded page by page instead of being read as a whole."""
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error


def index_photos(
    files: Sequence[Path],
    types: dict[str, pa.DataType],
    schema: GallerySchema,
    item_ids: pa.Array,
    items_at: Sequence[tuple[Path, int]],
) -> tuple[PhotoIndex, PhotoReport]:
    """Read the photos table without its images and put every photo in its place.

    Parameters
    ----------
    files, types
        The photos table and the types of its columns.
    schema
        Names the columns, the cap and what is done about duplicates.
    item_ids : Arrow array `(V,)`
        Distinct ids, none null.
    items_at : sequence of (file, rows)
        The items' files, in the order of `item_ids`, to name an item without photos.
    """
    table = schema.table
    names = list(dict.fromkeys(name for name in (schema.item, table.order, table.path) if name is not None))
    columns, rows_of_file = _read(files, types, names)
    ids, count = columns[schema.item], int(sum(rows_of_file))
    file = np.repeat(np.arange(len(files)), rows_of_file)
    row = np.concatenate([np.arange(rows) for rows in rows_of_file] or [np.zeros(0, np.int64)])
    orders = columns[table.order] if table.order else pa.array(np.arange(count))

    def example(at: int) -> Example:
        return Example(ids[int(at)].as_py(), orders[int(at)].as_py(), files[file[at]], int(row[at]))

    def tallied(places: np.ndarray) -> Tally:
        return tally(np.sort(places), len(places), example)

    item = IdIndex(item_ids).rows(ids)
    null = ids.is_null().to_numpy(zero_copy_only=False)
    order, repeated = _sorted(item, orders)
    dropped = order[repeated]
    order = order[~repeated]
    per_item = np.bincount(item[order], minlength=len(item_ids))
    starts = np.concatenate([[0], np.cumsum(per_item)])
    beyond = np.arange(len(order)) - starts[item[order]] >= table.max_photos
    over = order[beyond]
    order = order[~beyond]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(per_item, table.max_photos))])
    index = PhotoIndex(
        item[order], offsets, file[order], row[order], orders.take(pa.array(order)),
        columns[table.path].take(pa.array(order)) if table.path else None,
        item_ids, tuple(files), table.image, schema.folder,
    )  # fmt: skip
    report = PhotoReport(
        items=len(item_ids),
        photos=count,
        indexed=len(order),
        null_ids=tallied(np.flatnonzero(null)),
        unknown=tallied(np.flatnonzero((item < 0) & ~null)),
        repeated=tallied(dropped),
        over_cap=tallied(over),
        capped_galleries=int((per_item > table.max_photos).sum()),
        no_order=tallied(order[orders.take(pa.array(order)).is_null(nan_is_null=True).to_numpy(zero_copy_only=False)]),
        empty=empty_items(np.flatnonzero(per_item == 0), item_ids, items_at),
    )
    return index, report


def empty_items(rows: np.ndarray, item_ids: pa.Array, items_at: Sequence[tuple[Path, int]]) -> Tally:
    """The items `rows` that have no photo, for the report."""
    ends = np.cumsum([count for _, count in items_at])

    def example(at: int) -> Example:
        file = int(np.searchsorted(ends, at, side="right"))
        first = int(ends[file] - items_at[file][1])
        return Example(item_ids[int(at)].as_py(), None, items_at[file][0], int(at) - first)

    return tally(rows, len(rows), example)


def _read(
    files: Sequence[Path], types: dict[str, pa.DataType], names: list[str]
) -> tuple[dict[str, pa.Array], list[int]]:
    chunks: dict[str, list[pa.Array]] = {name: [] for name in names}
    rows_of_file = []
    for file in files:
        rows = 0
        for batch in read_batches(file, names, ID_ROWS):
            rows += batch.num_rows
            for name in names:
                chunks[name].append(as_type(batch.column(name), types[name]))
        rows_of_file.append(rows)
    return {name: pa.chunked_array(chunks[name], types[name]).combine_chunks() for name in names}, rows_of_file


def _sorted(item: np.ndarray, orders: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Photos of known items by (item, order, row), nulls last; and which of them repeat the order before them."""
    known = np.flatnonzero(item >= 0)
    ordered = orders.take(pa.array(known))
    table = pa.table({"item": item[known], "order": ordered, "row": known})
    keys = [("item", "ascending"), ("order", "ascending"), ("row", "ascending")]
    places = pc.sort_indices(table, sort_keys=keys)
    order = known[places.to_numpy()]
    ordered = ordered.take(places)
    same = np.zeros(len(order), bool)
    if len(order) > 1:
        equal = pc.equal(ordered.slice(1), ordered.slice(0, len(order) - 1)).fill_null(False)
        same[1:] = equal.to_numpy(zero_copy_only=False) & (np.diff(item[order]) == 0)
    return order, same


__all__ = ["PhotoIndex", "index_photos"]
