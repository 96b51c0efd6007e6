"""What all networks that are told their task have in common: names, one call, every task at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TaskConditioned(nn.Module, ABC):
    """A network `(x, tasks) -> (B, d)`: how each row is mapped depends on the row's task.

    Args:
        tasks: names of the tasks, or T for the names "0" to "T - 1".

    Attributes: `task_names`, `n_tasks`.
    """

    def __init__(self, tasks: int | Sequence[str]) -> None:
        super().__init__()
        names = tuple(map(str, range(tasks))) if isinstance(tasks, int) else tuple(tasks)
        if isinstance(tasks, str) or not names or not all(names) or len(set(names)) < len(names):
            raise ValueError(f"`tasks` must be at least 1, or different names, got {tasks!r}")
        self.task_names, self.n_tasks = names, len(names)

    @abstractmethod
    def forward(self, *inputs: Tensor, tasks: Tensor | str | int | None = None) -> Tensor:
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

        BatchNorm and dropout act as the network's mode says: call `eval()` first.
        """
        embedded: Tensor = self(x, tasks=task)
        return embedded

    def task_number(self, task: str | int) -> int:
        """The number of a task given by name or number.

        Raises:
            ValueError: if there is no such task; names those that there are.
        """
        if isinstance(task, str) and task in self.task_names:
            return self.task_names.index(task)
        if isinstance(task, int) and 0 <= task < self.n_tasks:
            return task
        raise ValueError(f"`task` must be one of {self.task_names} or a number below {self.n_tasks}, got {task!r}")

    def task_numbers(self, tasks: Tensor | str | int | None, x: Tensor) -> Tensor:
        """`(B,)` task numbers (long) for the rows of x, on x's device.

        Raises:
            ValueError: if `tasks` is None, has another shape or type, or holds a number that is no task.
        """
        rows = x.shape[0]
        if isinstance(tasks, str | int):
            return torch.full((rows,), self.task_number(tasks), device=x.device)
        if tasks is None:
            raise ValueError(f"`tasks` must hold the task of every row, or name one for all ({rows} rows), got None")
        if tasks.shape != (rows,) or tasks.is_floating_point() or tasks.dtype == torch.bool:
            raise ValueError(f"`tasks` must be ({rows},) integers, got {tuple(tasks.shape)} {tasks.dtype}")
        if rows:
            low, high = (int(bound) for bound in torch.aminmax(tasks))
            if low < 0 or high >= self.n_tasks:
                raise ValueError(f"`tasks` must lie in 0..{self.n_tasks - 1}, got {low if low < 0 else high}")
        return tasks.to(x.device, torch.long)
