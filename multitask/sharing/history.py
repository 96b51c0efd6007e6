"""What became of the groups, epoch by epoch: a table, and the tensors that a checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multitask.sharing.distances import Array

if TYPE_CHECKING:
    import pandas as pd


class GroupingHistory:
    """One record per epoch.

    Args:
        task_names: T names.
        law: (P_outputs, P_branch), see `Branches.parameter_law`.

    >>> history = GroupingHistory(["a", "b", "c"], law=(3, 10))
    >>> history.add(0, [0, 1, 0], changed=True, locked=False, seconds=0.001)
    >>> history.table()[["epoch", "groups", "members", "parameters"]].values.tolist()
    [[0, 2, 'a c | b', 23]]
    """

    def __init__(self, task_names: Sequence[str], law: tuple[int, int]) -> None:
        self.task_names, self.law = list(task_names), law
        self.records: list[tuple[int, list[int], bool, bool, float]] = []
        self.distances: dict[int, Array] = {}

    def add(self, epoch: int, group_of: Sequence[int], changed: bool, locked: bool, seconds: float) -> None:
        """The state after an epoch: T groups, whether they changed in it and are locked, and the clustering's time."""
        self.records.append((epoch, list(group_of), changed, locked, seconds))

    def named(self, group_of: Sequence[int]) -> list[list[str]]:
        """The task names of each group."""
        return [
            [name for name, own in zip(self.task_names, group_of, strict=True) if own == group]
            for group in range(max(group_of) + 1)
        ]

    def table(self) -> pd.DataFrame:
        """See `SelectiveSharing.history`; blanks inside a task's name become "_" in `members`."""
        import pandas as pd

        rows = []
        for epoch, group_of, changed, locked, seconds in self.records:
            groups = self.named(group_of)
            members = " | ".join(" ".join("_".join(name.split()) for name in group) for group in groups)
            parameters = self.law[0] + len(groups) * self.law[1]
            rows.append((epoch, len(groups), members, changed, locked, parameters, seconds))
        columns = ["epoch", "groups", "members", "changed", "locked", "parameters", "clustering_seconds"]
        return pd.DataFrame(rows, columns=columns)

    def tensors(self) -> dict[str, Tensor]:
        """The records and the distances, for a checkpoint."""
        flags = [(epoch, changed, locked) for epoch, _, changed, locked, _ in self.records]
        return {
            "history.flags": torch.tensor(flags, dtype=torch.long).view(-1, 3),
            "history.groups": torch.tensor([groups for _, groups, *_ in self.records], dtype=torch.long),
            "history.seconds": torch.tensor([seconds for *_, seconds in self.records], dtype=torch.float64),
        } | {f"distances.{epoch}": torch.from_numpy(found) for epoch, found in self.distances.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `tensors` gave."""
        flags, groups = tensors["history.flags"].tolist(), tensors["history.groups"].tolist()
        seconds = tensors["history.seconds"].tolist()
        self.records = [
            (epoch, own, bool(changed), bool(locked), spent)
            for (epoch, changed, locked), own, spent in zip(flags, groups, seconds, strict=True)
        ]
        found = {
            int(name.removeprefix("distances.")): t for name, t in tensors.items() if name.startswith("distances.")
        }
        self.distances = {epoch: tensor.clone().numpy() for epoch, tensor in found.items()}
