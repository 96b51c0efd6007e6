"""Covers of the candidates as small JPEGs inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features import Dataset, InputError
from features.gallery import GalleryData
from features.ids import IdIndex
from galleryrank.shown_photos import shown_photos

SIDE = 112  # pixels: sharp on most screens at the 96 px of a tile
QUALITY = 70  # of JPEG: about 3 kB a photo
MOST = 600  # items, so that photos stay below 2 MB


@dataclass(frozen=True)
class Thumbnails:
    """What the page shows of items.

    Attributes:
        images: Item id as text -> data URI. An item without one is shown as a tile.
        note: Why photos are missing that one might look for; empty where there is nothing to say.
    """

    images: dict[str, str]
    note: str = ""


def read_thumbnails(dataset: Dataset, items: pa.Array) -> Thumbnails:
    """The first photo of each item, cut to a square.

    Args:
        dataset: With [files].photos or without; photos that cannot be read leave tiles, and a note says why.
        items: `(n,)` ids; those beyond the first 600 different ones are tiles.
    """
    if dataset.schema.files.photos is None or dataset.path is None:
        return Thumbnails({}, "The data set has no photos: tiles stand for the candidates.")
    try:
        data = GalleryData.open(dataset.path)
        ids = items.unique()
        rows = IdIndex(data.item_ids).rows(ids)
        known = np.flatnonzero(rows >= 0)[:MOST]
        photos = shown_photos(data, rows[known].tolist(), SIDE, most=1)
    except InputError as error:
        fault = error.faults[0]  # the page is passed on: it names files, not the folders of this machine
        where = Path(fault.file).name if fault.file is not None else "photos"
        return Thumbnails({}, f"Photos are not shown: {where}: {fault.message}.")
    names = [str(name) for name in ids.take(pa.array(known)).to_pylist()]
    images = {name: _jpeg(own[0]) for name, own in zip(names, photos) if own and isinstance(own[0], np.ndarray)}
    return Thumbnails(images, _note(len(ids), len(images)))


def _note(items: int, shown: int) -> str:
    return f"{items - shown:,} of {items:,} candidates are tiles without a photo." if shown < items else ""


def _jpeg(pixels: np.ndarray) -> str:
    """A data URI of `pixels` (3, S, S) uint8."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def candidates_of(items: pa.Array, spans: Sequence[tuple[int, int]]) -> pa.Array:
    """The ids of the rows in `spans` of (start, length), one after another."""
    return pa.concat_arrays([items.slice(start, length) for start, length in spans])
