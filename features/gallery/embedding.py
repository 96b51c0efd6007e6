"""From photos to vectors, batch by batch, with a fitted network: galleries of a data set, or photos as bytes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from features.errors import Fault, InputError, raise_faults
from features.gallery.bars import Advance, photo_bar
from features.gallery.batches import GalleryBatch, ranges, sequential_batches
from features.gallery.data import GalleryData
from features.gallery.decoding import DecodedPhoto, read_photo
from features.gallery.inference import inference_network
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from features.gallery.rows import chosen_rows
from features.gallery.source import PhotoSource, open_photos
from features.gallery.store import Embeddings
from features.gallery.view import View
from multitask import default_device

if TYPE_CHECKING:
    from features.gallery.encoder import GalleryEncoder

Log = Callable[[str], None]
FLOOR = 1e-2  # of a dimension's spread, as a share of the root mean square over all dimensions


@dataclass(frozen=True, eq=False)
class Vectors:
    """What the network gave: ids `(n,)`, vectors `(n, D)` float64, a hash of the photos, the id column's name.

    Vectors are kept in float64 until they are standardised: galleries may differ by a small share of a vector's size,
    and its rounding to float32 would be a hundred times larger beside that difference.
    """

    ids: np.ndarray
    raw: Tensor
    photos: str
    item: str


def embedded(view: View, vectors: Vectors) -> Embeddings:
    """Vectors in the view's own scale, with its fingerprint; overwrites `vectors.raw`."""
    matrix = vectors.raw.sub_(view.mean).div_(view.std).float().numpy()
    return Embeddings(vectors.ids, matrix, view.fingerprint, vectors.photos, vectors.item, view.task)


@torch.no_grad()
def network_vectors(
    network: GalleryNetwork,
    batches: Iterable[GalleryBatch],
    galleries: int = 0,
    *,
    stored: bool = False,
    outputs: bool = False,
    progress: Advance | None = None,
    photos: int = 0,
) -> tuple[Tensor, np.ndarray]:
    """Vectors `(n, D)` float64 of all galleries, on the CPU, and their rows `(n,)` of the items table.

    Parameters
    ----------
    network : GalleryNetwork
        In evaluation mode, on the batches' device.
    galleries : int
        How many there are, n, where it is known: memory then holds their vectors once.
    stored : bool
        The batches hold outputs of the frozen prefix.
    outputs : bool
        The heads' outputs `(n, sum of widths)` in place of the vectors.
    progress, photos
        Called with the photos done and `photos`, how many there are.
    """
    network, done = inference_network(network), 0
    width = sum(task.width for task in network.tasks) if outputs else network.dim
    vectors, end = torch.empty(galleries, width, dtype=torch.float64), 0
    rows = [torch.empty(0, dtype=torch.int64)]
    for batch in batches:
        start, end = end, end + len(batch.rows)
        if end > len(vectors):
            vectors = torch.cat([vectors, vectors.new_empty(end, width)])  # at least twice as many
        of_batch = network.outputs if outputs else network.embed_batch
        vectors[start:end] = of_batch(batch.galleries, stored=stored)
        rows.append(batch.rows.cpu())
        done += len(batch.galleries.pixels)
        if progress is not None:
            progress(done, photos)
    return vectors[:end], torch.cat(rows).numpy()


