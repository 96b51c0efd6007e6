"""Modulation of networks: the identity at first, every way to ask for a task, traces, faults."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from multitask.modulation import AttributeNetwork, Modulation, Scaling

TASKS = torch.tensor([1, 0, 2, 2, 0, 1])
LAYERS = ("block4", "block5", "fc")


class Attention(nn.Module):
    """No `nn.Sequential`: a transformer layer on tokens `(B, L, C)`, pooled; two inputs; a dotted layer name."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"layer": nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True)})
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        return self.head(self.body["layer"](x + shift[:, None]).mean(1))


def photos(rows: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(rows, 3, 48, 48, generator=torch.Generator().manual_seed(seed))


def network(seed: int = 0) -> AttributeNetwork:
    torch.manual_seed(seed)
    return AttributeNetwork(size=48, widths=(4, 6, 8, 8, 8), dim=10)


def perturbed(modulation: Modulation) -> Modulation:
    """With masks that differ between tasks, as after training."""
    generator = torch.Generator().manual_seed(5)
    for parameter in modulation.modulators.parameters():
        parameter.data += 0.5 * torch.rand(parameter.shape, generator=generator)
    return modulation.eval()


@pytest.fixture
def modulation() -> Modulation:
    return perturbed(Modulation(network(), ["type", "gender", "colour"], LAYERS, example=photos(1)))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", ["scaling", "projection", "mask"])
def test_at_first_it_is_the_network_bit_for_bit(kind: str, training: bool) -> None:
    plain = network().train(training)
    modulated = Modulation(network(), 3, LAYERS, example=photos(1), kind=kind).train(training)  # type: ignore[arg-type]
    expected = plain(photos())
    assert torch.equal(modulated(photos(), tasks=TASKS), expected)
    for t in range(3):
        assert torch.equal(modulated(photos(), tasks=t), expected)


def test_at_first_the_gradients_of_the_network_are_its_own() -> None:
    plain, modulated = network(), Modulation(network(), 3, LAYERS, example=photos(1))
    weights = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))
    (plain(photos()) * weights).sum().backward()
    (modulated(photos(), tasks=TASKS) * weights).sum().backward()
    for (name, p), q in zip(plain.named_parameters(), modulated.network.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert torch.equal(p.grad, q.grad), name


def test_the_parameters_added_are_counted_exactly() -> None:
    example = torch.zeros(1, 3, 150, 150)
    plain = sum(p.numel() for p in AttributeNetwork().parameters())
    modulation = Modulation(AttributeNetwork(), 20, LAYERS, example=example)
    assert modulation.extra_parameters == 20 * (128 + 128 + 256) == 10_240
    assert sum(p.numel() for p in modulation.parameters()) == plain + 10_240
    projection = Modulation(AttributeNetwork(), 7, LAYERS, example=example, kind="projection")
    assert projection.extra_parameters == 7 * (2 * 128**2 + 256**2)


def test_every_way_to_ask_for_a_task_gives_the_same(modulation: Modulation) -> None:
    x = photos()
    every = modulation.all_tasks(x)
    assert every.shape == (6, 3, 10)
    for t, (name, h) in enumerate(modulation.iterate(x)):
        assert name == modulation.task_names[t]
        torch.testing.assert_close(h, every[:, t])
        torch.testing.assert_close(modulation.embed(x, name), every[:, t])
        torch.testing.assert_close(modulation.embed(x, t), every[:, t])
        torch.testing.assert_close(modulation(x, tasks=torch.full((6,), t)), every[:, t])
    torch.testing.assert_close(modulation(x, tasks=TASKS), every[torch.arange(6), TASKS])
    torch.testing.assert_close(modulation(x, tasks=TASKS.int()), every[torch.arange(6), TASKS])
    assert not torch.allclose(every[:, 0], every[:, 1], atol=1e-3)


@pytest.mark.parametrize("layers", [["conv1"], ["fc", "block3"], ["block3.2", "fc"], ["block5.2.conv1"], ["fc.1"]])
@pytest.mark.parametrize("kind", ["scaling", "projection"])
def test_any_layer_may_be_the_first(layers: Sequence[str], kind: str) -> None:
    modulation = perturbed(Modulation(network(), 3, layers, example=photos(1), kind=kind))  # type: ignore[arg-type]
    x = photos()
    expected = [modulation(x, tasks=t) for t in range(3)]
    torch.testing.assert_close([h for _, h in modulation.iterate(x)], expected)
    if layers != ["block5.2.conv1"]:  # beside a skip connection rows cannot be repeated
        torch.testing.assert_close(list(modulation.all_tasks(x).unbind(1)), expected)


def test_a_skip_around_the_first_layer_is_refused_by_all_tasks() -> None:
    modulation = Modulation(network(), 3, ["block5.2.conv1"], example=photos(1))
    with pytest.raises(RuntimeError, match="size of tensor"):
        modulation.all_tasks(photos())


def test_one_task_is_no_special_case() -> None:
    modulation = perturbed(Modulation(network(), 1, LAYERS, example=photos(1)))
    torch.testing.assert_close(modulation.all_tasks(photos())[:, 0], modulation(photos(), tasks=0))
    assert modulation.distances().empty


def test_a_network_of_tokens_with_two_inputs_and_dotted_names() -> None:
    torch.manual_seed(0)
    x, shift = torch.randn(4, 5, 8), torch.randn(4, 8)
    plain = Attention().eval()
    modulation = Modulation(copy.deepcopy(plain), 3, ["body.layer", "head"], example=(x, shift)).eval()
    assert modulation.extra_parameters == 3 * (8 + 3)
    tasks = torch.tensor([0, 1, 2, 1])
    assert torch.equal(modulation(x, shift, tasks=tasks), plain(x, shift))
    perturbed(modulation)
    every = modulation.all_tasks(x, shift)
    torch.testing.assert_close(every[range(4), tasks], modulation(x, shift, tasks=tasks))
    with pytest.raises(ValueError, match=r"`network` must be an nn.Sequential .* to be cut at a layer, got Attention"):
        modulation.iterate(x)


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


def test_stored_maps_outlive_a_layer_that_works_in_place() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Sequential(Doubling(), nn.Linear(3, 2)))
    modulation, x = perturbed(Modulation(net, 3, ["1.1"], example=torch.zeros(1, 4))), torch.randn(5, 4)
    with torch.no_grad():
        torch.testing.assert_close([h for _, h in modulation.iterate(x)], [modulation(x, tasks=t) for t in range(3)])


