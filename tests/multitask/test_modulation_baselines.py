"""The arms that modulation is compared with: each one's definition, and the one way to call them all."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask import ShuffledBatches, TrainingConfig, fit
from multitask.interference import shared_parameters
from multitask.modulation import (
    AttributeNetwork,
    FullyShared,
    IndependentBranches,
    IndependentNetworks,
    Modulation,
    TaskConditioned,
    conditional_similarity,
    independent_networks,
    only_mask,
    triplet_accuracy,
    triplet_loss,
)
from multitask.modulation.attribute_network import Normalise
from multitask.task_losses import combined

NAMES = ("type", "gender", "colour")
TASKS = torch.tensor([1, 0, 2, 2, 0, 1])


def photos(rows: int = 6) -> Tensor:
    return torch.randn(rows, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def network() -> AttributeNetwork:
    return AttributeNetwork(size=48, widths=(4, 6, 8, 8, 8), dim=12)


ARMS: dict[str, Callable[[], TaskConditioned]] = {
    "modulation": lambda: Modulation(network(), NAMES, ["block4", "block5", "fc"], example=photos(1)),
    "projection": lambda: Modulation(network(), NAMES, ["block5", "fc"], example=photos(1), kind="projection"),
    "csn": lambda: conditional_similarity(network(), NAMES, example=photos(1)),
    "branches": lambda: IndependentBranches(network(), NAMES, in_features=12, width=5),
    "shared": lambda: FullyShared(network(), NAMES),
    "independent": lambda: independent_networks(network, NAMES),
    "only_mask": lambda: only_mask(Modulation(network(), NAMES, ["block5", "fc"], example=photos(1))),
}


@pytest.mark.parametrize("name", ARMS)
class TestEveryArm:
    @pytest.fixture
    def arm(self, name: str) -> TaskConditioned:
        torch.manual_seed(0)
        return ARMS[name]()

    def test_all_tasks_and_embed_are_the_forward_pass(self, arm: TaskConditioned) -> None:
        arm.eval()
        every = arm.all_tasks(photos())
        assert every.shape[:2] == (6, 3)
        torch.testing.assert_close(arm(photos(), tasks=TASKS), every[range(6), TASKS])
        for t, task in enumerate(NAMES):
            torch.testing.assert_close(arm.embed(photos(), task), every[:, t])
        assert not arm.embed(photos(), 0).requires_grad
        torch.testing.assert_close(every.norm(dim=-1), torch.ones(6, 3))

    def test_extra_parameters_are_those_beyond_one_network(self, arm: TaskConditioned) -> None:
        one = sum(p.numel() for p in network().parameters())
        assert sum(p.numel() for p in arm.parameters()) == one + arm.extra_parameters

    def test_what_is_shared_is_one_network(self, arm: TaskConditioned, name: str) -> None:
        """Masks, branches and networks of single tasks are not; of a frozen network nothing is."""
        shared = sum(p.numel() for p in shared_parameters(arm))
        one = sum(p.numel() for p in network().parameters())
        assert shared == (0 if name in ("independent", "only_mask") else one)

    def test_lists_and_batches_without_rows(self, arm: TaskConditioned) -> None:
        arm.eval()
        assert torch.equal(arm(photos(), tasks=TASKS.tolist()), arm(photos(), tasks=TASKS))
        width = arm(photos(), tasks=0).shape[1]
        assert arm(photos()[:0], tasks=[]).shape == (0, width)
        with pytest.raises(ValueError, match="`inputs` must begin with a tensor of rows"):
            arm(tasks=0)

    def test_it_trains(self, arm: TaskConditioned) -> None:
        arm.train()
        arm(photos(), tasks=TASKS).square().mul(torch.arange(6.0)[:, None]).sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in arm.parameters())

    def test_a_copy_is_its_own(self, arm: TaskConditioned) -> None:
        arm.eval()
        expected = arm(photos(), tasks=TASKS)
        other = copy.deepcopy(arm)
        for p in arm.parameters():
            p.data.zero_()
        assert torch.equal(other(photos(), tasks=TASKS), expected)

    def test_a_batch_without_tasks_or_with_unknown_ones(self, arm: TaskConditioned) -> None:
        for tasks in (None, torch.tensor([0, 1, 2, 3, 0, 0]), "size", torch.zeros(3, dtype=torch.long)):
            with pytest.raises(ValueError, match=r"`tasks?` must"):
                arm(photos(), tasks=tasks)


def test_a_branch_behind_the_normalisation_is_one_before_it() -> None:
    """W (f / |f|) = (W f) / |f|: the last normalisation takes the length out."""
    torch.manual_seed(0)
    branches = IndependentBranches(network(), NAMES, in_features=12, width=5).eval()
    before = nn.Sequential(*list(branches.network.children())[:-1])(photos())
    for t in range(3):
        expected = F.normalize(before @ branches.branches.weight[t].T, dim=-1)
        torch.testing.assert_close(branches(photos(), tasks=t), expected)


def test_the_papers_numbers_of_parameters() -> None:
    one = nn.Linear(256, 256)
    assert IndependentBranches(one, 20, 256, 25).extra_parameters == 128_000
    assert IndependentBranches(one, 20, 256, 256).extra_parameters == 1_310_720
    assert conditional_similarity(nn.Sequential(one), 20, "0", example=torch.zeros(1, 256)).extra_parameters == 5_120
    assert FullyShared(one, 20).extra_parameters == 0


def test_independent_networks_share_nothing() -> None:
    torch.manual_seed(0)
    arm = independent_networks(lambda: nn.Linear(4, 2), NAMES)
    x = torch.randn(6, 4)
    y = arm(x, tasks=TASKS)
    for i, t in enumerate(TASKS):
        torch.testing.assert_close(y[i], arm.networks[int(t)](x[i]))
    arm(x, tasks="gender").sum().backward()
    assert [p.grad is None for p in arm.parameters()] == [True, True, False, False, True, True]
    with pytest.raises(ValueError, match=r"`networks` must hold one network per task .3., got 1"):
        IndependentNetworks([nn.Linear(4, 2)], 3)


@pytest.mark.parametrize("start", ["normal", "disjoint"])
def test_conditional_similarity_is_one_rectified_mask_at_the_base_rate(start: str) -> None:
    torch.manual_seed(0)
    arm = conditional_similarity(network(), NAMES, example=photos(1), start=start)  # type: ignore[arg-type]
    (mask,) = arm.modulators.children()
    assert mask.learning_rate_factor == 1.0
    *body, fc, _ = arm.eval().network.children()
    embedded = fc.forward(nn.Sequential(*body)(photos()))  # `forward`: without the hook
    expected = F.normalize(embedded * mask.weight.relu()[TASKS], dim=-1)
    torch.testing.assert_close(arm(photos(), tasks=TASKS), expected)


def test_the_two_starts_of_the_masks() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(2, 4000))
    normal = conditional_similarity(copy.deepcopy(wide), 5, "0", example=torch.zeros(1, 2))
    weight = next(normal.modulators.parameters())
    assert weight.mean().item() == pytest.approx(0.9, abs=0.02)
    assert weight.std().item() == pytest.approx(0.7, abs=0.02)
    narrow = nn.Sequential(nn.Linear(2, 7))
    disjoint = conditional_similarity(narrow, 3, "0", example=torch.zeros(1, 2), start="disjoint")
    assert (disjoint.masks()["0"] == 1).int().tolist() == [
        [1, 1, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0],
    ]
    narrow_again = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="`start` 'disjoint' needs a channel per task"):
        conditional_similarity(narrow_again, 4, "0", example=torch.zeros(1, 2), start="disjoint")
    assert not narrow_again[0]._forward_hooks
    conditional_similarity(narrow_again, 3, "0", example=torch.zeros(1, 2), start="disjoint")  # as if nothing had been
    with pytest.raises(ValueError, match=r"`layer` must give the embedding .B, C., got output of shape .1, 2, 3. from"):
        conditional_similarity(nn.Sequential(nn.Linear(2, 3)), 2, "0", example=torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="`start` must be 'normal' or 'disjoint', got 'ones'"):
        conditional_similarity(nn.Sequential(nn.Linear(2, 3)), 2, "0", example=torch.zeros(1, 2), start="ones")  # type: ignore[arg-type]


def test_what_the_baselines_refuse() -> None:
    for width, in_features, message in ((0, 12, "`width` must"), (5, 0, "`in_features` must be at least 1, got 0")):
        with pytest.raises(ValueError, match=message):
            IndependentBranches(network(), 3, in_features, width)


class Attributes:
    """Triplets over two signs: a task's own sign holds positives together, and the other sign says the opposite."""

    def __init__(self, n: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, (n, 2), generator=generator) * 2.0 - 1
        self.tasks = torch.arange(n) % 2
        flip = torch.where(F.one_hot(self.tasks, 2).bool(), 1.0, -1.0)
        rows = torch.stack([signs, signs * flip, -signs * flip], dim=1)  # anchor, positive, negative (n, 3, 2)
        self.rows = rows + 0.1 * torch.randn(rows.shape, generator=generator)

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.rows[index], self.tasks[index]


