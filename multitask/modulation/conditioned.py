"""What all networks that are told their task have in common: names, one call, every task at once."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

# Of every row its task's number, `(B,)` integers in a tensor, an array or a list; or the one task of all rows, by name
# or number. None, where a call left it out, is refused.
Tasks = Tensor | ArrayLike | None


class TaskConditioned(nn.Module, ABC):
    """A network `(x, tasks) -> (B, d)`: how each row is mapped depends on the row's task.

    Args:
        tasks: names of the tasks, or T for the names "0" to "T - 1".

    Attributes: `task_names`, `n_tasks`.
    """

    def __init__(self, tasks: int | Sequence[str]) -> None:
        super().__init__()
        self.task_names = task_names(tasks)
        self.n_tasks = len(self.task_names)

    @abstractmethod
    def forward(self, *inputs: Tensor, tasks: Tasks = None) -> Tensor:
        """`(B, ...)` inputs and `(B,)` task numbers, or the one task of all rows, to `(B, d)`.

        Numbers are checked where they lie: on a GPU that waits for the device, so pass them on the CPU.
        """

    @abstractmethod
    def all_tasks(self, *inputs: Tensor) -> Tensor:
        """`(B, ...)` inputs to `(B, T, d)`: every row under every task."""

    @property
    @abstractmethod
    def extra_parameters(self) -> int:
        """How many parameters there are beyond those of one network that all tasks share."""

    @torch.no_grad()
    def embed(self, x: Tensor, task: str | int) -> Tensor:
        """The rows of x `(B, ...)` under one task, by name or number: `(B, d)`, without gradients.

        Raises:
            ValueError: in training mode, in which dropout would act and BatchNorm statistics would move.
        """
        if self.training:
            raise ValueError("`embed` must be called in evaluation mode, got a network in training: call eval() first")
        embedded: Tensor = self(x, tasks=task)
        return embedded

    def task_number(self, task: str | int) -> int:
        """The number of a task given by name or number.

        Raises:
            ValueError: if there is no such task; names those that there are.
        """
        if isinstance(task, str) and task in self.task_names:
            return self.task_names.index(task)
        number = _integer(task)
        if number is not None and 0 <= number < self.n_tasks:
            return number
        raise ValueError(f"`task` must be one of {self.task_names} or a number below {self.n_tasks}, got {task!r}")

    def task_numbers(self, tasks: Tasks, inputs: Sequence[Tensor]) -> Tensor:
        """`(B,)` task numbers (long) for the rows of the inputs, on the first input's device.

        Raises:
            ValueError: if `tasks` is None, has another shape or type, or holds a number that is no task; or if there
                is no input.
        """
        rows = rows_of(inputs)
        if tasks is None:
            raise ValueError(f"`tasks` must hold the task of every row, or name one for all ({rows} rows), got None")
        if isinstance(tasks, str) or _integer(tasks) is not None:
            return torch.full((rows,), self.task_number(tasks), device=inputs[0].device)  # type: ignore[arg-type]
        numbers = tasks if isinstance(tasks, Tensor) else _tensor(tasks)
        if numbers is None or numbers.shape != (rows,) or numbers.dtype not in _INTEGERS:
            got = repr(tasks) if numbers is None else f"{tuple(numbers.shape)} {numbers.dtype}"
            raise ValueError(f"`tasks` must be ({rows},) integers, or one task of all rows, got {got}")
        if rows:
            low, high = (int(bound) for bound in torch.aminmax(numbers))
            if low < 0 or high >= self.n_tasks:
                raise ValueError(f"`tasks` must lie in 0..{self.n_tasks - 1}, got {low if low < 0 else high}")
        return numbers.to(inputs[0].device, torch.long)


def task_names(tasks: int | Sequence[str]) -> tuple[str, ...]:
    """The T names.

    Raises:
        ValueError: unless `tasks` is at least 1, or holds different names.

    >>> task_names(2), task_names(["type", "colour"])
    (('0', '1'), ('type', 'colour'))
    """
    number = _integer(tasks)
    if number is not None:
        names: tuple[Any, ...] = tuple(map(str, range(number)))
    else:
        names = tuple(tasks) if isinstance(tasks, Iterable) and not isinstance(tasks, str) else ()
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"`tasks` must be at least 1, or different names, got {tasks!r}")
    return names


def rows_of(inputs: Sequence[Tensor]) -> int:
    """B.

    Raises:
        ValueError: if there is no input, or the first is no tensor with rows.
    """
    if not inputs or not isinstance(inputs[0], Tensor) or inputs[0].ndim == 0:
        got = type(inputs[0]).__name__ if inputs else "none"
        raise ValueError(f"`inputs` must begin with a tensor of rows (B, ...), got {got}")
    return inputs[0].shape[0]


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _integer(value: Any) -> int | None:
    """A number of any integer type; None for all else, also for True and False and for tensors."""
    if isinstance(value, bool | np.bool_ | Tensor):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _tensor(values: Any) -> Tensor | None:
    """What is no tensor yet, copied (an array may be read-only); None if it is nothing of the kind."""
    try:
        array = np.array(values)
        return torch.from_numpy(array.astype(np.int64) if array.size == 0 else array)
    except (TypeError, ValueError):  # ragged, or neither numbers nor bools
        return None
