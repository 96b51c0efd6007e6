"""What one task is: its name, its kind of label, and how many network outputs it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

TaskKind = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Task:
    """One thing to predict.

    Args:
        name: unique among the tasks of one model; used in error messages and tables.
        kind: ``"binary"`` (a 0/1 label, one logit), ``"multiclass"`` (a class number 0..n_classes - 1, one logit
            per class) or ``"regression"`` (a real number, one output).
        n_classes: the number of classes, for a multiclass task only.
        variance: the target's variance on the training rows, in the label's unit squared, for a regression only.
            Weightings divide the squared error by it, so that a price in euro does not drown a rate.

    Raises:
        ValueError: naming the argument at fault.

    >>> Task("click").width, Task("city", "multiclass", n_classes=60).width, Task("price", "regression").width
    (1, 60, 1)
    """

    name: str
    kind: TaskKind = "binary"
    n_classes: int = 2
    variance: float = 1.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("`name` of a task must be a non-empty string, got ''")
        if self.kind not in get_args(TaskKind):
            raise ValueError(f"`kind` of task {self.name!r} must be one of {get_args(TaskKind)}, got {self.kind!r}")
        if self.n_classes < 2:
            raise ValueError(f"`n_classes` of task {self.name!r} must be at least 2, got {self.n_classes}")
        if self.kind != "multiclass" and self.n_classes != 2:
            raise ValueError(f"`n_classes` of {self.kind} task {self.name!r} must be left out, got {self.n_classes}")
        if not (isfinite(self.variance) and self.variance > 0):
            raise ValueError(f"`variance` of task {self.name!r} must be finite and above 0, got {self.variance}")
        if self.kind != "regression" and self.variance != 1.0:
            raise ValueError(f"`variance` of {self.kind} task {self.name!r} must be left out, got {self.variance}")

    @property
    def width(self) -> int:
        """Number of network outputs: one per class of a multiclass task, else 1."""
        return self.n_classes if self.kind == "multiclass" else 1


def output_slices(tasks: Sequence[Task]) -> list[slice]:
    """The columns of each task in outputs of shape `(N, sum of widths)`, in the tasks' order.

    >>> output_slices([Task("click"), Task("city", "multiclass", n_classes=3), Task("price", "regression")])
    [slice(0, 1, None), slice(1, 4, None), slice(4, 5, None)]
    """
    slices, start = [], 0
    for task in tasks:
        slices.append(slice(start, start + task.width))
        start += task.width
    return slices