def standardisation(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread `(D,)` float32 of vectors `(n, D)` float64.

    A dimension that hardly varies is not blown up to the size of the others: its spread counts as at least a
    hundredth of the root mean square over the dimensions. Where nothing varies it counts as 1.

    Examples
    --------
    >>> mean, std = standardisation(torch.tensor([[1.0, 5.0], [3.0, 5.0]], dtype=torch.float64))
    >>> mean.tolist(), [round(s, 4) for s in std.tolist()]
    ([2.0, 5.0], [1.0, 0.0071])
    """
    spread = vectors.std(0, correction=0)
    floor = FLOOR * spread.square().mean().sqrt()
    spread = spread.clamp(min=float(floor)) if floor > 0 else torch.ones_like(spread)
    return vectors.mean(0).float(), spread.float()


def vectors_of_data(
    encoder: GalleryEncoder,
    data: GalleryData | Path | str,
    rows: np.ndarray | None,
    *,
    photos: PhotoSource | None,
    progress: bool | None,
    device: torch.device | str | None,
    log: Log | None,
    network: GalleryNetwork | None = None,
    outputs: bool = False,
) -> Vectors:
    """The galleries of a data set; see `GalleryEncoder.embed`.

    Parameters
    ----------
    network : GalleryNetwork, optional
        In place of the encoder's own: that of a `View`.
    outputs : bool
        As for `network_vectors`.
    """
    data = data if isinstance(data, GalleryData) else GalleryData.open(data)
    say, size = log or (lambda _: None), encoder.preprocessing.size
    raise_faults(
        Fault(f"must be {then}, as when the encoder was trained", key=f"[gallery].{name}", value=now)
        for name, then in (("max_photos", encoder.max_photos), ("max_pixels", encoder.max_pixels))
        if (now := getattr(data.schema.table, name)) != then
    )
    items = chosen_rows(rows, len(data))
    if photos is None:
        with photo_bar("decoding", progress) as advance:
            photos = open_photos(data, size, progress=advance)
    check_source(photos, data, size)
    for line in data.report.lines():
        say(line)
    sound, offsets = data.photos.galleries(photos.sound)
    counts = np.diff(offsets)[items]
    with photo_bar("embedding", progress) as advance:
        where = torch.device(device) if device is not None else default_device()
        network = (network or encoder.network).to(where).eval()
        batches = sequential_batches(photos, data.photos, items, encoder.config.photo_budget, device=where)
        total, without = int(counts.sum()), int((counts == 0).sum())
        raw, embedded_rows = network_vectors(
            network, batches, len(items) - without, outputs=outputs, progress=advance, photos=total
        )
    say(f"{len(embedded_rows):,} galleries embedded" + (f", {without:,} without a sound photo" if without else ""))
    if not len(embedded_rows):
        raise InputError("no gallery has a sound photo to embed")
    digest = hashlib.sha256(np.concatenate([[0], np.cumsum(counts[counts > 0])]).tobytes())
    digest.update(photos.digests[sound[ranges(offsets[:-1][items], counts)]].tobytes())
    return Vectors(_ids(data, embedded_rows), raw, digest.hexdigest(), data.schema.item)


def vectors_of_galleries(
    encoder: GalleryEncoder,
    galleries: Sequence[Sequence[bytes]],
    rows: np.ndarray | None,
    *,
    device: torch.device | str | None,
    log: Log | None,
    network: GalleryNetwork | None = None,
) -> Vectors:
    """Galleries as bytes, treated as those of a data set: repeated photos once, the first `max_photos`, sound ones."""
    if isinstance(galleries, bytes) or any(isinstance(gallery, bytes) for gallery in galleries):
        raise InputError("galleries must be lists of photos, each the bytes of a file; got photos: wrap them in a list")
    chosen = chosen_rows(rows, len(galleries)).tolist()
    for place in chosen:
        for photo in galleries[place]:
            if photo is not None and not isinstance(photo, bytes):
                raise InputError(
                    "photos must be the bytes of their files, as Path.read_bytes() gives them; "
                    f"got {type(photo).__name__} in gallery {place}"
                )
    size, budget = encoder.preprocessing.size, encoder.config.photo_budget
    where = torch.device(device) if device is not None else default_device()
    network = inference_network((network or encoder.network).to(where))
    digest, masked = hashlib.sha256(), Counter[str]()
    places: list[int] = []
    waiting: list[Tensor] = []  # galleries (n, 3, S, S) that make the next batch
    vectors, done = torch.empty(len(chosen), network.dim, dtype=torch.float64), 0

    def read(content: bytes) -> DecodedPhoto:
        return read_photo(content, size, max_pixels=encoder.max_pixels)

    def flush() -> None:
        nonlocal done
        if waiting:
            vectors[done : done + len(waiting)] = network.embed(PackedGalleries.from_list(waiting).to(where))
            done += len(waiting)
            waiting.clear()

    with ThreadPoolExecutor() as pool, torch.no_grad():
        for place in chosen:
            contents = list(dict.fromkeys(galleries[place][: encoder.max_photos]))
            found = list(pool.map(read, contents))
            masked.update(str(photo.reason) for photo in found if photo.pixels is None)
            sound = [(c, photo.pixels) for c, photo in zip(contents, found) if photo.pixels is not None]
            if not sound:
                continue
            places.append(place)
            digest.update(len(sound).to_bytes(8, "little"))
            for content, _ in sound:
                digest.update(hashlib.blake2b(content, digest_size=16).digest())
            if sum(map(len, waiting)) + len(sound) > budget:
                flush()
            waiting.append(torch.from_numpy(np.stack([pixels for _, pixels in sound])))
        flush()
    if log is not None:
        for reason, count in masked.items():
            log(f"photos left out: {reason}: {count:,}")
        if len(places) < len(chosen):
            log(f"galleries without a sound photo: {len(chosen) - len(places):,}")
    if not places:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in masked.items()) or "no photos given"
        raise InputError(f"no gallery has a sound photo to embed ({reasons})")
    return Vectors(np.array(places, np.int64), vectors[:done], digest.hexdigest(), "gallery")


def check_source(photos: PhotoSource, data: GalleryData, size: int) -> None:
    """Refuse photos of another size than the network's, or of another data set.

    Raises
    ------
    ValueError
        Naming what does not fit.
    """
    if photos.size != size:
        raise ValueError(f"`photos` must be {size} pixels wide, as the network takes them, got {photos.size}")
    if photos.resize != "stretch":
        raise ValueError(f'`photos` must be resized by "stretch", as every encoder does, got {photos.resize!r}')
    if len(photos) != len(data.photos):
        raise ValueError(f"`photos` must be the data's {len(data.photos)} photos, got {len(photos)}")
    if not photos.index.same_photos(data.photos):
        raise ValueError(
            f"`photos` must be the data's {len(data.photos)} photos, got as many of other files, rows or items"
        )


def _ids(data: GalleryData, rows: np.ndarray) -> np.ndarray:
    ids = data.item_ids.to_numpy(zero_copy_only=False)[rows]
    return ids if ids.dtype.kind in "iu" else ids.astype(str)
