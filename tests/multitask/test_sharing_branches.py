"""Stacked branches equal separate networks, obey the parameter law, and take the size of what they load."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from multitask.config import TrainingConfig
from multitask.optimizers import make_optimizer
from multitask.sharing import Branches, CrossStitch, merge_branches


def separate(branches: Branches, t: int) -> nn.Module:
    """Task t's branch and output as a network of its own."""
    group, start = int(branches.group_of[t]), sum(branches.widths[:t])
    rows = slice(start, start + branches.widths[t])
    parts: list[nn.Module] = []
    for layer in branches.layers:
        linear = nn.Linear(layer.in_features, layer.out_features)
        linear.weight.data, linear.bias.data = layer.weight.data[group], layer.bias.data[group]
        parts += [linear, nn.ReLU()]
    last = nn.Linear(branches.output_weight.shape[1], branches.widths[t])
    last.weight.data, last.bias.data = branches.output_weight.data[rows], branches.output_bias.data[rows]
    return nn.Sequential(*parts, last)


def shuffled(branches: Branches) -> Branches:
    """Branches that differ, as after some training."""
    with torch.no_grad():
        for parameter in branches.parameters():
            parameter.add_(torch.randn(parameter.shape) / 4)
    return branches


@pytest.mark.parametrize("inputs", ["shared", "expanded", "own"])
@pytest.mark.parametrize("widths", [(1, 1, 1, 1), (3, 3, 3, 3), (1, 4, 2, 1)])
@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (0, 1, 0, 2), (0, 0, 0, 0)])
def test_branches_equal_separate_networks(labels: Sequence[int], widths: Sequence[int], inputs: str) -> None:
    torch.manual_seed(1)
    branches = shuffled(Branches(4, 6, hidden=(5, 3), widths=widths, bias=torch.randn(sum(widths))))
    merge_branches(branches, labels, losses=[0.4, 0.3, 0.2, 0.1])
    h: Tensor = {
        "shared": torch.randn(9, 6),
        "expanded": torch.randn(9, 6)[:, None].expand(-1, 4, -1),
        "own": torch.randn(9, 4, 6),
    }[inputs]
    of_task = [h if h.ndim == 2 else h[:, t] for t in range(4)]
    expected = torch.cat([separate(branches, t)(of_task[t]) for t in range(4)], dim=1)
    torch.testing.assert_close(branches(h), expected)


def test_gradients_equal_those_of_separate_networks() -> None:
    torch.manual_seed(2)
    branches = shuffled(Branches(3, 6, hidden=(4,)))
    merge_branches(branches, [0, 1, 0], losses=[0.1, 0.2, 0.3])
    h = torch.randn(7, 6)
    branches(h).square().sum().backward()
    alone = [separate(branches, t) for t in range(3)]
    for network in alone:
        network(h).square().sum().backward()
    first = branches.layers[0].weight.grad
    together = alone[0][0].weight.grad + alone[2][0].weight.grad  # type: ignore[operator, index]
    torch.testing.assert_close(first, torch.stack([together, alone[1][0].weight.grad]))  # type: ignore[index]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_branches_start_equal(dropout: float) -> None:
    """Only their labels can make them differ; so do outputs of one width."""
    branches = Branches(4, 6, hidden=(5, 3), widths=(1, 2, 1, 2), dropout=dropout).eval()
    for parameter in branches.stacked_parameters():
        assert torch.equal(parameter, parameter[:1].expand_as(parameter))
    y = branches(torch.randn(3, 6))
    assert torch.equal(y[:, 0], y[:, 3])
    assert torch.equal(y[:, 1:3], y[:, 4:6])


@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (0, 1, 0, 2), (0, 0, 0, 0)])
def test_the_parameter_law(labels: Sequence[int]) -> None:
    """P(G) = P_outputs + G P_branch, exactly: the counts of [Selective] table 5 are 366,464 + 180,600 G."""
    branches = Branches(4, 6, hidden=(5, 3), widths=(1, 4, 2, 1))
    merge_branches(branches, labels, losses=[0.0] * 4)
    outputs, per_branch = branches.parameter_law()
    assert outputs == 8 * 3 + 8
    assert per_branch == (6 * 5 + 5) + (5 * 3 + 3)
    assert sum(p.numel() for p in branches.parameters()) == outputs + len(set(labels)) * per_branch


def test_a_state_of_another_number_of_groups_is_loaded() -> None:
    torch.manual_seed(3)
    branches = shuffled(Branches(4, 6, hidden=(5, 3)))
    model = nn.Sequential(nn.Linear(6, 6), branches)
    before, h = copy.deepcopy(model.state_dict()), torch.randn(2, 6)
    many = model(h)
    merge_branches(branches, [0, 0, 1, 1], losses=[0.0] * 4)
    few, after = model(h), copy.deepcopy(model.state_dict())
    model.load_state_dict(before)
    assert torch.equal(model(h), many)
    assert branches.n_groups == 4
    fresh = nn.Sequential(nn.Linear(6, 6), Branches(4, 6, hidden=(5, 3)))
    fresh.load_state_dict(after)
    assert torch.equal(fresh(h), few)
    assert fresh[1].group_of.tolist() == [0, 0, 1, 1]


