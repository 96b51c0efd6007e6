"""Arrays as text inside the page: little-endian bytes in base64, one bit per label."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

CODES = 256  # different row weights that fit into a byte


def packed(array: npt.NDArray[Any], dtype: str) -> str:
    """The bytes of `array` as `dtype`, which must be little-endian ("<f4"): what a browser's typed arrays hold.

    >>> packed(np.array([1.0]), "<f4")
    'AACAPw=='
    """
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")


def packed_bits(flags: npt.NDArray[np.bool_]) -> str:
    """One bit each, the lowest bit of a byte first.

    >>> packed_bits(np.array([True, False, True]))
    'BQ=='
    """
    return packed(np.packbits(flags, bitorder="little"), "u1")


def packed_weights(weights: npt.NDArray[np.float64]) -> dict[str, str] | None:
    """Row weights `(N,)`: nothing where all are 1, a table and a byte each where few differ, else all of them.

    >>> packed_weights(np.ones(3)) is None, list(packed_weights(np.array([1.0, 5.0])))
    (True, ['table', 'codes'])
    """
    if (weights == 1.0).all():
        return None
    table, codes = np.unique(weights, return_inverse=True)
    if len(table) > CODES:
        return {"values": packed(weights, "<f8")}
    return {"table": packed(table, "<f8"), "codes": packed(codes, "u1")}
