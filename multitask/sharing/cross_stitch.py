"""Cross-stitch branches: every task its own branch, mixed after each layer by learned shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from multitask.sharing.branches import Branches


class CrossStitchUnit(nn.Module):
    """h_s <- sum_t a_st h_t, one `(T, T)` matrix a for all units of a layer [Cross-stitch] eq. 1.

    Starts with `own` on the diagonal and the rest shared evenly. It has its own learning-rate factor: at the rate of
    the layers' weights, which are small, entries near 0 and 1 would hardly move. [Cross-stitch] table 3 finds factors
    of 100 to 1000 best where trained layers are tuned at a low rate; here all start together at the full one, and the
    default of 10 is a choice, not tuned.
    """

    def __init__(self, n_tasks: int, own: float = 0.9, rate_factor: float = 10.0) -> None:
        super().__init__()
        share = (1 - own) / max(1, n_tasks - 1)
        start = torch.full((n_tasks, n_tasks), share)
        self.weight = nn.Parameter(start.fill_diagonal_(own if n_tasks > 1 else 1.0))
        self.learning_rate_factor = rate_factor
        self.no_weight_decay = ("weight",)

    def forward(self, h: Tensor) -> Tensor:
        """`(T, B, h)` to the same."""
        return (self.weight.to(h.dtype) @ h.flatten(1)).view(h.shape)


class CrossStitch(Branches):
    """`Branches` that are never merged: a `CrossStitchUnit` after every hidden layer decides what tasks share.

    [Cross-stitch] with one matrix per layer. The branches start equal, so that their units correspond.

    Args:
        n_tasks, in_features, hidden, widths, dropout, bias: as for `Branches`.
        rate_factor: learning rate of the mixing matrices over the rest's.

    >>> stitched = CrossStitch(3, 8, hidden=(6, 4))
    >>> stitched(torch.zeros(5, 8)).shape, [unit.weight.shape for unit in stitched.units]
    (torch.Size([5, 3]), [torch.Size([3, 3]), torch.Size([3, 3])])
    """

    def __init__(
        self,
        n_tasks: int,
        in_features: int,
        hidden: Sequence[int],
        widths: Sequence[int] | None = None,
        dropout: float = 0.0,
        bias: Sequence[float] | Tensor | None = None,
        rate_factor: float = 10.0,
    ) -> None:
        super().__init__(n_tasks, in_features, hidden, widths, dropout, bias)
        self.units = nn.ModuleList(CrossStitchUnit(n_tasks, rate_factor=rate_factor) for _ in hidden)

    def parameter_law(self) -> tuple[int, int]:
        """(P_outputs and the mixing matrices, P_branch)."""
        outputs, per_branch = super().parameter_law()
        return outputs + sum(parameter.numel() for parameter in self.units.parameters()), per_branch

    def check_groups(self, group_of: Tensor) -> int:
        """Refused: cross-stitched branches stay apart."""
        raise ValueError("`branches` must be `Branches` to be merged, got `CrossStitch`")

    def mixed(self, depth: int, h: Tensor) -> Tensor:
        """`(T, B, out)` activations of hidden layer `depth`, mixed over the tasks."""
        return self.units[depth](h)
