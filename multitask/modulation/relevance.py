"""Which tasks are alike, read from the masks, and written into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


class HasMasks(Protocol):
    """What the regulariser needs of a `Modulation`."""

    def weights(self) -> Tensor:
        """All masks of a task in one row, `(T, P)`."""

    def task_number(self, task: str | int) -> int:
        """The number of a task."""


def distance_table(weights: Tensor, names: Sequence[str]) -> pd.DataFrame:
    """Mean and variance of |W_s - W_o| over all masks, for every pair of tasks: related tasks lie near each other.

    [Modulation] section 3.3 found .18 and .03 for smile / open mouth against .24 and .047 for smile / young. A task
    without training data lies at the ones where it began.

    Args:
        weights: `(T, P)` masks.
        names: of the T tasks.

    Returns:
        Columns task, other, mean, variance; one row per pair s < o, nearest first.

    >>> distance_table(torch.tensor([[1.0, 1.0], [1.0, 2.0]]), ["smile", "young"]).to_dict("records")
    [{'task': 'smile', 'other': 'young', 'mean': 0.5, 'variance': 0.25}]
    """
    import pandas as pd

    w = weights.detach().double().cpu()
    # One row of pairs at a time: all T (T - 1) / 2 differences of projections would not fit in memory.
    rows = []
    for s in range(len(names) - 1):
        difference = (w[s] - w[s + 1 :]).abs()  # (T - s - 1, P)
        means, variances = difference.mean(1), difference.var(1, correction=0)
        rows += list(zip([names[s]] * len(means), names[s + 1 :], means.tolist(), variances.tolist()))
    table = pd.DataFrame(rows, columns=["task", "other", "mean", "variance"])
    return table.sort_values("mean", kind="stable", ignore_index=True)


@dataclass(frozen=True)
class RelevanceRegulariser:
    """lambda sum over triples of max(0, msd(W_i, W_j) + beta - msd(W_i, W_k)), [Modulation] equation 8.

    Tasks i and j are known to be closer to each other than i and k. msd is the *mean* squared difference over all
    masks: the paper's sum would grow with the number of channels, and beta with it.

    Args:
        triples: (i, j, k), each a task's name or number.
        beta: the margin.
        weight: lambda.

    Raises:
        ValueError: if a triple is none of three different tasks, or a number is negative.

    >>> from torch import nn
    >>> from multitask.modulation import Modulation
    >>> modulation = Modulation(nn.Sequential(nn.Linear(2, 2)), ["smile", "mouth", "young"], ["0"],
    ...                         example=torch.zeros(1, 2))
    >>> regulariser = RelevanceRegulariser([("smile", "mouth", "young")])
    >>> round(regulariser(modulation).item(), 4)  # all masks are equal: .1 * .02
    0.002
    """

    triples: Sequence[tuple[str | int, str | int, str | int]]
    beta: float = 0.02
    weight: float = 0.1

    def __post_init__(self) -> None:
        for argument, value in (("beta", self.beta), ("weight", self.weight)):
            if not value >= 0:
                raise ValueError(f"`{argument}` must not be negative, got {value}")
        if not self.triples or any(len(triple) != 3 for triple in self.triples):
            raise ValueError(f"`triples` must be triples of tasks, at least one, got {self.triples!r}")

    def __call__(self, modulation: HasMasks) -> Tensor:
        """The penalty, a scalar to be added to the loss."""
        numbers = [[modulation.task_number(task) for task in triple] for triple in self.triples]
        if any(len(set(triple)) < 3 for triple in numbers):
            raise ValueError(f"`triples` must hold three different tasks each, got {self.triples!r}")
        w = modulation.weights()
        i, j, k = w[torch.tensor(numbers, device=w.device)].unbind(1)  # (N, P) each
        near, far = (i - j).square().mean(1), (i - k).square().mean(1)
        return self.weight * torch.relu(near + self.beta - far).sum()
