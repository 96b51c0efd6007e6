"""Trunks: shapes, and each structure against the paper's formula written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from multitask.cross import CrossNetwork
from multitask.mmoe import MMoE
from multitask.modulation import ModulatedBottom
from multitask.ple import PLE
from multitask.shared_bottom import SharedBottom
from multitask.stacked import StackedMLP
from multitask.towers import StackedTowers
from multitask.trunks import TRUNKS, make_trunk


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(7)
    return torch.randn(11, 10)


def mlp(stack: StackedMLP, g: int, x: Tensor) -> Tensor:
    """Network g of a stack as separate layers."""
    for layer in stack.layers:
        x = torch.relu(x @ layer.weight[g].T + layer.bias[g])
    return x


def plain(trunk: SharedBottom, x: Tensor) -> Tensor:
    for layer in trunk.layers:
        x = torch.relu(nn.functional.linear(x, layer.weight, layer.bias))
    return x


@pytest.mark.parametrize("cross_layers", [0, 2])
@pytest.mark.parametrize("name", TRUNKS)
class TestEveryTrunk:
    def test_shape_and_gradients(self, name: str, cross_layers: int, x: Tensor) -> None:
        trunk = make_trunk(name, 10, 3, hidden=(8, 6, 4), cross_layers=cross_layers)
        h = trunk(x)
        assert h.shape == (11, 3, 4)
        assert trunk.out_features == 4
        h.square().sum().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trunk.parameters())
        assert (trunk.first_linear is None) == (name != "shared_bottom" or cross_layers > 0)

    def test_fixed_columns_apart_are_the_same_function(self, name: str, cross_layers: int, x: Tensor) -> None:
        trunk = make_trunk(name, 10, 3, hidden=(8, 6, 4), cross_layers=cross_layers)
        whole = trunk(x)
        whole.square().sum().backward()
        expected = [p.grad for p in trunk.parameters()]
        trunk.zero_grad()
        parts = trunk(x[:, :7], x[:, 7:])
        torch.testing.assert_close(parts, whole)
        parts.square().sum().backward()
        torch.testing.assert_close([p.grad for p in trunk.parameters()], expected)

    def test_a_network_without_memory_filled_from_a_saved_one_is_that_network(
        self, name: str, cross_layers: int, x: Tensor
    ) -> None:
        """How a saved ranker is read: nothing may live outside the state that is saved."""

        def network() -> nn.Module:
            trunk = make_trunk(name, 10, 3, hidden=(8, 6, 4), n_specific=2, cross_layers=cross_layers)
            return nn.Sequential(trunk, StackedTowers(3, 4, 5, widths=(1, 1, 1)))

        saved = network()
        with torch.device("meta"):
            read = network()
        assert all(tensor.is_meta for tensor in read.state_dict().values())
        read.load_state_dict(saved.state_dict(), assign=True)
        assert torch.equal(read(x), saved(x))

    def test_rows_do_not_see_each_other(self, name: str, cross_layers: int, x: Tensor) -> None:
        trunk = make_trunk(name, 10, 3, hidden=(8, 6, 4), cross_layers=cross_layers)
        torch.testing.assert_close(trunk(x)[4:5], trunk(x[4:5]))

    def test_dropout_acts_in_training_only(self, name: str, cross_layers: int, x: Tensor) -> None:
        trunk = make_trunk(name, 10, 3, hidden=(8, 6, 4), dropout=0.5, cross_layers=cross_layers)
        assert not torch.equal(trunk(x), trunk(x))
        trunk.eval()
        torch.testing.assert_close(trunk(x), trunk(x), rtol=0, atol=0)


def test_shared_bottom_gives_every_task_the_same_view(x: Tensor) -> None:
    trunk = SharedBottom(10, 3, hidden=(8, 6))
    h = trunk(x)
    assert h.stride(1) == 0
    torch.testing.assert_close(h[:, 2], plain(trunk, x))
    assert trunk.first_linear is trunk.layers[0]
    torch.testing.assert_close(trunk.after_first(trunk.layers[0](x)), h)


def test_shared_bottom_without_layers_is_its_input(x: Tensor) -> None:
    trunk = SharedBottom(10, 3, hidden=())
    assert torch.equal(trunk(x)[:, 1], x)
    assert torch.equal(trunk(x[:, :4], x[:, 4:])[:, 1], x)
    assert trunk.first_linear is None
    assert trunk.out_features == 10


def test_mmoe_is_the_gated_sum_of_its_experts(x: Tensor) -> None:
    """[Ma 2018] eq. 6-7: f_t(x) = sum_i g_t(x)_i f_i(x), g_t(x) = softmax(W_gt x)."""
    trunk = MMoE(10, 3, hidden=(8, 6), n_experts=4)
    gate_weights = trunk.gate.weight.view(3, 4, 10)
    for t, h_t in enumerate(trunk(x).unbind(1)):
        gates = torch.softmax(x @ gate_weights[t].T, dim=1)
        expected = sum(gates[:, e : e + 1] * mlp(trunk.experts, e, x) for e in range(4))
        torch.testing.assert_close(h_t, expected)
    torch.testing.assert_close(trunk.gates(x).sum(-1), torch.ones(11, 3))


def test_mmoe_with_one_expert_is_the_shared_bottom(x: Tensor) -> None:
    single, shared = MMoE(10, 3, hidden=(8, 6), n_experts=1), SharedBottom(10, 3, hidden=(8, 6))
    for stacked, layer in zip(single.experts.layers, shared.layers, strict=True):
        layer.weight.data, layer.bias.data = stacked.weight.data[0], stacked.bias.data[0]
    torch.testing.assert_close(single(x), shared(x))


def test_ple_is_gated_over_own_and_shared_experts(x: Tensor) -> None:
    """[Tang 2020] eq. 1-4 and 7, two levels: task t sees its own and the shared experts, the shared gate sees all."""
    tasks, own, shared = 3, 2, 2
    trunk = PLE(10, tasks, hidden=(8, 6, 4), n_experts=shared, n_specific=own, n_levels=2)
    inputs = [x] * (tasks + 1)
    for level in trunk.levels:
        experts = [
            mlp(level.experts, e, inputs[e // own if e < tasks * own else tasks]) for e in range(tasks * own + shared)
        ]
        outputs = []
        for t in range(tasks):
            seen = experts[t * own : (t + 1) * own] + experts[tasks * own :]
            gate = torch.softmax(inputs[t] @ level.task_gates.weight[t].T, dim=1)
            outputs.append(sum(gate[:, [k]] * expert for k, expert in enumerate(seen)))
        if level.shared_gate is not None:
            gate = torch.softmax(inputs[tasks] @ level.shared_gate.weight.T, dim=1)
            outputs.append(sum(gate[:, [k]] * expert for k, expert in enumerate(experts)))
        inputs = outputs
    torch.testing.assert_close(trunk(x), torch.stack(inputs, dim=1))


def test_ple_gates_sum_to_one_and_levels_share_out_the_layers(x: Tensor) -> None:
    trunk = PLE(10, 3, hidden=(8, 6, 4), n_levels=2)
    sizes = [[layer.out_features for layer in level.experts.layers] for level in trunk.levels]
    assert sizes == [[8, 6], [4]]
    torch.testing.assert_close(trunk.levels[0].gates(x).sum(-1), torch.ones(3, 11))
    assert trunk.levels[1].shared_gate is None


def test_a_ple_task_does_not_train_another_tasks_experts(x: Tensor) -> None:
    trunk = PLE(10, 3, hidden=(8, 6), n_experts=2, n_specific=1, n_levels=1)
    trunk(x)[:, 0].sum().backward()
    slope = trunk.levels[0].experts.layers[0].weight.grad  # (3 own + 2 shared, 8, 10)
    assert [bool(slope[e].any()) for e in range(5)] == [True, False, False, True, True]


def test_cross_layers_follow_the_formula(x: Tensor) -> None:
    """[Wang 2021] eq. 1: x_{l+1} = x_0 * (W_l x_l + b_l) + x_l."""
    network = CrossNetwork(10, 3)
    x_l = x
    for layer in network.layers:
        x_l = x * (x_l @ layer.weight.T + layer.bias) + x_l
    torch.testing.assert_close(network(x), x_l)


def test_cross_layers_with_zero_weights_are_the_identity(x: Tensor) -> None:
    network = CrossNetwork(10, 3)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(network(x), x)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("star", {}, "`name` of a trunk.*'star'"),
        ("mmoe", {"n_experts": 0}, "`n_experts` must be at least 1, got 0"),
        ("ple", {"n_specific": 0}, "`n_specific` must be at least 1, got 0"),
        ("ple", {"n_levels": 4}, "`n_levels` must be between 1 and the number of layers .3., got 4"),
        ("mmoe", {"hidden": ()}, "`hidden` must hold positive sizes, at least one for 'mmoe'"),
        ("shared_bottom", {"hidden": (8, 0)}, "`hidden` must hold positive sizes"),
        ("shared_bottom", {"dropout": 1.0}, "`dropout` must satisfy 0 <= dropout < 1, got 1.0"),
        ("shared_bottom", {"cross_layers": -1}, "`cross_layers` must not be negative, got -1"),
    ],
)
def test_refusals(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_trunk(name, 10, 3, **options)  # type: ignore[arg-type]


def test_modulation_is_of_a_shared_bottom_with_layers(x: Tensor) -> None:
    trunk = make_trunk("shared_bottom", 10, 3, hidden=(8, 6), modulation=True)
    crossed = make_trunk("shared_bottom", 10, 3, hidden=(8, 6), modulation=True, cross_layers=2)
    assert isinstance(trunk, ModulatedBottom)
    assert trunk(x).shape == crossed(x).shape == (11, 3, 6)
    for name, hidden in (("mmoe", (8,)), ("ple", (8, 6)), ("shared_bottom", ())):
        with pytest.raises(ValueError, match="`modulation` must be False except for 'shared_bottom' with a layer"):
            make_trunk(name, 10, 3, hidden=hidden, modulation=True)
