"""Merging keeps the weights, and all that an optimiser remembers of them, bit for bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from multitask.averaging import WeightAverage
from multitask.config import TrainingConfig
from multitask.optimizers import make_optimizer
from multitask.resume import Position, TrainingState
from multitask.sharing import Branches, merge_branches

OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer": "adam"},
    {"optimizer": "adamw"},
    {"optimizer": "sgd", "momentum": 0.5},
    {"optimizer": "adagrad"},
]
LABELS, LOSSES = [0, 1, 0, 2, 1], [0.3, 0.2, 0.1, 0.5, 0.4]  # the branches 2, 1 and 3 are kept


def trained(optimizer: dict[str, Any]) -> TrainingState:
    """Five branches after a few steps, with averaged weights."""
    torch.manual_seed(0)
    model = Branches(5, 4, hidden=(6, 3))
    config = TrainingConfig(learning_rate=0.05, **optimizer)
    state = TrainingState(
        model, make_optimizer(model, config), WeightAverage(list(model.parameters()), 0.9), Position()
    )
    for _ in range(4):
        state.optimizer.zero_grad()
        (model(torch.randn(8, 4)) - torch.randn(8, 5)).square().sum().backward()
        state.optimizer.step()
        state.average.step()
    return state


def remembered(state: TrainingState, parameter: Tensor) -> dict[str, Tensor]:
    """All tensors of the parameter's shape that the run holds."""
    held = {f"moment {n}": v for n, v in state.optimizer.state[parameter].items() if v.shape == parameter.shape}
    average = next(v for p, v in zip(state.model.parameters(), state.average.values) if p is parameter)
    return {"weight": parameter.detach(), "average": average, **held}


@pytest.mark.parametrize("merge", ["lowest_loss", "mean", "max", "min"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o["optimizer"])
def test_weights_moments_and_averages_merge_alike(optimizer: dict[str, Any], merge: str) -> None:
    state = trained(optimizer)
    model = state.model
    assert isinstance(model, Branches)
    before = [copy.deepcopy(remembered(state, p)) for p in model.stacked_parameters()]
    assert len(before[0]) == {"adam": 4, "adamw": 4, "sgd": 3, "adagrad": 3}[optimizer["optimizer"]]
    outputs = copy.deepcopy(remembered(state, model.output_weight))
    merge_branches(model, LABELS, LOSSES, merge, state.replace)
    for parameter, old in zip(model.stacked_parameters(), before):
        new = remembered(state, parameter)
        assert new.keys() == old.keys()
        for name, tensor in new.items():
            expected = torch.stack([reference(merge, old, name, m, k) for m, k in [([0, 2], 2), ([1, 4], 1), ([3], 3)]])
            assert torch.equal(tensor, expected), name
    for name, tensor in remembered(state, model.output_weight).items():
        assert torch.equal(tensor, outputs[name])
    assert model.group_of.tolist() == [0, 1, 0, 2, 1]
    state.optimizer.zero_grad()
    model(torch.randn(8, 4)).square().sum().backward()
    state.optimizer.step()


def reference(merge: str, old: dict[str, Tensor], name: str, members: list[int], kept: int) -> Tensor:
    if merge == "lowest_loss":
        return old[name][kept]
    if merge == "mean":
        return old[name][members].mean(0)
    if len(members) == 1:
        return old[name][members[0]]
    a, b = members
    first = old["weight"][a] > old["weight"][b] if merge == "max" else old["weight"][a] < old["weight"][b]
    return torch.where(first, old[name][a], old[name][b])


def test_tasks_keep_their_outputs_on_the_kept_branch() -> None:
    """Task 0 moves to the branch of task 2: the activations of 2, its own output."""
    model, h = trained({}).model, torch.randn(7, 4)
    assert isinstance(model, Branches)
    before = copy.deepcopy(model)
    own = before(h)
    merge_branches(model, LABELS, LOSSES)
    y = model(h)
    torch.testing.assert_close(y[:, 1:4], own[:, 1:4])
    with torch.no_grad():
        before.output_weight[2], before.output_bias[2] = before.output_weight[0], before.output_bias[0]
    torch.testing.assert_close(y[:, 0], before(h)[:, 2])


def test_a_group_without_labels_is_not_kept() -> None:
    model = trained({}).model
    assert isinstance(model, Branches)
    kept = model.layers[0].weight[3].detach().clone()
    merge_branches(model, [0, 1, 2, 3, 3], [0.1, 0.1, 0.1, 0.9, float("inf")])
    assert torch.equal(model.layers[0].weight[3], kept)


def test_what_does_not_fit_is_refused() -> None:
    branches = Branches(3, 4, hidden=(2,))
    with pytest.raises(ValueError, match=r"`merge` must be one of .*, got 'sum'"):
        merge_branches(branches, [0, 0, 1], [0.0] * 3, "sum")
    with pytest.raises(ValueError, match="must have 3 entries, got 2 and 3"):
        merge_branches(branches, [0, 1], [0.0] * 3)
    for labels in ([1, 0, 0], [0, 2, 0], [0, 0, -1]):
        with pytest.raises(ValueError, match="must number the groups by their first task"):
            merge_branches(branches, labels, [0.0] * 3)
        assert branches(torch.zeros(2, 4)).shape == (2, 3)  # nothing has been changed
        assert branches.n_groups == len(branches.layers[0].weight) == 3
