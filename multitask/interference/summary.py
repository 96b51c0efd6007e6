"""The tasks' inner products in several minibatches, with the tasks' names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from torch import Tensor

from multitask.interference.compliance import conflict_index, gradient_cosines, present_pairs, update_compliance

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Interference:
    """How K minibatches' gradients of T tasks lie to each other.

    Args:
        tasks: the T names.
        grams: `(K, T, T)`, from `gradient_gram`.

    Raises:
        ValueError: if the shape does not fit the names.

    >>> import torch
    >>> two = Interference(("shape", "colour"), torch.tensor([[[4.0, 2.0], [2.0, 1.0]], [[1.0, -1.0], [-1.0, 1.0]]]))
    >>> two.table().to_dict("records")
    [{'task': 'shape', 'other': 'colour', 'minibatches': 2, 'ucr': 0.5, 'cosine': 0.0}]
    """

    tasks: tuple[str, ...]
    grams: Tensor

    def __post_init__(self) -> None:
        n = len(self.tasks)
        if self.grams.ndim != 3 or self.grams.shape[1:] != (n, n):
            raise ValueError(f"`grams` must have shape (minibatches, {n}, {n}), got {tuple(self.grams.shape)}")

    @property
    def compliance(self) -> Tensor:
        """`(T, T)` Update Compliance Ratios: `update_compliance`."""
        return update_compliance(self.grams)

    @property
    def cosines(self) -> Tensor:
        """`(T, T)` mean cosines: `gradient_cosines`."""
        return gradient_cosines(self.grams)

    @property
    def conflict(self) -> float:
        """c: `conflict_index`."""
        return conflict_index(self.grams)

    def table(self) -> pd.DataFrame:
        """One row per pair of tasks: task, other, minibatches (that say something about the pair), ucr, cosine."""
        import pandas as pd

        counts = present_pairs(self.grams).sum(0).tolist()
        ratios, cosines = self.compliance.tolist(), self.cosines.tolist()
        rows = [
            (self.tasks[t], self.tasks[other], counts[t][other], ratios[t][other], cosines[t][other])
            for t, other in combinations(range(len(self.tasks)), 2)
        ]
        return pd.DataFrame(rows, columns=["task", "other", "minibatches", "ucr", "cosine"])
