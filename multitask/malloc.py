"""Keeps freed buffers inside the process: glibc otherwise returns them to the system and faults them in again."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# The parameters' numbers in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


@cache
def keep_freed_memory() -> bool:
    """Raises glibc's thresholds once per process; True where that was possible (Linux with glibc).

    A training step allocates and frees tens of megabytes (activations, the gradients of embedding tables). By default
    glibc maps every block above 128 KiB - 32 MiB afresh and gives the free top of the heap back, so each step pays
    page faults for the same memory: measured up to 14 times slower over an epoch than in its first steps. With
    M_MMAP_THRESHOLD and M_TRIM_THRESHOLD out of reach the heap keeps its peak size, and freed blocks are reused.
    The price is that memory freed after training stays with the process, ready for its next allocation.

    `MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_` and `MALLOC_TOP_PAD_` in the environment do the same.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without mallopt, e.g. musl
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    # Older glibc accepts at most 32 MiB for the mmap threshold and answers 0 above it.
    mapped = any(mallopt(_M_MMAP_THRESHOLD, size) for size in (1 << 30, 32 << 20))
    kept = mallopt(_M_TRIM_THRESHOLD, -1)  # -1: never give the top of the heap back
    padded = mallopt(_M_TOP_PAD, 64 << 20)  # grow the heap in steps of 64 MiB instead of 128 KiB
    return bool(mapped and kept and padded)
