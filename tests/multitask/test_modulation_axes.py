"""What the dry pass finds: where channels are (convolutions over time, Swin's maps, tokens), and the masks' type."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from multitask.modulation import Modulation
from multitask.modulation.dry_pass import outputs_of

TASKS = torch.tensor([2, 0, 1, 2])


class Permute(nn.Module):
    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.axes)


class SwinBlock(nn.Module):
    """Maps `(B, H, W, C)` to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.mix(self.norm(x)))


class ConvNextBlock(nn.Module):
    """Maps `(B, C, H, W)` to the same, with linear layers on `(B, H, W, C)` inside; nothing but the first tells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = nn.Sequential(Permute(0, 2, 3, 1), nn.LayerNorm(channels), nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.depthwise(x)).permute(0, 3, 1, 2)


class MapNorm(nn.LayerNorm):
    """A LayerNorm over the channels of `(B, C, H, W)`: its class says the last axis, its forward pass another."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Encoder(nn.Sequential):
    """Torch's own transformer layer, which may run as one operation without calling what is in it."""

    def __init__(self) -> None:
        super().__init__(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True))


Make = Callable[[], nn.Module]
# network, the modulated layer (the last one to run), shape of an input, axis of the channels, C
NETWORKS: dict[str, tuple[Make, str, tuple[int, ...], int, int]] = {
    "time, Conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 5, 3)), "0", (4, 3, 9), 1, 5),
    "time, BatchNorm1d": (lambda: nn.Sequential(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5)), "1", (4, 3, 9), 1, 5),
    "time, pooled": (lambda: nn.Sequential(nn.Conv1d(3, 5, 3), nn.MaxPool1d(2)), "1", (4, 3, 9), 1, 5),
    "images, Conv2d": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3)), "0", (4, 3, 6, 7), 1, 5),
    "images, ConvNeXt": (lambda: nn.Sequential(ConvNextBlock(5)), "0", (4, 5, 6, 7), 1, 5),
    "images, norm over channels": (
        lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 5, 3), MapNorm(5))), "0", (4, 3, 6, 7), 1, 5
    ),
    "images, Swin": (lambda: nn.Sequential(SwinBlock(5)), "0", (4, 6, 7, 5), 3, 5),
    "volumes, Conv3d": (lambda: nn.Sequential(nn.Conv3d(2, 5, 2)), "0", (4, 2, 3, 4, 5), 1, 5),
    "patches": (
        lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 5, 2, 2), nn.Flatten(2), Permute(0, 2, 1), nn.LayerNorm(5))),
        "0", (4, 3, 4, 6), 2, 5,
    ),
    "tokens": (lambda: nn.Sequential(nn.Linear(3, 5)), "0", (4, 7, 3), 2, 5),
    "tokens, torch's layer": (Encoder, "0", (4, 7, 6), 2, 6),
    "vectors, an activation": (lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU()), "1", (4, 3), 1, 5),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["scaling", "projection"])
def test_masks_act_on_the_channels_that_the_layer_tells(name: str, kind: str) -> None:
    make, layer, shape, axis, channels = NETWORKS[name]
    torch.manual_seed(0)
    plain, x = make().eval(), torch.randn(shape)
    expected = plain(x)
    modulation = Modulation(copy.deepcopy(plain), 3, [layer], example=x[:1], kind=kind).eval()  # type: ignore[arg-type]
    assert modulation.extra_parameters == 3 * channels ** (1 if kind == "scaling" else 2)
    torch.testing.assert_close(modulation(x, tasks=TASKS), expected, rtol=1e-6, atol=1e-7)
    (weight,) = modulation.modulators.parameters()
    weight.data = torch.rand(weight.shape)
    matrices = torch.diag_embed(weight) if kind == "scaling" else weight  # (T, C, C)
    by_hand = torch.einsum("bij,b...j->b...i", matrices[TASKS], expected.movedim(axis, -1)).movedim(-1, axis)
    torch.testing.assert_close(modulation(x, tasks=TASKS), by_hand)
    torch.testing.assert_close(modulation.all_tasks(x)[range(4), TASKS], by_hand)


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU()), torch.zeros(1, 3, 9)),
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()), torch.zeros(1, 3, 6, 6)),
        (nn.Sequential(nn.Linear(6, 5), Permute(0, 2, 1)), torch.zeros(1, 7, 6)),
    ],
)
def test_layers_that_do_not_tell_are_refused_until_they_are_told(network: nn.Sequential, example: Tensor) -> None:
    with pytest.raises(ValueError, match=r"`channel_axis` must be given for '1': of its output \(1, 5, .*no module in"):
        Modulation(network, 3, ["0", "1"], example=example)
    assert not any(module._forward_hooks for module in network.modules())
    told = Modulation(network, 3, ["0", "1"], example=example, channel_axis={"1": 1})
    assert {name: mask.shape[1] for name, mask in told.masks().items()} == {"0": 5, "1": 5}


