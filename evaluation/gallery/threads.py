"""One thread for small products: threads that wait for each other cost more than they save on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run with one thread in torch and in what NumPy and scikit-learn call.

    A two-layer head on a thousand vectors takes 2 s so, and 78 s of two cores' time where two threads spin for each
    other on cores that others want as well.

    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)
