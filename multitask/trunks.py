"""Which trunk: every choice of sharing between tasks on one code path."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from multitask.cross import CrossNetwork
from multitask.input_linear import joined
from multitask.mmoe import MMoE
from multitask.modulation.modulated_bottom import ModulatedBottom
from multitask.ple import PLE
from multitask.shared_bottom import SharedBottom

TRUNKS = ("shared_bottom", "mmoe", "ple")

Trunk = SharedBottom | MMoE | PLE


class CrossedTrunk(nn.Module):
    """Cross layers, then a trunk: the stacked structure of DCN-v2 [Wang 2021] figure 1a."""

    def __init__(self, cross: CrossNetwork, trunk: Trunk) -> None:
        super().__init__()
        self.cross, self.trunk = cross, trunk
        self.out_features = trunk.out_features

    @property
    def first_linear(self) -> nn.Linear | None:
        """None: behind a cross layer no part of the input stays separable."""
        return None

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Tensor:
        """`(B, D)` to `(B, T, H)`; the last D2 columns may come apart as `fixed` `(B, D2)`, and are joined here."""
        h: Tensor = self.trunk(self.cross(joined(x, fixed)))
        return h


def make_trunk(
    name: str,
    in_features: int,
    n_tasks: int,
    *,
    hidden: Sequence[int] = (512, 256, 128),
    dropout: float = 0.0,
    n_experts: int = 4,
    n_specific: int = 1,
    n_levels: int = 2,
    cross_layers: int = 0,
    modulation: bool = False,
) -> Trunk | CrossedTrunk:
    """The trunk called `name`; each maps `(B, D)` to `(B, T, out_features)`.

    `trunk(x)`, or `trunk(x, fixed)` with the last columns apart: those from which nothing upstream learns, such as
    stored item vectors. That is the same function, and saves the gradient of the fixed part.

    Args:
        name: "shared_bottom", "mmoe" or "ple".
        in_features: D.
        n_tasks: T.
        hidden: sizes of the layers from input to output.
        dropout: share of the activations set to 0 in training, after every layer.
        n_experts: experts that all tasks share (mmoe; ple: per level).
        n_specific: experts of each task per level (ple).
        n_levels: levels of experts (ple); at most the number of layers.
        cross_layers: cross layers in front; 0 = none.
        modulation: every task scales the shared layers' channels by masks of its own (`ModulatedBottom`); for
            "shared_bottom" with at least one layer.

    Raises:
        ValueError: naming the argument at fault.

    >>> make_trunk("mmoe", 10, 4, hidden=(8, 6), cross_layers=1).out_features
    6
    """
    if name not in TRUNKS:
        raise ValueError(f"`name` of a trunk must be one of {TRUNKS}, got {name!r}")
    for argument, value in (("in_features", in_features), ("n_tasks", n_tasks), ("n_experts", n_experts)):
        if value < 1:
            raise ValueError(f"`{argument}` must be at least 1, got {value}")
    if n_specific < 1:
        raise ValueError(f"`n_specific` must be at least 1, got {n_specific}")
    if any(size < 1 for size in hidden) or (name != "shared_bottom" and not hidden):
        raise ValueError(f"`hidden` must hold positive sizes, at least one for {name!r}, got {tuple(hidden)}")
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must satisfy 0 <= dropout < 1, got {dropout}")
    if cross_layers < 0:
        raise ValueError(f"`cross_layers` must not be negative, got {cross_layers}")
    if modulation and (name != "shared_bottom" or not hidden):
        found = f"{name!r} with `hidden` {tuple(hidden)}"
        raise ValueError(f"`modulation` must be False except for 'shared_bottom' with a layer to scale, got {found}")
    trunk: Trunk
    if modulation:
        trunk = ModulatedBottom(in_features, n_tasks, hidden, dropout)
    elif name == "shared_bottom":
        trunk = SharedBottom(in_features, n_tasks, hidden, dropout)
    elif name == "mmoe":
        trunk = MMoE(in_features, n_tasks, hidden, dropout, n_experts)
    else:
        trunk = PLE(in_features, n_tasks, hidden, dropout, n_experts, n_specific, n_levels)
    return CrossedTrunk(CrossNetwork(in_features, cross_layers), trunk) if cross_layers else trunk
