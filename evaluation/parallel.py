"""Independent parts of an evaluation at the same time: NumPy works outside the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MOST_THREADS = 4  # every part holds arrays of its own: more threads would cost memory sooner than they save time


def usable_threads() -> int:
    """The processors this process may use, at most 4; fewer where OMP_NUM_THREADS says so."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        usable = min(usable, int(wanted))
    return min(usable, MOST_THREADS)


def run_parts(parts: Mapping[str, Callable[[], Any]], threads: int | None = None) -> dict[str, Any]:
    """Call every part and return what each returned, under its name and in the order given.

    Args:
        parts: Name -> a call without arguments. The calls share no state, so the result does not depend on `threads`.
        threads: How many at a time; None for `usable_threads()`. With 1 they run one after the other, here.

    Raises:
        Exception: what the first failing part, in the order given, raised; parts not begun by then are left out.

    >>> run_parts({"a": lambda: 1, "b": lambda: 2})
    {'a': 1, 'b': 2}
    """
    count = usable_threads() if threads is None else threads
    if count < 1:
        raise ValueError(f"`threads` must be at least 1, got {count}")
    if count == 1 or len(parts) < 2:
        return {name: part() for name, part in parts.items()}
    with ThreadPoolExecutor(max_workers=count) as pool:
        begun = {name: pool.submit(part) for name, part in parts.items()}
        try:
            return {name: future.result() for name, future in begun.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