def test_what_is_given_goes_before_what_is_told() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(1), nn.Linear(5 * 3 * 4, 8))
    of_all = Modulation(copy.deepcopy(net), 2, ["0", "2"], example=torch.zeros(1, 3, 5, 6), channel_axis=-1)
    assert of_all.extra_parameters == 2 * (4 + 8)  # the columns of the maps
    of_one = Modulation(copy.deepcopy(net), 2, ["0", "2"], example=torch.zeros(1, 3, 5, 6), channel_axis={"0": 2})
    assert of_one.extra_parameters == 2 * (3 + 8)
    of_one.modulators["after_0"].weight.data[1] = torch.tensor([0.0, 1.0, 2.0])
    x = torch.randn(2, 3, 5, 6)
    rows = net[0](x) * torch.tensor([0.0, 1.0, 2.0])[:, None]
    torch.testing.assert_close(of_one(x, tasks=1), of_one.network[2].forward(rows.flatten(1)))


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (0, r"`channel_axis` must be an axis behind the rows', 1..2 or -1..-2, got 0 for '0', whose output has shape"),
        (3, "got 3 for '0'"),
        (-3, "got -3 for '0'"),
        ({"1": 1}, r"`channel_axis` must name modulated layers, \['0'\], got \['1'\]"),
    ],
)
def test_axes_refused(axis: int | Mapping[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Modulation(nn.Sequential(nn.Linear(6, 5)), 2, ["0"], example=torch.zeros(1, 7, 6), channel_axis=axis)


def test_only_outputs_of_the_layers_own_shape_tell() -> None:
    """The linear layer's output is `(1, 7, 5)`, the named layer's `(1, 5, 7)`: it does not say where channels are."""
    net = nn.Sequential(nn.Sequential(nn.Linear(6, 5), Permute(0, 2, 1)))
    assert outputs_of(net, ["0", "0.0"], torch.zeros(1, 7, 6))[1] == {"0": None, "0.0": -1}


def test_the_dry_pass_of_a_network_that_draws_leaves_the_random_state() -> None:
    class Drawing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + torch.rand_like(x))

    net, random = nn.Sequential(Drawing(4, 3)), torch.get_rng_state()
    modulators = Modulation(net, 3, ["0"], example=torch.zeros(1, 4)).modulators
    assert torch.equal(torch.get_rng_state(), random)
    assert len(modulators) == 1


@pytest.mark.parametrize("kind", ["scaling", "projection", "mask"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_masks_have_the_networks_type(kind: str, dtype: torch.dtype) -> None:
    net, x = nn.Sequential(nn.Linear(4, 3)).to(dtype), torch.randn(5, 4, dtype=dtype)
    modulation = Modulation(net, 3, ["0"], example=x, kind=kind)  # type: ignore[arg-type]
    assert {parameter.dtype for parameter in modulation.parameters()} == {dtype}
    assert modulation(x, tasks=1).dtype == modulation.all_tasks(x).dtype == dtype