def test_a_copy_is_independent() -> None:
    branches = Branches(3, 6, hidden=(4,))
    other = copy.deepcopy(branches)
    merge_branches(other, [0, 0, 1], losses=[0.0] * 3)
    assert (branches.n_groups, other.n_groups) == (3, 2)
    assert branches(torch.zeros(1, 6)).shape == (1, 3)


def test_the_outputs_are_float32_under_autocast() -> None:
    branches = Branches(2, 6, hidden=(4,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert branches(torch.randn(3, 6)).dtype == torch.float32


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="`hidden` must hold at least one"):
        Branches(2, 6, hidden=())
    with pytest.raises(ValueError, match=r"`widths` must hold 2 positive numbers, got \(1,\)"):
        Branches(2, 6, hidden=(4,), widths=(1,))
    with pytest.raises(ValueError, match="`bias` must hold 2 numbers"):
        Branches(2, 6, hidden=(4,), bias=[0.0])
    with pytest.raises(ValueError, match="`n_tasks` must be at least 1, got 0"):
        Branches(0, 6, hidden=(4,))
    branches = Branches(3, 6, hidden=(4,))
    with pytest.raises(ValueError, match="number the groups by their first task"):
        branches.regroup([1, 0, 2])
    with pytest.raises(ValueError, match="as many groups as there are branches"):
        branches.regroup([0, 0, 1])
    with pytest.raises(ValueError, match="shape"):
        branches.regroup([0, 1])


@pytest.mark.parametrize("shape", [(5, 2, 6), (5, 1, 6), (5, 3), (5, 3, 5), (6,), (5, 3, 1, 6)])
def test_another_shape_of_the_input_is_refused(shape: tuple[int, ...]) -> None:
    branches = Branches(3, 6, hidden=(4,))
    for labels in ([0, 1, 0], [0, 0]):
        with pytest.raises(ValueError, match=r"`h` must have shape \(B, 6\) or \(B, 3, 6\), got"):
            branches(torch.zeros(shape))
        merge_branches(branches, labels, losses=[0.0] * len(labels))


def test_cross_stitch_without_mixing_is_separate_branches() -> None:
    torch.manual_seed(4)
    stitched = CrossStitch(3, 6, hidden=(5, 4))
    shuffled(stitched)
    plain = Branches(3, 6, hidden=(5, 4))
    plain.load_state_dict(stitched.state_dict(), strict=False)
    h = torch.randn(8, 6)
    assert not torch.allclose(stitched(h), plain(h))
    for unit in stitched.units:
        nn.init.eye_(unit.weight)
    torch.testing.assert_close(stitched(h), plain(h))


def test_cross_stitch_mixes_by_its_shares() -> None:
    """Two tasks, one layer: h_0 <- .9 h_0 + .1 h_1, by hand."""
    torch.manual_seed(5)
    stitched = CrossStitch(2, 4, hidden=(3,))
    shuffled(stitched)
    a = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    with torch.no_grad():
        stitched.units[0].weight.copy_(a)
    h = torch.randn(5, 4)
    layer = stitched.layers[0]
    own = torch.stack([torch.relu(h @ layer.weight[t].T + layer.bias[t]) for t in range(2)])
    mixed = torch.stack([0.9 * own[0] + 0.1 * own[1], 0.1 * own[0] + 0.9 * own[1]])
    expected = torch.stack([mixed[t] @ stitched.output_weight[t] + stitched.output_bias[t] for t in range(2)], dim=1)
    torch.testing.assert_close(stitched(h), expected)


def test_cross_stitch_starts_near_its_own_task() -> None:
    weight = CrossStitch(5, 4, hidden=(3,)).units[0].weight
    assert torch.allclose(torch.diagonal(weight), torch.tensor(0.9))
    assert torch.allclose(weight.sum(1), torch.ones(5))
    assert CrossStitch(1, 4, hidden=(3,)).units[0].weight.tolist() == [[1.0]]


def test_what_is_decayed_and_at_which_rate() -> None:
    """Branches' biases are stacked and biases all the same; mixing matrices have a rate of their own."""
    stitched = CrossStitch(3, 6, hidden=(4,), rate_factor=5.0)
    names = {id(p): name for name, p in stitched.named_parameters()}
    config = TrainingConfig(learning_rate=0.01, weight_decay=0.1)
    found = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in make_optimizer(stitched, config).param_groups
        for p in group["params"]
    }
    assert found == {
        "layers.0.weight": (0.01, 0.1), "layers.0.bias": (0.01, 0.0), "output_weight": (0.01, 0.1),
        "output_bias": (0.01, 0.0), "units.0.weight": (0.05, 0.0),
    }  # fmt: skip


def test_cross_stitch_is_never_merged() -> None:
    stitched = CrossStitch(3, 6, hidden=(4,))
    assert sum(p.numel() for p in stitched.parameters()) == sum(a * b for a, b in zip(stitched.parameter_law(), (1, 3)))
    with pytest.raises(ValueError, match="must be `Branches`"):
        stitched.regroup([0, 0, 1])
    with pytest.raises(ValueError, match="must be `Branches`"):
        merge_branches(stitched, [0, 0, 1], losses=[0.0] * 3)
    assert stitched(torch.zeros(2, 6)).shape == (2, 3)
