"""Shuffled batches cut from columns in memory, without a per-row loader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from multitask import distributed
from multitask.config import TrainingConfig

Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)


class Selectable(Protocol[Batch_co]):
    """Columns of equal length from which rows can be taken: `select` gathers every column by `index_select`."""

    def __len__(self) -> int: ...

    def select(self, index: Tensor) -> Batch_co: ...


class ShuffledBatches(Generic[Batch]):
    """Each epoch's rows in a random order that depends on (seed, epoch) only, cut into batches.

    So a resumed run skips to its step without replaying anything. Data on a CUDA device stay there: the epoch's order
    is moved to the device once and every batch is gathered from it. Under `torchrun` every rank takes its static slice
    of every global batch, the same number of rows on all ranks.

    Args:
        data: N rows, with `__len__` and `select(index (B,)) -> batch`.
        batch_size: rows of a global batch; cut to N if N is smaller, and to a multiple of `world`.
        seed: of the orders.
        drop_last: leave the last short batch out when there is more than one full batch: all shapes stay equal (each
            epoch leaves other rows out). Otherwise a short batch counts as much as a full one in the training.
        rank, world: this process's number and the number of processes; None = as `torchrun` says.
        device: where the index is handed over, the data's device.

    Raises:
        ValueError: if a number is out of range, or there are fewer rows than processes.

    >>> class Numbers(list):
    ...     def select(self, index):
    ...         return [self[i] for i in index.tolist()]
    >>> batches = ShuffledBatches(Numbers("abcde"), batch_size=2, seed=1, drop_last=False)
    >>> len(batches), sorted("".join(sum(batches.epoch(0), [])))
    (3, ['a', 'b', 'c', 'd', 'e'])
    """

    def __init__(
        self,
        data: Selectable[Batch],
        batch_size: int,
        *,
        seed: int = 0,
        drop_last: bool = True,
        rank: int | None = None,
        world: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.rank = distributed.rank() if rank is None else rank
        self.world = distributed.world_size() if world is None else world
        if not 0 <= self.rank < self.world:
            raise ValueError(f"`rank` must satisfy 0 <= rank < world ({self.world}), got {self.rank}")
        if batch_size < self.world:
            raise ValueError(f"`batch_size` must be at least the number of processes ({self.world}), got {batch_size}")
        if len(data) < self.world:
            raise ValueError(f"`data` must hold at least one row per process ({self.world}), got {len(data)}")
        self.data, self.seed, self.device = data, seed, device
        self.batch_size = min(batch_size, len(data)) // self.world * self.world
        full, rest = divmod(len(data), self.batch_size)
        # A last batch with fewer rows than processes cannot be shared out, so it is left out as well.
        self.steps = full if (drop_last and full > 1) or rest < self.world else full + 1

    @classmethod
    def of(cls, data: Selectable[Batch], config: TrainingConfig, *, device: torch.device | str | None = None) -> Self:
        """The batches that `config` asks for (`batch_size`, `seed`)."""
        return cls(data, config.batch_size, seed=config.seed, device=device)

    def __len__(self) -> int:
        return self.steps

    @property
    def rows(self) -> int:
        """Rows of an epoch, over all processes; the loop reports rows per second by it."""
        rows = min(self.steps * self.batch_size, len(self.data))
        return rows // self.world * self.world

    def order(self, number: int) -> Tensor:
        """`(N,)` row numbers of epoch `number`."""
        state = np.random.SeedSequence([self.seed, number]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
        return torch.randperm(len(self.data), generator=generator)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` from step `start` on."""
        order = self.order(number)
        if self.device is not None:
            order = order.to(self.device)
        for step in range(start, self.steps):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            share = len(rows) // self.world
            yield self.data.select(rows[self.rank * share : (self.rank + 1) * share])
