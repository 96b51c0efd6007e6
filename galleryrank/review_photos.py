"""Photos of the items by another camera (guests', say): the queries of same-item retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from evaluation.gallery.ablation import ReviewPhotos
from features import Fault, InputError
from features.errors import raise_faults
from features.gallery.data import GalleryData
from features.gallery.examination import content_of
from features.ids import IdIndex, is_id_type, is_string
from features.reading import as_type, read_batches, resolve_files, rows_of, schema_of

BATCH = 256
MOST = 2000  # queries: enough for an interval of two points


@dataclass(frozen=True, eq=False)
class ReadReviews:
    """Photos that belong to an item of the data set, and what became of the others.

    Attributes:
        photos: Their files' bytes and the items' rows.
        notes: Sentences for a report: how many were drawn, and how many left out and why.
    """

    photos: ReviewPhotos
    notes: list[str]


def read_reviews(path: Path, data: GalleryData, *, most: int = MOST, seed: int = 0) -> ReadReviews:
    """Read a table of photos that are laid out like the data set's own: its id column, and the image or path column.

    Args:
        path: Parquet file, folder or glob; file names in it are relative to the data set's folder.
        data: The galleries.
        most: At most so many photos are drawn at random.
        seed: Of the draw.

    Raises:
        InputError: A column is missing or of another type; the file cannot be read; no photo is of any item.
    """
    table = data.schema.table
    item, photo = data.schema.item, str(table.image or table.path)
    files = resolve_files(Path(), [str(path)])
    raise_faults(fault for file in files for fault in _faults(file, item, photo, data))
    rows = [rows_of(file) for file in files]
    drawn = np.sort(np.random.default_rng(seed).permutation(sum(rows))[:most])
    index, contents, owners = IdIndex(data.item_ids), list[bytes](), list[np.ndarray]()
    reasons: dict[str, int] = {}
    start = 0
    for file in files:
        for batch in read_batches(file, [item, photo], BATCH):
            own = pa.array(drawn[(drawn >= start) & (drawn < start + len(batch))] - start)
            start += len(batch)
            owner = index.rows(_plain(batch.column(item)).take(own))
            for place, row in zip(batch.column(photo).take(own).to_pylist(), owner.tolist()):
                known = data.schema.folder / place if isinstance(place, str) else place
                content, reason = content_of(known)
                reason = "of items that the items table does not have" if row < 0 else reason
                if reason or content is None:
                    reasons[str(reason)] = reasons.get(str(reason), 0) + 1
                else:
                    contents.append(content)
                    owners.append(np.array([row]))
    if not contents:
        found = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.items()) or "no rows"
        raise InputError(Fault(f"must hold photos of the data set's items, got none ({found})", path))
    notes = [f"Review photos: {len(contents):,} of {sum(rows):,} are the queries of same-item retrieval."]
    notes += [f"Review photos left out, {reason}: {count:,}." for reason, count in reasons.items()]
    return ReadReviews(ReviewPhotos(contents, np.concatenate(owners)), notes)


def _faults(file: Path, item: str, photo: str, data: GalleryData) -> list[Fault]:
    types = schema_of(file)
    missing = [Fault("column is missing", file, name) for name in (item, photo) if name not in types.names]
    if missing:
        return missing
    found, ids, image = list[Fault](), types.field(item).type, types.field(photo).type
    if not is_id_type(ids) or is_string(ids) != is_string(data.item_ids.type):
        found.append(Fault(f"must be ids as in the items table ({data.item_ids.type}), got {ids}", file, item))
    binary = pt.is_binary(image) or pt.is_large_binary(image) or pt.is_fixed_size_binary(image)
    right, wanted = (binary, "binary") if data.schema.table.image else (is_string(image), "file names")
    return found if right else [*found, Fault(f"must be {wanted}, got {image}", file, photo)]


def _plain(ids: pa.Array) -> pa.Array:
    return as_type(ids, ids.type.value_type) if pt.is_dictionary(ids.type) else ids
