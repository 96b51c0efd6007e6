"""What a modulation refuses, and that it says what it found."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

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
        (torch.tensor([0, 1]), r"`tasks` must be \(6,\) integers, or one task of all rows, got \(2,\)"),
        (torch.zeros(6), r"`tasks` must be \(6,\) integers, .* got \(6,\) torch.float32"),
        (torch.zeros(6, dtype=torch.bool), r"`tasks` must be \(6,\) integers, .* got \(6,\) torch.bool"),
        (torch.tensor(1), r"`tasks` must be \(6,\) integers, .* got \(\) torch.int64"),
        (True, r"`tasks` must be \(6,\) integers, .* got \(\) torch.bool"),
        (np.True_, r"`tasks` must be \(6,\) integers, .* got \(\) torch.bool"),
        (1.0, r"`tasks` must be \(6,\) integers, .* got \(\) torch.float64"),
        ([True] * 6, r"`tasks` must be \(6,\) integers, .* got \(6,\) torch.bool"),
        ([], r"`tasks` must be \(6,\) integers, .* got \(0,\)"),
        (np.zeros(6), r"`tasks` must be \(6,\) integers, .* got \(6,\) torch.float64"),
        (["type"] * 6, r"`tasks` must be \(6,\) integers, .* got \['type', 'type'"),
        ([[0], [1, 2]], r"`tasks` must be \(6,\) integers, .* got \[\[0\], \[1, 2\]\]"),
        ([0, 1, 2, 3, 0, 0], r"`tasks` must lie in 0..2, got 3"),
        (np.int64(3), "`task` must be one of .* got .*3"),
        (torch.tensor([0, 1, 2, 3, 0, 0]), r"`tasks` must lie in 0..2, got 3"),
        (torch.tensor([0, 1, 2, -1, 0, 0]), r"`tasks` must lie in 0..2, got -1"),
        ("size", "`task` must be one of .'type', 'gender', 'colour'. or a number below 3, got 'size'"),
        (3, "`task` must be one of .* got 3"),
    ],
)
def test_tasks_refused(modulation: Modulation, tasks: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modulation(photos(), tasks=tasks)
    modulation(photos(), tasks=TASKS)  # and it goes on as if nothing had been


@pytest.mark.parametrize("tasks", [[1, 0, 2, 2, 0, 1], (1, 0, 2, 2, 0, 1), TASKS.numpy(), TASKS.to(torch.uint8)])
def test_tasks_as_lists_and_arrays(modulation: Modulation, tasks: Any) -> None:
    modulation.eval()
    assert torch.equal(modulation(photos(), tasks=tasks), modulation(photos(), tasks=TASKS))
    locked = TASKS.numpy().copy()
    locked.flags.writeable = False  # as of a table's column
    assert torch.equal(modulation(photos(), tasks=locked), modulation(photos(), tasks=TASKS))


def test_a_task_as_a_number_of_numpy(modulation: Modulation) -> None:
    modulation.eval()
    for number in (np.int64(2), np.uint8(2)):
        assert torch.equal(modulation(photos(), tasks=number), modulation(photos(), tasks=2))
        assert torch.equal(modulation.embed(photos(), number), modulation.embed(photos(), "colour"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`task` must be one of .* got True"):
        modulation.task_number(True)
    assert Modulation(nn.Sequential(nn.Linear(3, 2)), np.int64(4), ["0"], example=torch.zeros(1, 3)).n_tasks == 4  # type: ignore[arg-type]


def test_no_input_and_no_rows(modulation: Modulation) -> None:
    for call in (lambda: modulation(tasks=0), modulation.all_tasks, lambda: modulation([1.0], tasks=0)):
        with pytest.raises(ValueError, match="`inputs` must begin with a tensor of rows"):
            call()
    modulation.eval()
    assert modulation(photos()[:0], tasks=[]).shape == (0, 10)
    assert modulation.all_tasks(photos()[:0]).shape == (0, 3, 10)


def test_embedding_in_training_mode_is_refused(modulation: Modulation) -> None:
    """It would move the BatchNorm statistics and drop channels."""
    before = copy.deepcopy(modulation.state_dict())
    with pytest.raises(ValueError, match=r"`embed` must be called in evaluation mode, .* call eval\(\) first"):
        modulation.embed(photos(), "type")
    assert all(torch.equal(tensor, before[name]) for name, tensor in modulation.state_dict().items())


def test_the_network_alone_and_a_second_modulation_are_refused(modulation: Modulation) -> None:
    with pytest.raises(ValueError, match="`tasks` must be given: call the Modulation, not the network"):
        modulation.network(photos())
    with pytest.raises(ValueError, match="`network` must not be modulated yet"):
        Modulation(modulation.network, 3, ["fc"], example=photos(1))


def test_checkpointed_activations_are_refused() -> None:
    """The part is run again in the backward pass, outside of the call that knows the tasks."""

    class Thrifty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = checkpoint(self.fc, x, use_reentrant=False)
            return y

    modulation = Modulation(Thrifty(), 2, ["fc"], example=torch.zeros(1, 3))
    y = modulation(torch.ones(4, 3), tasks=1)
    with pytest.raises(ValueError, match="`tasks` must be given"):
        y.sum().backward()


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
        ({"tasks": True}, "`tasks` must be at least 1, or different names, got True"),
        ({"tasks": None}, "`tasks` must be at least 1, or different names, got None"),
        ({"tasks": [0, 1]}, r"`tasks` must be at least 1, or different names, got \[0, 1\]"),
        ({"layers": ["used", "flat"]}, "`layers` must have channels, got output of shape .2,. from 'flat'"),
        ({"kind": "gate"}, "`kind` must be one of .'scaling', 'projection', 'mask'., got 'gate'"),
        ({"rate_factor": 0.0}, "`rate_factor` must be above 0, got 0"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    defaults: dict[str, object] = {"tasks": 2, "layers": ["used"], "example": torch.zeros(1, 3)}
    network = Unused()
    with pytest.raises(ValueError, match=message):
        Modulation(network, **(defaults | arguments))  # type: ignore[arg-type]
    assert not any(module._forward_hooks for module in network.modules())
    network(torch.zeros(1, 3))  # and it is the network that it was
