"""What became of the groups, epoch by epoch: a table, and the tensors that a checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multitask.sharing.distances import Array, distances

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
        self.short_names = _short(task_names)
        self.records: list[tuple[int, list[int], bool, bool, float]] = []
        self.distances: dict[int, Array] = {}

    def add(self, epoch: int, group_of: Sequence[int], changed: bool, locked: bool, seconds: float) -> None:
        """The state after an epoch: T groups, whether they changed in it and are locked, and the clustering's time."""
        self.records.append((epoch, list(group_of), changed, locked, seconds))

    def note_distances(self, epoch: int, similarity: Tensor, group_of: Tensor) -> None:
        """The distances of the tasks by the similarity K `(G, G)` of their groups; NaN of one without a gradient."""
        present = torch.diagonal(similarity) > 0
        between = torch.full_like(similarity, torch.nan)
        if bool(present.any()):
            chosen = present.nonzero().squeeze(1)
            found = torch.from_numpy(distances(similarity[chosen][:, chosen].numpy()))
            between[chosen[:, None], chosen[None, :]] = found
        groups = group_of.cpu()
        self.distances[epoch] = between[groups][:, groups].numpy()

    def named(self, group_of: Sequence[int]) -> list[list[str]]:
        """The task names of each group."""
        return _grouped(self.task_names, group_of)

    def table(self) -> pd.DataFrame:
        """See `SelectiveSharing.history`; in `members` blanks and bars inside a task's name become "_"."""
        import pandas as pd

        rows = []
        for epoch, group_of, changed, locked, seconds in self.records:
            groups = _grouped(self.short_names, group_of)
            members = " | ".join(" ".join(group) for group in groups)
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


def _grouped(names: Sequence[str], group_of: Sequence[int]) -> list[list[str]]:
    return [
        [name for name, own in zip(names, group_of, strict=True) if own == group] for group in range(max(group_of) + 1)
    ]


def _short(names: Sequence[str]) -> list[str]:
    """The names without blanks and bars, all different.

    >>> _short(["free wifi", "pool", "free_wifi", ""])
    ['free_wifi', 'pool', 'free_wifi_2', '_']
    """
    short: list[str] = []
    for name in names:
        plain = "_".join(name.replace("|", " ").split()) or "_"
        candidates = (plain if n == 1 else f"{plain}_{n}" for n in range(1, len(names) + 1))
        short.append(next(candidate for candidate in candidates if candidate not in short))
    return short
