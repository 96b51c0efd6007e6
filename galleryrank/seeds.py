"""What a retrieval searches with: photo files as one gallery, or an item of the data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluation.gallery.photo_sheet import MOST_SEEDS, SEED, Photo
from features import Fault, InputError
from features.errors import raise_faults
from features.gallery import Embeddings, GalleryData, GalleryEncoder
from features.gallery.decoding import read_photo
from features.ids import IdIndex, is_string
from galleryrank.shown_photos import shown_photos


@dataclass(frozen=True, eq=False)
class Collection:
    """The items that can be found: those of the data set that have a vector.

    Attributes:
        data: The galleries.
        items: `(V,)` rows of the items table.
        matrix: `(V, D)` float32 vectors.
        notes: Sentences for a report: what was left out.
    """

    data: GalleryData
    items: np.ndarray
    matrix: np.ndarray
    notes: list[str]

    @classmethod
    def of(cls, data: GalleryData, vectors: Embeddings, file: Path) -> Collection:
        """Join vectors and items by id.

        Raises:
            InputError: The ids are of another kind, or no vector is of any item.
        """
        ids = pa.array(vectors.ids if vectors.ids.dtype.kind in "iu" else vectors.ids.tolist())
        if is_string(ids.type) != is_string(data.item_ids.type):
            message = f"must be ids as in the items table ({data.item_ids.type}), got {ids.type}"
            raise InputError(Fault(message, file, vectors.item))
        rows = IdIndex(data.item_ids).rows(ids)
        known = rows >= 0
        if not known.any():
            raise InputError(Fault("holds no vector of any item of the data set", file))
        notes, without = list[str](), len(data) - int(known.sum())
        if without:
            notes.append(f"{without:,} items have no vector and cannot be found.")
        if not known.all():
            notes.append(f"{(~known).sum():,} vectors are of items that the items table does not have: left out.")
        return cls(data, rows[known], vectors.matrix if known.all() else vectors.matrix[known], notes)

    def __len__(self) -> int:
        """V."""
        return len(self.items)

    @property
    def ids(self) -> pa.Array:
        """The items' ids `(V,)`."""
        return self.data.item_ids.take(pa.array(self.items))

    def places(self, items: np.ndarray) -> np.ndarray:
        """The row `(n,)` of the matrix of each row of the items table, -1 without a vector."""
        place = np.full(len(self.data), -1)
        place[self.items] = np.arange(len(self))
        return place[items]


@dataclass(frozen=True, eq=False)
class Seeds:
    """A query.

    Attributes:
        vector: `(1, D)`.
        exclude: Row of the collection that must not be found, or -1.
        photos: For the sheet: pixels, or the reason why a photo cannot be used.
        words: What it is, for titles.
        caption: What stands under the photos.
        notes: Sentences for a report.
        record: What the run's record says of it.
    """

    vector: np.ndarray
    exclude: int
    photos: Sequence[Photo]
    words: str
    caption: str
    notes: list[str]
    record: list[str]


def seeds_from_photos(
    encoder: GalleryEncoder, files: Sequence[Path], device: str | None, task: str | None = None
) -> Seeds:
    """Several photo files as one query gallery; those that cannot be used are named in the notes.

    `task` is whose vectors are searched, for an encoder with modulation.

    Raises:
        InputError: Files that cannot be opened, all at once; or no photo can be used, with every reason.
    """
    faults, contents = list[Fault](), list[bytes]()
    for file in files:
        try:
            contents.append(file.read_bytes())
        except OSError as error:
            faults.append(Fault(f"cannot be read: {error.strerror}", file, key="--photo"))
    raise_faults(faults)
    found = [read_photo(content, SEED, resize="crop", max_pixels=encoder.max_pixels) for content in contents]
    broken = [(file, photo.reason) for file, photo in zip(files, found) if photo.pixels is None]
    if len(broken) == len(files):
        raise InputError([Fault(f"cannot be used as a seed photo: {why}", file, key="--photo") for file, why in broken])
    sound = [content for content, photo in zip(contents, found) if photo.pixels is not None]
    notes = [f"Seed photo {file} was not used: {why}." for file, why in broken]
    notes += [f"Seed photo {file}: {remark}." for file, photo in zip(files, found) for remark in photo.remarks]
    distinct = len(dict.fromkeys(sound))
    if distinct > encoder.max_photos:
        notes.append(f"{distinct:,} seed photos were given; the first {encoder.max_photos} make the query.")
    used = list(dict.fromkeys(sound))[: encoder.max_photos]
    count = f"{len(used):,} of {len(files):,} photos" if len(used) < len(files) else f"{len(files):,} photo(s)"
    return Seeds(
        vector=encoder.embed([used], task=task, device=device).matrix,
        exclude=-1,
        photos=[str(photo.reason) if photo.pixels is None else photo.pixels for photo in found],
        words=files[0].name if len(files) == 1 else f"{len(files):,} seed photos",
        caption=f"{count} as one query: {', '.join(file.name for file in files)}",
        notes=notes,
        record=[hashlib.sha256(content).hexdigest() for content in contents],
    )


def seeds_from_item(collection: Collection, item: str) -> Seeds:
    """An item of the data set by its own vector; it is not among its results.

    Raises:
        InputError: There is no such item, or it has no vector.
    """
    data = collection.data
    text = is_string(data.item_ids.type)
    try:
        key = pa.array([item] if text else [int(item)])
    except (ValueError, OverflowError) as error:
        raise InputError(Fault("must be an integer, as the items' ids are", key="--item", value=item)) from error
    row = int(IdIndex(data.item_ids).rows(key)[0])
    if row < 0:
        raise InputError(Fault("must be the id of an item", data.items_at[0][0], key="--item", value=item))
    place = int(collection.places(np.array([row]))[0])
    if place < 0:
        raise InputError(Fault("has no vector: it has no photo that can be used", key="--item", value=item))
    return Seeds(
        vector=collection.matrix[place : place + 1],
        exclude=place,
        photos=shown_photos(data, [row], SEED, most=MOST_SEEDS)[0] or ["no photos"],
        words=f"item {item}",
        caption=f"the photos of item {item} itself, which is left out of the results",
        notes=[],
        record=[item],
    )
