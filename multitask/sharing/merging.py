"""Merging branches: what becomes of their weights, and of everything that an optimiser remembers of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from multitask.resume import set_data
from multitask.sharing.branches import Branches

Merge = Literal["lowest_loss", "mean", "max", "min"]
MERGES: tuple[str, ...] = get_args(Merge)
Change = Callable[[Tensor], Tensor]


def merge_branches(
    branches: Branches,
    labels: Sequence[int],
    losses: Sequence[float],
    merge: Merge = "lowest_loss",
    replace: Callable[[nn.Parameter, Change], None] | None = None,
) -> None:
    """Gives the groups of one label one branch [Selective 3.4]; outputs stay the tasks' own.

    - "lowest_loss": the branch of the group with the lowest loss is kept, bit for bit, with its moments;
    - "max", "min": of each weight the largest or smallest value, with the moments that belong to it;
    - "mean": means of the weights and of the moments.

    Args:
        branches: changed in place.
        labels: `(G,)` new group of each group, numbered by first member, as from `propose`.
        losses: `(G,)` loss of each group; infinite for one that is not to be kept.
        merge: one of `MERGES`.
        replace: `TrainingState.replace`, which applies a change to the weights, the moments and the averaged weights
            alike; None = the weights only.

    Raises:
        ValueError: if an argument does not fit; nothing is changed then.

    >>> branches = Branches(3, 2, hidden=(1,))
    >>> with torch.no_grad():
    ...     _ = branches.layers[0].bias.copy_(torch.tensor([[1.0], [2.0], [3.0]]))
    >>> merge_branches(branches, [0, 1, 0], losses=[0.5, 0.1, 0.2])
    >>> branches.layers[0].bias.flatten().tolist(), branches.group_of.tolist()
    ([3.0, 2.0], [0, 1, 0])
    """
    if merge not in MERGES:
        raise ValueError(f"`merge` must be one of {MERGES}, got {merge!r}")
    if len(labels) != branches.n_groups or len(losses) != branches.n_groups:
        raise ValueError(
            f"`labels` and `losses` must have {branches.n_groups} entries, got {len(labels)} and {len(losses)}"
        )
    new = torch.as_tensor(list(labels), device=branches.group_of.device)[branches.group_of]
    branches.check_groups(new)
    members = [[g for g, label in enumerate(labels) if label == new] for new in range(max(labels) + 1)]
    kept = [min(group, key=lambda g: losses[g]) for group in members]
    for parameter in branches.stacked_parameters():
        (replace or _replace)(parameter, _change(parameter.detach(), members, kept, merge))
    branches.regroup(new)


def _change(values: Tensor, members: list[list[int]], kept: list[int], merge: str) -> Change:
    """What makes `(G', ...)` of `values` and of any tensor beside it, `(G, ...)`."""
    if merge == "mean":
        return lambda tensor: torch.stack([tensor[group].mean(0) for group in members])
    if merge == "lowest_loss":
        index = torch.tensor(kept, device=values.device)
        return lambda tensor: tensor.index_select(0, index)
    sources = []
    for group in members:
        stack = values[group]
        chosen = stack.argmax(0) if merge == "max" else stack.argmin(0)
        sources.append(torch.tensor(group, device=values.device)[chosen])
    source = torch.stack(sources)  # (G', ...): the branch that each element comes from
    return lambda tensor: tensor.gather(0, source)


def _replace(parameter: nn.Parameter, change: Change) -> None:
    set_data(parameter, change(parameter.data))
