"""The heads on top of a trunk: apart for good, or as branches that may grow together while training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from multitask.sharing.branches import Branches
from multitask.towers import StackedTowers


def make_heads(
    in_features: int,
    hidden: int,
    widths: Sequence[int],
    *,
    bias: Sequence[float] | Tensor | None = None,
    branches: bool = False,
    group_of: Sequence[int] | None = None,
) -> StackedTowers | Branches:
    """One head per task: `StackedTowers`, or `Branches` with one hidden layer for `SelectiveSharing` to merge.

    Args:
        in_features: H, the trunk's `out_features`.
        hidden: units of each head's hidden layer; 0 = linear heads, not for branches.
        widths: outputs per task K_t (`Task.width`).
        bias: `(sum of K_t,)` first values of the last layer's biases. None = 0.
        branches: whether they are to be merged.
        group_of: `(T,)` groups that branches were merged to, for a network whose weights will be loaded; None = every
            task is a group of its own. Such heads lie on the CPU and not on a "meta" device, on which numbers have no
            values.

    Raises:
        ValueError: if an argument has a wrong length or size, or `group_of` does not number groups by their first task
            or is given without `branches`.

    >>> make_heads(8, 4, [1, 1, 3], branches=True, group_of=[0, 1, 0])(torch.zeros(5, 8)).shape
    torch.Size([5, 5])
    """
    if not branches:
        if group_of is not None:
            raise ValueError(f"`group_of` must be left out without `branches`, got {list(group_of)}")
        return StackedTowers(len(widths), in_features, hidden, widths, bias)
    if hidden < 1:
        raise ValueError(f"`hidden` of branches must be at least 1, got {hidden}")
    if group_of is None:
        return Branches(len(widths), in_features, (hidden,), widths, bias=bias)
    with torch.device("cpu"):
        heads = Branches(len(widths), in_features, (hidden,), widths, bias=bias)
        for parameter in heads.stacked_parameters():
            parameter.data = parameter.data[: max(group_of, default=0) + 1].clone()
        heads.regroup(group_of)
    return heads


def groups_of(heads: StackedTowers | Branches | None) -> list[int] | None:
    """`(T,)` the group of each task, as `make_heads` takes it; None where nothing is shared.

    >>> groups_of(make_heads(8, 4, [1, 1], branches=True)), groups_of(make_heads(8, 4, [1, 1]))
    ([0, 1], None)
    """
    return heads.group_of.tolist() if isinstance(heads, Branches) else None
