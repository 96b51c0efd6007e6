"""What a modulation refuses, and that it says what it found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from multitask.modulation import AttributeNetwork, Modulation

TASKS = torch.tensor([1, 0, 2, 2, 0, 1])


def photos(rows: int = 6) -> Tensor:
    return torch.randn(rows, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def network() -> AttributeNetwork:
    return AttributeNetwork(size=48, widths=(4, 6, 8, 8, 8), dim=10)


@pytest.fixture
def modulation() -> Modulation:
    return Modulation(network(), ["type", "gender", "colour"], ["block4", "fc"], example=photos(1))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (None, "`tasks` must hold the task of every row, or name one for all .6 rows., got None"),
        (torch.tensor([0, 1]), r"`tasks` must be \(6,\) integers, got \(2,\)"),
        (torch.zeros(6), r"`tasks` must be \(6,\) integers, got \(6,\) torch.float32"),
        (torch.tensor([0, 1, 2, 3, 0, 0]), r"`tasks` must lie in 0..2, got 3"),
        (torch.tensor([0, 1, 2, -1, 0, 0]), r"`tasks` must lie in 0..2, got -1"),
        ("size", "`task` must be one of .'type', 'gender', 'colour'. or a number below 3, got 'size'"),
        (3, "`task` must be one of .* got 3"),
    ],
)
def test_tasks_refused(modulation: Modulation, tasks: Tensor | str | int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modulation(photos(), tasks=tasks)
    modulation(photos(), tasks=TASKS)  # and it goes on as if nothing had been


def test_the_network_alone_and_a_second_modulation_are_refused(modulation: Modulation) -> None:
    with pytest.raises(ValueError, match="`tasks` must be given: call the Modulation, not the network"):
        modulation.network(photos())
    with pytest.raises(ValueError, match="`network` must not be modulated yet"):
        Modulation(modulation.network, 3, ["fc"], example=photos(1))


def test_an_unknown_layer_names_those_that_there_are() -> None:
    small = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    with pytest.raises(ValueError, match=r"`layers` must name layers of the network, got 'fc'; there are 0, 1$"):
        Modulation(small, 2, ["fc"], example=torch.zeros(1, 3))
    message = "got 'blok4'; there are conv1, block2, .*, fc, normalise, and among those inside them .*block4.*in all"
    with pytest.raises(ValueError, match=message):
        Modulation(network(), 2, ["blok4"], example=photos(1))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.other, self.pair, self.flat = nn.Linear(3, 2), nn.Linear(3, 2), Pair(), nn.Flatten(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(self.pair(self.used(x))[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": []}, "`layers` must be different names of layers, at least one, got .."),
        ({"layers": "used"}, "`layers` must be different names of layers, at least one, got 'used'"),
        ({"layers": ["used", "used"]}, "`layers` must be different names"),
        ({"layers": [""]}, "`layers` must name layers of the network, got ''"),
        ({"layers": ["other"]}, "`layers` must be used by the network, got .'other'."),
        ({"layers": ["pair"]}, "`layers` must give one tensor each, got tuple from 'pair'"),
        ({"layers": ["flat"]}, "`layers` must have channels, got output of shape .2,. from 'flat'"),
        ({"tasks": 0}, "`tasks` must be at least 1, or different names, got 0"),
        ({"tasks": ["a", "a"]}, "`tasks` must be at least 1, or different names, got .'a', 'a'."),
        ({"tasks": "ab"}, "`tasks` must be at least 1, or different names, got 'ab'"),
        ({"kind": "gate"}, "`kind` must be one of .'scaling', 'projection', 'mask'., got 'gate'"),
        ({"rate_factor": 0.0}, "`rate_factor` must be above 0, got 0"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    defaults: dict[str, object] = {"tasks": 2, "layers": ["used"], "example": torch.zeros(1, 3)}
    with pytest.raises(ValueError, match=message):
        Modulation(Unused(), **(defaults | arguments))  # type: ignore[arg-type]
