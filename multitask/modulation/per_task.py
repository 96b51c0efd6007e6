"""Rows of several tasks, each task's through a function of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def per_task(apply: Callable[..., Tensor], inputs: Sequence[Tensor], tasks: Tensor, n_tasks: int) -> Tensor:
    """`apply(t, *rows of task t)` for every task that has rows, put together in the rows' own order.

    One call per task on all of its rows, however they lie: weights gathered per row would take B times their memory.

    Args:
        apply: keeps the rows.
        inputs: at least one, `(B, ...)` each.
        tasks: `(B,)` task numbers (long).
        n_tasks: T.

    Returns:
        `(B, ...)`; without rows what task 0 makes of none.

    >>> per_task(lambda t, x: 10 * x + t, [torch.tensor([1.0, 2.0, 3.0])], torch.tensor([2, 0, 2]), n_tasks=3).tolist()
    [12.0, 20.0, 32.0]
    """
    order = torch.argsort(tasks, stable=True)
    counts = torch.bincount(tasks, minlength=n_tasks).tolist()
    parts = zip(*(x.index_select(0, order).split(counts) for x in inputs))
    outputs = [apply(t, *part) for t, part in enumerate(parts) if counts[t]]
    return torch.cat(outputs).index_select(0, torch.argsort(order)) if outputs else apply(0, *inputs)
