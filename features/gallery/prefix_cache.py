"""The outputs of a backbone's frozen part, computed once per photo: VGG16 with stored pool4 trains at 3.7 instead of
17.7 billion multiply-adds per photo."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from features.artifact import fsync
from features.errors import Fault, InputError
from features.gallery.augmentation import Augmentation
from features.gallery.backbones import Backbone
from features.gallery.bars import Advance
from features.gallery.building import update_digest
from features.gallery.source import PhotoSource
from features.ids import mix
from multitask import distributed

LIMIT_BYTES = 8e9  # of memory, without a folder
CHUNK = 64  # photos of one pass through the network


class PrefixCache:
    """Stored outputs of `backbone.prefix`, by photo number: what `GalleryBatches` takes in place of pixels.

    Version 0 of a photo is the photo itself, versions 1 to K are augmented once and for all. The cache itself gives
    version 0; `of_epoch` gives augmented ones.

    Parameters
    ----------
    outputs : array `(K + 1, P', D)` or `(K + 1, P', H, W, C)`, float32 or float16
        Of the sound photos, in their order; it may be a memory map. Maps lie channels last, the order in which
        convolutions are fastest, and in which the uncached network has them.
    sound : array `(P,)` bool
        Which photos these are.
    """

    on_demand = False

    def __init__(self, outputs: np.ndarray, sound: np.ndarray) -> None:
        if len(outputs) < 1 or outputs.shape[1] != int(sound.sum()):
            raise ValueError(f"`outputs` must be (K + 1, {int(sound.sum())}, ...), got {outputs.shape}")
        self.outputs, self.sound = outputs, sound
        self._place = np.cumsum(sound) - 1  # (P,) row of `outputs` of each sound photo

    @property
    def versions(self) -> int:
        """K, augmented versions of each photo."""
        return len(self.outputs) - 1

    def pixels(self, rows: np.ndarray | Tensor) -> Tensor:
        """The plain outputs `(n, D)` or `(n, C, H, W)` float32 of the photos `rows` `(n,)`."""
        return self._take(np.asarray(rows), np.zeros(len(rows), np.int64))

    def of_epoch(self, rows: np.ndarray, epoch: int, seed: int) -> Tensor:
        """As `pixels`, each photo in one of its K versions, which depends on (seed, epoch, photo) only."""
        if not self.versions:
            return self.pixels(rows)
        salt = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
        chosen = mix(np.asarray(rows, np.int64).astype(np.uint64) ^ salt) % np.uint64(self.versions)
        return self._take(np.asarray(rows), chosen.astype(np.int64) + 1)

    def _take(self, rows: np.ndarray, versions: np.ndarray) -> Tensor:
        taken = np.asarray(self.outputs[versions, self._place[rows]])
        return _channels(torch.from_numpy(taken.astype(np.float32, copy=False)), 1)

    @classmethod
    def build(
        cls,
        backbone: Backbone,
        source: PhotoSource,
        *,
        folder: Path | None = None,
        precision: str = "float32",
        augmentation: Augmentation | None = None,
        versions: int = 0,
        device: torch.device | str = "cpu",
        progress: Advance | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> PrefixCache:
        """Run the prefix over every sound photo, or find in `folder` that it has been done.

        Parameters
        ----------
        backbone : Backbone
            With a frozen part.
        source : PhotoSource
        folder : Path, optional
            Where the outputs are kept, in a file named by the hash of prefix weights, preprocessing, photos and all
            settings below; None = in memory.
        precision : "float32" or "float16"
            Of what is stored; float16 halves the file and keeps 3 digits.
        augmentation, versions
            How many augmented versions of each photo there are to be, and of what kind.
        progress : callable, optional
            Called with photos done and photos in all.

        Raises
        ------
        InputError
            The folder has no room, or memory would not have without one.
        """
        source_rows = np.flatnonzero(source.sound)
        with torch.no_grad():
            one = backbone.to(device).prefix(source.pixels(source_rows[:1]).to(device))
        shape = (1 + versions, len(source_rows), *_channels(one, -1).shape[1:])
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(precision).itemsize

        def fill(outputs: np.ndarray) -> None:
            _fill(outputs, backbone, source, source_rows, augmentation, torch.device(device), progress)

        if folder is None:
            if size > LIMIT_BYTES:
                raise InputError(f"outputs of the frozen part take {size / 1e9:.1f} GB: give a folder to keep them in")
            outputs = np.empty(shape, precision)
            fill(outputs)
            return cls(outputs, source.sound)
        key = _key(backbone, source, precision, augmentation if versions else None, versions)
        path = folder / f"prefix-{key[:24]}.npy"
        if distributed.rank() == 0:
            if _whole(path, shape, precision):
                log(f"outputs of the frozen part found in {path.name}")
            else:
                _write(path, shape, precision, size, fill)
                log(f"outputs of the frozen part kept in {path.name} ({size / 1e6:,.0f} MB)")
        distributed.barrier()
        return cls(np.load(path, mmap_mode="r", allow_pickle=False), source.sound)


@torch.no_grad()
def _fill(
    outputs: np.ndarray,
    backbone: Backbone,
    source: PhotoSource,
    rows: np.ndarray,
    augmentation: Augmentation | None,
    device: torch.device,
    progress: Advance | None,
) -> None:
    for step, start in enumerate(range(0, len(rows), CHUNK)):
        part = rows[start : start + CHUNK]
        pixels = source.pixels(part).to(device)
        for version in range(len(outputs)):
            seen = pixels if version == 0 or augmentation is None else augmentation(pixels, version, step)
            outputs[version, start : start + len(part)] = _channels(backbone.prefix(seen), -1).float().cpu().numpy()
        if progress is not None:
            progress(start + len(part), len(rows))


def _channels(outputs: Tensor, place: int) -> Tensor:
    """Maps `(n, C, H, W)` with the channels last (place -1), or those with the channels second again (place 1)."""
    if outputs.ndim != 4:
        return outputs
    return outputs.movedim(1, -1) if place == -1 else outputs.movedim(-1, 1)


def _key(
    backbone: Backbone, source: PhotoSource, precision: str, augmentation: Augmentation | None, versions: int
) -> str:
    settings = {
        "preprocessing": asdict(backbone.preprocessing),
        "resize": source.resize,
        "precision": precision,
        "versions": versions,
        "augmentation": None if augmentation is None else asdict(augmentation),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    update_digest(digest, dict(backbone.prefix.state_dict()))
    digest.update(source.digests[source.sound].tobytes())
    return digest.hexdigest()


def _whole(path: Path, shape: tuple[int, ...], precision: str) -> bool:
    """Whether a file of that name holds such an array; a damaged one is made again."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return found.shape == shape and found.dtype == precision


def _write(path: Path, shape: tuple[int, ...], precision: str, size: int, fill: Callable[[np.ndarray], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")  # one name: what a killed run leaves there is written over
    with part.open("ab") as own:
        fcntl.flock(own, fcntl.LOCK_EX)  # freed by the system at a kill
        try:
            if _whole(path, shape, precision):  # another run had begun it, and this one has waited
                return
            own.truncate(0)
            free = shutil.disk_usage(path.parent).free
            if size > free:
                found = f"{size / 1e9:.1f} GB of outputs, got {free / 1e9:.1f} GB"
                raise InputError(Fault(f"must have room for {found}", path.parent))
            outputs = np.lib.format.open_memmap(part, mode="w+", dtype=np.dtype(precision), shape=shape)
            fill(outputs)
            outputs.flush()
            del outputs
            fsync(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


__all__ = ["PrefixCache"]
