"""The one pass over all photos: which are sound, which repeat another, and why the rest cannot be used."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from features.errors import Fault, InputError, raise_faults
from features.gallery import decoding
from features.gallery.data import GalleryData
from features.gallery.decoding import REASONS, REMARKS, Resize, read_photo
from features.gallery.photos import PhotoIndex, empty_items
from features.gallery.report import PhotoReport, Tally, tally

Progress = Callable[[int, int], None]  # photos done, photos in all
SLICE = 16  # photos of one task of the thread pool
IDENTICAL = len(REASONS)  # code of a photo that repeats another's bytes: left out, and not at fault
SOUND = -1


class Spool(Protocol):
    """What keeps encoded photos."""

    def put(self, photos: np.ndarray, contents: list[Any]) -> None: ...


class Findings:
    """What the one pass over all photos finds: a code, remarks and a digest each."""

    def __init__(self, photos: int) -> None:
        self.codes = np.full(photos, SOUND, np.int8)
        self.remarks = np.zeros(photos, np.uint16)  # one bit per entry of REMARKS
        self.digests = np.zeros((photos, 16), np.uint8)

    def mask_identical(self, index: PhotoIndex) -> None:
        """Leave out photos that are, byte for byte, an earlier sound photo of the same item."""
        rows = np.flatnonzero(self.codes == SOUND)
        halves = self.digests.view(np.int64)[rows]  # (n, 2)
        keys = pd.DataFrame({"item": index.item_row[rows], "first": halves[:, 0], "second": halves[:, 1]})
        repeated = keys.duplicated().to_numpy()
        self.codes[rows[repeated]] = IDENTICAL

    def report(self, data: GalleryData) -> PhotoReport:
        """Adds what was found to the counts of the tables."""
        index = data.photos

        def tallied(photos: np.ndarray) -> Tally:
            return tally(photos, len(photos), index.example)

        def by_kind(names: tuple[str, ...], places: Callable[[int], np.ndarray]) -> dict[str, Tally]:
            tallies = {name: tallied(np.flatnonzero(places(i))) for i, name in enumerate(names)}
            return {name: found for name, found in tallies.items() if found.count}

        sound = self.codes == SOUND
        _, offsets = index.galleries(sound)
        report = data.report
        report.masked = by_kind(REASONS, lambda i: self.codes == i)
        report.remarks = by_kind(REMARKS, lambda i: sound & ((self.remarks >> i) & 1).astype(bool))
        report.identical = tallied(np.flatnonzero(self.codes == IDENTICAL))
        report.sound = int(sound.sum())
        report.empty = empty_items(np.flatnonzero(np.diff(offsets) == 0), data.item_ids, data.items_at)
        return report


def examine(
    data: GalleryData,
    size: int,
    resize: Resize,
    threads: int | None,
    progress: Progress | None,
    array: np.ndarray | None,
    spool: Spool | None,
) -> Findings:
    """Read and decode every photo once, complete the data's report, and raise what its policies call an error.

    Parameters
    ----------
    array : array `(P, 3, size, size)` uint8, optional
        Takes the pixels.
    spool : optional
        Takes the encoded bytes.
    """
    index, table = data.photos, data.schema.table
    found = Findings(len(index))
    bits = {remark: 1 << i for i, remark in enumerate(REMARKS)}

    def decode(photos: np.ndarray, contents: list[Any]) -> int:
        for photo, place in zip(photos.tolist(), contents, strict=True):
            content, reason = content_of(place)
            pixels: np.ndarray | None = None
            remarks: tuple[str, ...] = ()
            if reason is None:
                pixels, reason, remarks = read_photo(content, size, resize=resize, max_pixels=table.max_pixels)
            if content:
                found.digests[photo] = np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint8)
            if reason is not None:
                found.codes[photo] = REASONS.index(reason)
            elif array is not None:
                array[photo] = pixels
            found.remarks[photo] = sum(bits[remark] for remark in remarks)
        return len(photos)

    done = 0
    pending: deque[list[Future[int]]] = deque()
    with ThreadPoolExecutor(threads or cores(), thread_name_prefix="photos") as pool:
        for photos, contents in index.read():
            if spool is not None:
                spool.put(photos, contents)
            starts = range(0, len(photos), SLICE)
            pending.append([pool.submit(decode, photos[i : i + SLICE], contents[i : i + SLICE]) for i in starts])
            if len(pending) > 2:  # two batches ahead: the threads never wait for the disk, and memory stays bounded
                done += sum(task.result() for task in pending.popleft())
                if progress is not None:
                    progress(done, len(index))
        done += sum(task.result() for tasks in pending for task in tasks)
    if progress is not None:
        progress(done, len(index))
    found.mask_identical(index)
    data.report = found.report(data)
    raise_faults(data.report.faults(data.schema))
    if not data.report.sound:
        raise InputError(Fault(f"holds no photo that can be used ({'; '.join(data.report.lines())})", index.files[0]))
    return found


def content_of(place: bytes | Path | tuple[Path, int] | None) -> tuple[bytes | None, str | None]:
    """The bytes of a photo, and the reason why there are none."""
    if not isinstance(place, Path):
        return (place, None) if isinstance(place, bytes) else (None, decoding.NO_IMAGE)
    try:
        return place.read_bytes(), None
    except FileNotFoundError:
        return None, decoding.FILE_NOT_FOUND
    except (OSError, ValueError):  # ValueError: a name with a NUL byte
        return None, decoding.UNREADABLE


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


__all__ = ["SOUND", "Findings", "Progress", "content_of", "cores", "examine"]
