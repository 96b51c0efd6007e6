"""Photos painted, developed and written as JPEG files, a chunk at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.world.camera import GRAINS, develop, grain_bank
from features.world.canvas import Array
from features.world.motif import GRAIN, MISHAP, RANDOM_NUMBERS, Motif
from features.world.photographs import STATES, Photographs
from features.world.scenes import NAMES, paint
from features.world.seeds import generator
from features.world.world import World

CHUNK = 4096  # photos of one table
BLOCK_PIXELS = 65_536  # painted together, of one scene: arrays of a size that stays in the core's cache
THREADS = 2  # NumPy and the encoder work outside the interpreter's lock
JPEG_QUALITY = 88
LAND_SLOPE = 1.5  # coast, hills and urban of a motif are sigmoid(1.5 cst), sigmoid(1.5 mtn) and sigmoid(1.5 urb)
SHOWN = ("vacation_rental", "block_of_flats", "balcony", "chain", "sea_view", "mountain_view", "city_view")


def photo_tables(world: World, photographs: Photographs, size: int) -> Iterator[pa.Table]:
    """Take the photos: item_id (int64), order (int32), jpeg (binary), true_scene (string); 4,096 rows at a time.

    A photo's bytes depend on its row in `photographs` and on the world; how the work is cut into chunks and blocks, and
    which thread has done it, leave no trace.

    Parameters
    ----------
    world : World
    photographs : Photographs
        Of that world.
    size : int
        Pixels of a side.

    Yields
    ------
    pa.Table

    Examples
    --------
    >>> world = World.generate(properties=2, users=1)
    >>> table = next(photo_tables(world, Photographs.of_guests(world), 32))
    >>> table.column_names, table["jpeg"][0].as_py()[:2]
    (['item_id', 'order', 'jpeg', 'true_scene'], b'\\xff\\xd8')
    """
    random = generator(world.seed, f"{photographs.stream} places")
    darkroom = _Darkroom(world, photographs, grain_bank(generator(world.seed, f"{photographs.stream} grain"), size))
    step = max(1, BLOCK_PIXELS // size**2)
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(photographs), CHUNK):
            rows = np.arange(first, min(first + CHUNK, len(photographs)))
            u = random.random((len(rows), RANDOM_NUMBERS), dtype=np.float32)
            of_scene = [np.flatnonzero(photographs.scene[rows] == k) for k in range(len(NAMES))]
            blocks = [those[i : i + step] for those in of_scene for i in range(0, len(those), step)]
            files: list[bytes] = [b""] * len(rows)
            done = pool.map(darkroom.files, [rows[block] for block in blocks], [u[block] for block in blocks])
            for block, made in zip(blocks, done):
                for i, file in zip(block, made):
                    files[i] = file
            yield pa.table(
                {
                    "item_id": photographs.item[rows],
                    "order": photographs.order[rows],
                    "jpeg": pa.array(files, type=pa.binary()),
                    "true_scene": pa.array(NAMES).take(pa.array(photographs.scene[rows])),
                }
            )


class _Darkroom:
    """Makes files of photos of one scene, given their rows and random numbers; the same from any thread."""

    def __init__(self, world: World, photographs: Photographs, bank: Array) -> None:
        self.photographs = photographs
        self.bank = bank
        self.flags = {name: world.attributes[name].astype(np.float32) for name in SHOWN}
        land = 1 / (1 + np.exp(-LAND_SLOPE * world.properties.latents))
        self.coast, self.hills, self.urban = land.astype(np.float32).T[2:5]

    def files(self, rows: NDArray[np.int64], u: Array) -> list[bytes]:
        taken, item = self.photographs, self.photographs.item[rows]
        motif = Motif(
            strength=np.clip(taken.strength[rows], 0, 1),
            clutter=np.clip(taken.clutter[rows], 0, 1),
            hue=np.clip(taken.hue[rows], 0, 1),
            urban=self.urban[item],
            hills=self.hills[item],
            coast=self.coast[item],
            flags={name: flag[item] for name, flag in self.flags.items()},
            u=u,
        )
        pixels = develop(
            paint(NAMES[taken.scene[rows[0]]], motif, self.bank.shape[-1]),
            quality=taken.quality[rows],
            gain=taken.gain[rows],
            warmth=taken.warmth[rows],
            bank=self.bank,
            grain=(u[:, GRAIN : GRAIN + 3] * GRAINS).astype(np.int64),
        )
        states = (STATES[state] for state in taken.state[rows])
        return [spoil(encode_jpeg(photo), state, *numbers) for photo, state, numbers in zip(
            pixels, states, u[:, MISHAP : MISHAP + 2].tolist())]  # fmt: skip


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """One photo, (S, S, 3), as a JPEG file of quality 88.

    Examples
    --------
    >>> encode_jpeg(np.zeros((8, 8, 3), dtype=np.uint8))[-2:]
    b'\\xff\\xd9'
    """
    from PIL import Image  # here, because `import features` must not load it

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def spoil(file: bytes, state: str, place: float, number: float) -> bytes:
    """The file in one of `STATES`; two numbers in 0..1 say where it is cut off and what garbage it is.

    Examples
    --------
    >>> spoil(b"0123456789", "truncated", 0.5, 0.0), spoil(b"0123456789", "empty", 0.5, 0.0)
    (b'01234', b'')
    >>> len(spoil(b"0123456789", "garbage", 0.5, 0.0))
    10
    """
    if state == "truncated":
        return file[: int(len(file) * (0.25 + 0.5 * place))]
    if state == "empty":
        return b""
    if state == "garbage":
        return np.random.default_rng(int(number * 2**24)).bytes(len(file))
    return file
