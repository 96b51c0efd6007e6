"""The paper's network of table 2, and the modulated trunk."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from multitask.modulation import AttributeNetwork, ModulatedBottom, Scaling
from multitask.modulation.dry_pass import output_shapes
from multitask.shared_bottom import SharedBottom
from multitask.towers import StackedTowers


def test_the_sizes_of_table_2() -> None:
    network = AttributeNetwork()
    names = [name for name, _ in network.named_children()]
    assert names == ["conv1", "block2", "block3", "block4", "block5", "fc", "normalise"]
    shapes = output_shapes(network, names, torch.zeros(1, 3, 150, 150))
    assert [tuple(shape) for shape in shapes.values()] == [
        (1, 32, 148, 148),
        (1, 64, 73, 73),
        (1, 128, 35, 35),
        (1, 128, 16, 16),
        (1, 128, 7, 7),
        (1, 256),
        (1, 256),
    ]


def test_it_has_about_three_million_parameters() -> None:
    """Nine per channel pair of the 13 convolutions, scale and shift of their BatchNorms, the fully connected layer."""
    convolutions = 3 * 32 + 32 * 64 + 64 * 128 + 2 * 128**2 + 2 * (64**2 + 3 * 128**2)
    norms = 2 * (32 + 3 * 64 + 9 * 128)
    expected = 9 * convolutions + norms + 7 * 7 * 128 * 256 + 256
    assert sum(p.numel() for p in AttributeNetwork().parameters()) == expected == 2_955_040


@pytest.mark.parametrize("size", [48, 54, 64, 65])
def test_small_photos(size: int) -> None:
    torch.manual_seed(0)
    network = AttributeNetwork(size, widths=(4, 6, 8, 8, 8), dim=5)
    x = torch.randn(2, 3, size, size)
    y = network(x)
    assert y.shape == (2, 5)
    torch.testing.assert_close(y.norm(dim=1), torch.ones(2))
    network.eval()
    last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, network(x), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 47}, "`size` must be at least 48 pixels, got 47"),
        ({"widths": (4, 4, 4)}, "`widths` must hold 5 positive numbers, got .4, 4, 4."),
        ({"widths": (4, 4, 4, 4, 0)}, "`widths` must hold 5 positive"),
        ({"dim": 0}, "`dim` must be at least 1, got 0"),
    ],
)
def test_networks_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttributeNetwork(**arguments)


def bottoms(hidden: tuple[int, ...], dropout: float = 0.0) -> tuple[SharedBottom, ModulatedBottom]:
    torch.manual_seed(3)
    shared, modulated = SharedBottom(10, 3, hidden, dropout), ModulatedBottom(10, 3, hidden, dropout)
    modulated.load_state_dict(shared.state_dict(), strict=False)
    return shared, modulated


def perturb(trunk: ModulatedBottom) -> None:
    for mask in trunk.masks.parameters():
        mask.data += 0.3 * torch.randn(mask.shape)


def rows() -> Tensor:
    return torch.randn(11, 10, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("hidden", [(8,), (8, 6), (8, 6, 4), (8, 6, 5, 4)])
class TestModulatedBottom:
    def test_at_first_it_is_the_shared_bottom(self, hidden: tuple[int, ...]) -> None:
        shared, modulated = bottoms(hidden)
        if len(hidden) == 1:
            assert torch.equal(modulated(rows()), shared(rows()))
        torch.testing.assert_close(modulated(rows()), shared(rows()))

    def test_it_is_the_formula_task_by_task(self, hidden: tuple[int, ...]) -> None:
        _, modulated = bottoms(hidden)
        perturb(modulated)
        for t in range(3):
            h = rows()
            for layer, mask in zip(modulated.layers, modulated.masks):
                h = torch.relu(F.linear(h, layer.weight, layer.bias)) * mask.weight[t]
            torch.testing.assert_close(modulated(rows())[:, t], h)

    def test_the_item_path_of_scoring(self, hidden: tuple[int, ...]) -> None:
        _, modulated = bottoms(hidden)
        perturb(modulated)
        expected = modulated(rows())
        assert modulated.first_linear is modulated.layers[0]
        torch.testing.assert_close(modulated.after_first(modulated.layers[0](rows())), expected)
        torch.testing.assert_close(modulated(rows()[:, :4], rows()[:, 4:]), expected)

    def test_gradients(self, hidden: tuple[int, ...]) -> None:
        _, modulated = bottoms(hidden)
        modulated = modulated.double()
        parameters = tuple(p.detach().requires_grad_() for p in modulated.parameters())
        names = [name for name, _ in modulated.named_parameters()]

        def run(*values: Tensor) -> Tensor:
            return torch.func.functional_call(modulated, dict(zip(names, values)), (rows().double(),))

        assert torch.autograd.gradcheck(run, parameters)

    def test_parameters_markers_and_precision(self, hidden: tuple[int, ...]) -> None:
        shared, modulated = bottoms(hidden)
        assert modulated.extra_parameters == 3 * sum(hidden)
        assert sum(p.numel() for p in modulated.parameters()) == modulated.extra_parameters + sum(
            p.numel() for p in shared.parameters()
        )
        assert all(isinstance(mask, Scaling) and mask.task_specific for mask in modulated.masks)
        with torch.autocast("cpu", torch.bfloat16):
            y = modulated(rows())
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), modulated(rows()), rtol=0.05, atol=0.02)
        assert modulated.bfloat16()(rows().bfloat16()).dtype == torch.bfloat16

    def test_towers_read_it(self, hidden: tuple[int, ...]) -> None:
        shared, modulated = bottoms(hidden)
        towers = StackedTowers(3, hidden[-1], 5, (1, 2, 1))
        torch.testing.assert_close(towers(modulated(rows())), towers(shared(rows())))

    def test_dropout_acts_in_training_only(self, hidden: tuple[int, ...]) -> None:
        _, modulated = bottoms(hidden, dropout=0.5)
        assert not torch.equal(modulated(rows()), modulated(rows()))
        modulated.eval()
        assert torch.equal(modulated(rows()), modulated(rows()))


def test_dropout_is_common_in_the_first_layer_and_each_tasks_own_behind_it() -> None:
    """The masks are at 1: tasks differ by what was dropped, about half of every layer, and by nothing else."""
    x = torch.randn(400, 10)
    for hidden, own in (((8,), False), ((8, 6), True), ((8, 6, 5), True)):
        _, modulated = bottoms(hidden, dropout=0.5)
        h = modulated(x)
        assert torch.equal(h[:, 0], h[:, 1]) is not own
        dropped = (h == 0).float().mean() - (modulated.eval()(x) == 0).float().mean()
        assert dropped > 0.15


def test_the_masks_rate_is_the_one_given() -> None:
    for given, expected in (({}, 10.0), ({"rate_factor": 3.0}, 3.0)):
        masks = ModulatedBottom(10, 3, (8, 6), **given).masks
        assert [mask.learning_rate_factor for mask in masks] == [expected] * 2
        assert all(mask.no_weight_decay == ("weight",) for mask in masks)


def test_a_trunk_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="`hidden` must hold at least one layer to be modulated"):
        ModulatedBottom(10, 3, hidden=())
