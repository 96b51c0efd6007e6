"""Heads by choice, their groups, and losses as a share of what the base rates cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from multitask import StackedTowers, Task, masked_losses
from multitask.base_losses import base_losses, watch_relative
from multitask.heads import groups_of, make_heads
from multitask.sharing import Branches
from multitask.task_losses import TaskLosses

TASKS = (Task("pool"), Task("city", "multiclass", n_classes=3), Task("price", "regression", variance=4.0))
BIAS = torch.tensor([-2.0, 0.5, 0.0, -1.0, 0.0])


def test_branches_may_begin_with_the_groups_of_saved_weights() -> None:
    heads = make_heads(8, 4, [1, 3, 1], bias=BIAS, branches=True, group_of=[0, 1, 0])
    assert isinstance(heads, Branches)
    assert (groups_of(heads), heads.n_groups) == ([0, 1, 0], 2)
    assert heads.layers[0].weight.shape == (2, 4, 8)
    assert torch.equal(heads.output_bias, BIAS)
    torch.testing.assert_close(heads(torch.zeros(2, 3, 8)), heads(torch.zeros(2, 8)))
    apart = make_heads(8, 4, [1, 3, 1], branches=True)
    apart.load_state_dict(heads.state_dict())
    assert groups_of(apart) == [0, 1, 0]


def test_branches_on_a_meta_device_know_their_groups() -> None:
    """Shapes are compared before a file's weights are taken, and the number of groups is part of them."""
    with torch.device("meta"):
        heads = make_heads(8, 4, [1, 1, 1], branches=True, group_of=[0, 0, 1])
    assert groups_of(heads) == [0, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 0}, "`hidden` of branches must be at least 1, got 0"),
        ({"group_of": [1, 0, 0]}, "must number the groups by their first task"),
        ({"group_of": [0, 1]}, r"must have shape \(3,\)"),
        ({"group_of": []}, r"must have shape \(3,\)"),
    ],
)
def test_faults(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_heads(8, **({"hidden": 4, "widths": [1, 1, 1], "branches": True} | arguments))  # type: ignore[arg-type]


def test_other_heads_have_no_groups() -> None:
    with pytest.raises(ValueError, match=r"`group_of` must be left out without `branches`, got \[0, 0\]"):
        make_heads(8, 4, [1, 1], group_of=[0, 0])
    assert isinstance(make_heads(8, 0, [1, 2]), StackedTowers)
    assert groups_of(make_heads(8, 0, [1, 2])) is groups_of(None) is None


def test_base_losses_are_the_losses_of_the_base_rates() -> None:
    """Rows whose labels have exactly these rates (and this variance): `masked_losses` of the biases is the entropy."""
    classes = torch.softmax(BIAS[1:4].double(), 0)
    rate = torch.sigmoid(BIAS[0].double())
    labels = torch.tensor([[float(p), float(c), 2.0 * s] for p in (0, 1) for c in (0, 1, 2) for s in (-1, 1)])
    weights = [(rate if p else 1 - rate) * classes[c] for p in (0, 1) for c in (0, 1, 2) for _ in (-1, 1)]
    losses, _ = masked_losses(TASKS, BIAS.expand(12, 5).double(), labels.double(), torch.stack(weights))
    torch.testing.assert_close(base_losses(TASKS, BIAS), losses.float())


def test_an_observer_sees_shares_and_training_the_losses() -> None:
    seen: list[Tensor] = []

    def watch(own: TaskLosses[Tensor]) -> TaskLosses[Tensor]:
        def watched(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
            losses, counts = own(model, batch)
            seen.append(losses.detach())
            return losses, counts

        return watched

    base = torch.tensor([0.5, 1.0, 4.0])
    batch = torch.tensor([0.25, 0.0, 3.0], requires_grad=True)
    losses, counts = watch_relative(watch, lambda _, b: (b, torch.ones(3)), base)(nn.Identity(), batch)
    assert seen[0].tolist() == [0.5, 0.0, 0.75]
    assert torch.equal(losses, batch)
    assert torch.equal(counts, torch.ones(3))
    assert torch.autograd.grad(losses.sum(), batch)[0].tolist() == [1.0, 1.0, 1.0]