def test_a_sequential_with_a_forward_pass_of_its_own_is_not_cut() -> None:
    class Skipping(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return x + super().forward(x)

    modulation = Modulation(Skipping(nn.Linear(3, 3)), 2, ["0"], example=torch.zeros(1, 3))
    with pytest.raises(
        ValueError, match=r"nn.Sequential .without a forward pass of its own. to be cut .* got Skipping"
    ):
        modulation.iterate(torch.zeros(1, 3))


def test_rows_do_not_see_each_others_tasks(modulation: Modulation) -> None:
    alone = torch.cat([modulation(photos()[i : i + 1], tasks=TASKS[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(modulation(photos(), tasks=TASKS), alone)


def test_the_dry_pass_leaves_no_trace() -> None:
    net = network().train()
    net.block3.eval()
    before, random, modes = copy.deepcopy(net.state_dict()), torch.get_rng_state(), [m.training for m in net.modules()]
    Modulation(net, 3, LAYERS, example=photos(2))
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_copy_is_a_modulation_of_its_own(modulation: Modulation) -> None:
    expected = modulation(photos(), tasks=TASKS)
    other = copy.deepcopy(modulation)
    modulation.modulators["after_fc"].weight.data.zero_()
    assert torch.equal(other(photos(), tasks=TASKS), expected)
    assert not modulation(photos(), tasks=TASKS).any()


def test_state_dict_and_pickle_hold_everything(modulation: Modulation) -> None:
    expected = modulation(photos(), tasks=TASKS)
    other = Modulation(network(seed=1), 3, LAYERS, example=photos(1)).eval()
    other.load_state_dict(modulation.state_dict())
    assert torch.equal(other(photos(), tasks=TASKS), expected)
    file = io.BytesIO()
    torch.save(modulation, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(photos(), tasks=TASKS), expected)


def test_threads_may_embed_under_different_tasks_at_once(modulation: Modulation) -> None:
    expected = [modulation.embed(photos(), t) for t in range(3)]
    found: dict[int, list[Tensor]] = {t: [] for t in range(3)}
    threads = [
        threading.Thread(target=lambda t=t: found[t].extend(modulation.embed(photos(), t) for _ in range(8)))  # type: ignore[misc]
        for t in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(found[t]) == 8 and all(torch.equal(h, expected[t]) for h in found[t]) for t in range(3))


def test_a_task_without_data_keeps_its_masks_at_one() -> None:
    """Also under weight decay, which the masks are exempt from."""
    from multitask.config import TrainingConfig
    from multitask.optimizers import make_optimizer

    modulation = Modulation(network(), 4, LAYERS, example=photos(1))
    optimizer = make_optimizer(modulation, TrainingConfig(optimizer="adamw", weight_decay=0.1))
    for step in range(3):
        (modulation(photos(seed=step), tasks=TASKS) * torch.randn(6, 10)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    for masks in modulation.masks().values():
        assert torch.equal(masks[3], torch.ones_like(masks[3]))
        assert (masks[:3] != 1).any(1).all()
    distances = modulation.distances()
    assert list(distances.columns) == ["task", "other", "mean", "variance"]
    assert len(distances) == 6
    assert (distances["mean"] > 0).all()


def test_a_frozen_network_changes_no_bit_in_training() -> None:
    modulation = Modulation(network(), 3, LAYERS, example=photos(1))
    modulation.freeze()
    before = copy.deepcopy(modulation.network.state_dict())
    modulation.train()
    modulation(photos(), tasks=TASKS).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in modulation.network.state_dict().items())
    assert all(p.grad is None for p in modulation.network.parameters())
    assert all(p.grad is not None for p in modulation.modulators.parameters())
    assert modulation.training
    assert not any(module.training for module in modulation.network.modules())
    assert copy.deepcopy(modulation).train().network.training is False


def test_layers_are_marked_for_optimiser_and_diagnostics() -> None:
    modulation = Modulation(network(), 3, LAYERS, example=photos(1), rate_factor=4.0)
    marked = [module for module in modulation.modules() if getattr(module, "task_specific", False)]
    assert len(marked) == 3
    assert all(isinstance(module, Scaling) and module.learning_rate_factor == 4.0 for module in marked)
