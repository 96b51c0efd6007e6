"""Photos as pixels by number: decoded once into one array, or on demand where that array would be too large."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.errors import Fault, InputError
from features.gallery.data import GalleryData
from features.gallery.decoding import Resize, read_photo
from features.gallery.examination import SOUND, Findings, Progress, content_of, cores, examine
from features.gallery.photos import PhotoIndex

LIMIT_BYTES = 8e9


class PhotoSource(ABC):
    """The photos of a `PhotoIndex` as pixels, by their numbers there.

    Attributes
    ----------
    size : int
        S, pixels of a side.
    sound : array `(P,)` bool
        Photos that can be asked for; the others are masked, and the data's report says why.
    digests : array `(P, 16)` uint8
        blake2b of each photo's file; zeros where there is none.
    on_demand : bool
        Whether asking for pixels decodes: then it is worth asking ahead.
    """

    on_demand = False

    def __init__(self, index: PhotoIndex, size: int, resize: Resize, found: Findings) -> None:
        self.index, self.size, self.resize = index, size, resize
        self.sound, self.digests = found.codes == SOUND, found.digests

    def __len__(self) -> int:
        """How many photos the index has, P; sound or not."""
        return len(self.index)

    @abstractmethod
    def pixels(self, rows: np.ndarray | Tensor) -> Tensor:
        """The photos `rows` (n,) int64 as `(n, 3, S, S)` uint8 on the CPU; all of them must be sound."""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the sound photos' files and of which gallery each belongs to: what an embedding was made from."""
        rows, offsets = self.index.galleries(self.sound)
        digest = hashlib.sha256(offsets.tobytes())
        digest.update(self.digests[rows].tobytes())
        return digest.hexdigest()


class DecodedPhotos(PhotoSource):
    """All photos decoded once, in one uint8 array in memory or in a memory-mapped file."""

    def __init__(self, index: PhotoIndex, size: int, resize: Resize, found: Findings, array: np.ndarray) -> None:
        super().__init__(index, size, resize, found)
        self.array = torch.from_numpy(array)  # (P, 3, S, S)

    @classmethod
    def decode(
        cls,
        data: GalleryData,
        size: int,
        *,
        resize: Resize = "stretch",
        threads: int | None = None,
        progress: Progress | None = None,
        folder: Path | str | None = None,
    ) -> DecodedPhotos:
        """Decode every photo of `data` with a pool of threads (Pillow lets go of the interpreter while it decodes).

        Beside the pixels, memory holds three batches of 64 encoded photos and, per thread, one photo in full size.

        Parameters
        ----------
        data : GalleryData
            Its `report` is completed.
        size : int
            S, pixels of a side.
        threads : int, optional
            One per core of this process if not given.
        progress : callable, optional
            Called with the photos done and the photos in all.
        folder : Path, optional
            Keep the pixels in a nameless file there, which the system frees with the last reference, instead of in
            memory.

        Raises
        ------
        InputError
            No photo is sound; the schema calls something found an error; `folder` has no room. Every fault at once.
        """
        shape = (len(data.photos), 3, size, size)
        array = np.empty(shape, np.uint8) if folder is None else _mapped(Path(folder), shape)
        found = examine(data, size, resize, threads, progress, array, None)
        return cls(data.photos, size, resize, found, array)

    def pixels(self, rows: np.ndarray | Tensor) -> Tensor:
        """Gathered from the array in one copy."""
        return self.array.index_select(0, torch.as_tensor(rows))


class StreamedPhotos(PhotoSource):
    """Photos decoded when asked for, after one pass that learns which of them are sound.

    Parquet has no way to read a single row, so the pass copies its photos (still encoded) to one nameless file.
    """

    on_demand = True

    def __init__(
        self,
        data: GalleryData,
        size: int,
        *,
        resize: Resize = "stretch",
        threads: int | None = None,
        progress: Progress | None = None,
        folder: Path | str | None = None,
    ) -> None:
        threads = threads or cores()
        self._spool = None if data.photos.paths is not None else _Spool(len(data.photos), folder)
        found = examine(data, min(size, 32), resize, threads, progress, None, self._spool)  # whole, at any size
        super().__init__(data.photos, size, resize, found)
        self._max_pixels = data.schema.table.max_pixels
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="photos")

    def pixels(self, rows: np.ndarray | Tensor) -> Tensor:
        """Decoded by the pool, one photo per task."""
        numbers = np.asarray(rows)
        batch = np.empty((len(numbers), 3, self.size, self.size), np.uint8)
        for place, pixels in enumerate(self._pool.map(self._one, numbers.tolist())):
            batch[place] = pixels
        return torch.from_numpy(batch)

    def _one(self, photo: int) -> np.ndarray:
        content, reason = (
            content_of(self.index.source(photo)) if self._spool is None else (self._spool.get(photo), None)
        )
        pixels = None
        if reason is None:
            pixels, reason, _ = read_photo(content, self.size, resize=self.resize, max_pixels=self._max_pixels)
        if pixels is None:
            example = self.index.example(photo)
            message = f"photo of item {example} must stay as it was when it was checked, it is now: {reason}"
            raise InputError(Fault(message, example.file, row=example.row))
        return pixels


def open_photos(
    data: GalleryData,
    size: int,
    *,
    resize: Resize = "stretch",
    limit_bytes: float = LIMIT_BYTES,
    threads: int | None = None,
    progress: Progress | None = None,
    folder: Path | str | None = None,
) -> PhotoSource:
    """All pixels in memory where they take at most `limit_bytes`, else in `folder` if there is one, else on demand."""
    fits = len(data.photos) * 3 * size * size <= limit_bytes
    if fits or folder is not None:
        place = None if fits else folder
        return DecodedPhotos.decode(data, size, resize=resize, threads=threads, progress=progress, folder=place)
    return StreamedPhotos(data, size, resize=resize, threads=threads, progress=progress)


class _Spool:
    """Encoded photos in one nameless file, by number."""

    def __init__(self, photos: int, folder: Path | str | None) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this object lives
        weakref.finalize(self, self._file.close)
        self._start, self._length = np.zeros(photos, np.int64), np.zeros(photos, np.int64)

    def put(self, photos: np.ndarray, contents: list[Any]) -> None:
        lengths = np.array([len(content or b"") for content in contents], np.int64)
        self._length[photos] = lengths
        self._start[photos] = self._file.tell() + np.cumsum(lengths) - lengths
        try:
            self._file.write(b"".join(content for content in contents if content))
            self._file.flush()
        except OSError as error:
            place = tempfile.gettempdir() if self._folder is None else self._folder
            raise InputError(Fault(f"must have room for a copy of the photos: {error.strerror}", place)) from error

    def get(self, photo: int) -> bytes:
        return os.pread(self._file.fileno(), int(self._length[photo]), int(self._start[photo]))


def _mapped(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A memory-mapped array in a nameless file; its room is claimed now, not when a page is first written."""
    folder.mkdir(parents=True, exist_ok=True)
    size = int(np.prod(shape, dtype=np.int64))
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise InputError(
                Fault(f"must have room for {size / 1e9:.1f} GB of pixels: {error.strerror}", folder)
            ) from error
        return np.memmap(file, np.uint8, "r+", shape=shape)


__all__ = ["DecodedPhotos", "PhotoSource", "Progress", "StreamedPhotos", "open_photos"]