def embedded(model: nn.Module, batch: tuple[Tensor, Tensor]) -> list[Tensor]:
    rows, tasks = batch
    return list(model(rows.flatten(0, 1), tasks=tasks.repeat_interleave(3)).unflatten(0, (-1, 3)).unbind(1))


def losses_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return triplet_loss(*embedded(model, batch), batch[1], n_tasks=2)


def test_two_tasks_that_contradict_each_other_are_both_learned() -> None:
    """What one task must bring together the other must keep apart: one shared embedding is right about half of it."""
    accuracy = {}
    for name in ("shared", "modulated"):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 8), Normalise())
        model: TaskConditioned = FullyShared(body, 2)
        if name == "modulated":
            model = Modulation(body, 2, ["0", "2"], example=torch.zeros(1, 2))
        config = TrainingConfig(epochs=8, batch_size=64, learning_rate=3e-3, precision="float32", ema_decay=0)
        fit(model, combined(losses_of), ShuffledBatches.of(Attributes(1024, seed=1), config), config, progress=False)
        test = Attributes(512, seed=2)
        batch = test.select(torch.arange(512))
        with torch.no_grad():
            accuracy[name] = triplet_accuracy(*embedded(model, batch), test.tasks, n_tasks=2)[0].mean().item()
    assert accuracy["shared"] < 0.6
    assert accuracy["modulated"] > 0.95
