"""Rows in order of their utility by one sort of integers: the score and what is known of the row in a single key.

A sort that carries row numbers along, and the gathers through them afterwards, cost several times as much as a sort of
plain integers. So each row becomes one unsigned integer: in the high bits the bits of its float32 score, turned so that
the highest score is the smallest key; in the low bits a code, which says all that a metric has to know of the row (its
labels, its weight, its request). After the sort the codes lie in order of the scores, with nothing to look up.

Nothing is rounded. Positive float32 numbers are ordered as their bits are, and when the highest and the lowest score
are less than 2^(32 - code bits) such steps apart, the distance to the highest fits beside the code in 32 bits (4 code
bits leave 28: a factor of 2^32 between the scores). Any other finite scores (0, negative, further apart) take keys of
64 bits, which sort in about twice the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.checks import IntArray

CHUNK = 32_768  # rows of one pass: their columns stay in the processor's cache between its steps

CodeArray = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class RankedRows:
    """The rows from the highest score to the lowest, each known by its code.

    Attributes:
        codes: `(N,)` the rows' codes in that order.
        positives: `(M,)` positions of the rows whose code is at least the `positive_from` of `rank_rows`, ascending.
        ends: `(M,)` rows scored as high as each of them or higher: where its group of equal scores ends.
    """

    codes: CodeArray
    positives: IntArray
    ends: IntArray


def rank_rows(
    scores: npt.NDArray[np.float32], codes: npt.NDArray[np.uint32], bits: int, positive_from: int
) -> RankedRows:
    """Sorts rows by score, highest first, and finds the groups of equal scores that hold a positive row.

    Args:
        scores: `(N,)` finite, N >= 1; -0.0 ties with 0.0. Keys take its memory: it holds no scores afterwards.
        codes: `(N,)` below 2^bits.
        bits: How many bits a code takes, at most 32.
        positive_from: Codes from here on are positive rows. They are the highest codes, so within a group of equal
            scores they come last, and the group ends where its last positive row does: no search for it is needed.

    Raises:
        ValueError: a score that is NaN or infinite.

    >>> scores = np.array([0.1, 0.3, 0.3, 0.2], np.float32)
    >>> ranked = rank_rows(scores, np.array([1, 1, 0, 0], np.uint32), bits=1, positive_from=1)
    >>> ranked.codes.tolist(), ranked.positives.tolist(), ranked.ends.tolist()
    ([0, 1, 0, 1], [1, 3], [2, 4])
    """
    low, high = scores.min(), scores.max()  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"utilities must be finite float32 numbers, got values from {low} to {high}")
    top = int(high.view(np.uint32))
    if low > 0.0 and top - int(low.view(np.uint32)) < 1 << (32 - bits):
        keys: CodeArray = _narrow_keys(scores, codes, bits, top)
        shift = bits
    else:
        keys, shift = _wide_keys(scores, codes), 32
    keys.sort()
    sorted_codes = keys.astype(_code_type(bits))  # the low bits ...
    sorted_codes &= sorted_codes.dtype.type((1 << bits) - 1)  # ... without those of the score
    positives = np.flatnonzero(sorted_codes >= positive_from)
    return RankedRows(sorted_codes, positives, _group_ends(keys.take(positives) >> keys.dtype.type(shift), positives))


def _narrow_keys(
    scores: npt.NDArray[np.float32], codes: npt.NDArray[np.uint32], bits: int, top: int
) -> npt.NDArray[np.uint32]:
    """(bits of the highest score - bits of the score) << bits | code, in the memory of `scores`."""
    keys = scores.view(np.uint32)
    highest, shift = np.uint32(top), np.uint32(bits)
    for start in range(0, len(keys), CHUNK):
        key = keys[start : start + CHUNK]
        np.subtract(highest, key, out=key)
        np.left_shift(key, shift, out=key)
        np.bitwise_or(key, codes[start : start + CHUNK], out=key)
    return keys


def _wide_keys(scores: npt.NDArray[np.float32], codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """The 32 bits of every float32 score, turned so that they fall as the score rises, << 32 | code."""
    keys = np.empty(len(scores), np.uint64)
    turn = np.int32(0x7FFFFFFF)
    for start in range(0, len(keys), CHUNK):
        score, key = scores[start : start + CHUNK], keys[start : start + CHUNK]
        score += np.float32(0.0)  # -0.0 has other bits than 0.0
        signed = score.view(np.int32)
        # the bits of a negative number grow as it falls, as wanted, and exceed those of every positive one;
        # those of a positive number have to be turned
        signed ^= ~(signed >> np.int32(31)) & turn
        key[...] = score.view(np.uint32)
        key <<= np.uint64(32)
        key |= codes[start : start + CHUNK]
    return keys


def _group_ends(keys: CodeArray, positives: IntArray) -> IntArray:
    """For each positive row the position after the last positive row with the same score."""
    ends = positives + 1
    tied = np.flatnonzero(keys[1:] == keys[:-1])  # with the positive row that follows
    if len(tied):
        run_ends = np.append(np.flatnonzero(np.diff(tied) != 1), len(tied) - 1)
        last = tied.take(run_ends) + 1
        ends[tied] = np.repeat(ends.take(last), np.diff(run_ends, prepend=-1))
    return ends


def _code_type(bits: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
