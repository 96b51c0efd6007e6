"""What optimiser and interference read of branches: whose parameters they are, at which rate, whether they decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multitask.config import TrainingConfig
from multitask.interference import gradient_gram, shared_parameters
from multitask.optimizers import make_optimizer
from multitask.sharing import Branches, CrossStitch


@pytest.mark.parametrize("kind", [Branches, CrossStitch])
def test_branches_are_not_shared_parameters(kind: type[Branches]) -> None:
    """Also those that several tasks share by now: what they do to each other there is what merging decides about."""
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), kind(3, 5, hidden=(4,)))
    assert [id(p) for p in shared_parameters(model)] == [id(p) for p in model[0].parameters()]
    outputs = model(torch.randn(8, 6))
    shared = gradient_gram(outputs.square().mean(0), shared_parameters(model))
    assert torch.equal(shared, gradient_gram(outputs.square().mean(0), model[0].parameters()))


@pytest.mark.parametrize(("given", "factor"), [({}, 10.0), ({"rate_factor": 100.0}, 100.0)])
def test_the_mixing_learns_at_its_own_rate_and_does_not_decay(given: dict[str, float], factor: float) -> None:
    stitched = CrossStitch(3, 6, hidden=(5, 4), **given)
    optimizer = make_optimizer(stitched, TrainingConfig(optimizer="adamw", learning_rate=1e-3, weight_decay=0.1))
    mixing = {id(unit.weight) for unit in stitched.units}
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    for one in mixing:
        assert found[one] == (pytest.approx(factor * 1e-3), 0.0)
    assert {rate for one, (rate, _) in found.items() if one not in mixing} == {1e-3}
    assert found[id(stitched.layers[0].weight)] == (1e-3, 0.1)


def test_mixing_without_a_gradient_stays_where_it_began() -> None:
    """Decay would pull the shares to 0: the tasks' activations would fade."""
    stitched = CrossStitch(3, 6, hidden=(5,))
    before = stitched.units[0].weight.clone()
    optimizer = make_optimizer(stitched, TrainingConfig(optimizer="adamw", weight_decay=0.1))
    (0.0 * stitched(torch.randn(4, 6)).sum()).backward()
    optimizer.step()
    assert torch.equal(stitched.units[0].weight, before)
