"""Rows with one vector and the labels of several tasks, whole in memory, in three parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Rows = NDArray[np.intp]
SHARES = (0.8, 0.1, 0.1)  # training, validation, test [Selective 4.1]


@dataclass(frozen=True)
class TaskTable:
    """N rows.

    Attributes:
        x: `(N, D)` what all tasks read.
        labels: `(N, T)`; 0/1, a class number or a value; NaN = missing.
    """

    x: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, D)` vectors and `(B, T)` labels."""
        return self.x.index_select(0, index), self.labels.index_select(0, index)

    def task(self, t: int) -> TaskTable:
        """The same vectors with the labels of task `t` alone, rows without one left out."""
        has = ~torch.isnan(self.labels[:, t])
        return TaskTable(self.x[has], self.labels[has, t : t + 1])


@dataclass(frozen=True)
class Parts:
    """What is trained on, what picks the best epoch, what is reported."""

    train: TaskTable
    validation: TaskTable
    test: TaskTable

    @classmethod
    def cut(cls, x: Tensor, labels: Tensor, rows: tuple[Rows, Rows, Rows]) -> Parts:
        """Tables of the `rows` of three parts."""
        index = [torch.from_numpy(part) for part in rows]
        return cls(*(TaskTable(x[part], labels[part]) for part in index))

    def task(self, t: int) -> Parts:
        """Of task `t` alone."""
        return Parts(self.train.task(t), self.validation.task(t), self.test.task(t))


def split_by(groups: ArrayLike, seed: int, shares: tuple[float, float, float] = SHARES) -> tuple[Rows, Rows, Rows]:
    """Rows for training, validation and test; rows of one group `(N,)` stay together.

    >>> parts = split_by(["a", "a", "b", "c", "c", "d"], seed=0, shares=(0.5, 0.25, 0.25))
    >>> sorted(np.concatenate(parts).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    codes, names = pd.factorize(np.asarray(groups))
    place = np.random.default_rng(seed).permutation(len(names))[codes] / len(names)  # (N,) in [0, 1)
    first, second = shares[0], shares[0] + shares[1]
    part = (place >= first).astype(int) + (place >= second)
    train, validation, test = (np.flatnonzero(part == number) for number in range(3))
    return train, validation, test
