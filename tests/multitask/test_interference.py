"""Gradient inner products of a model's tasks, the weights they are taken on, and the diagnostic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multitask.interference import diagnostic, gradient_gram, shared_parameters
from multitask.losses import masked_losses
from multitask.tasks import Task
from multitask.towers import StackedTowers


class Net(nn.Module):
    """A shared layer, batch statistics, dropout, and towers of single tasks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))
        self.towers = StackedTowers(3, 16, 4, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.towers(self.body(x))
        return y


TASKS = [Task("click"), Task("save"), Task("price", "regression")]


def rows(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator)
    return x, torch.stack([(x[:, 0] > 0).float(), (x[:, 0] < 0).float(), x[:, 1]], dim=1)


def task_losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return masked_losses(TASKS, model(batch[0]), batch[1])


def test_gram_equals_separate_gradients() -> None:
    net = Net()
    net.towers.requires_grad_(False)  # also a frozen part does not matter
    losses, counts = task_losses(net, rows(40))
    shared = shared_parameters(net)
    gram = gradient_gram(losses, shared, counts)
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)]).double()
        for loss in losses
    ]
    expected = torch.tensor([[(g @ h).item() for h in flat] for g in flat], dtype=torch.float64)
    torch.testing.assert_close(gram, expected)
    assert torch.equal(gram, gram.T)
    assert gram.dtype == torch.float64
    assert all(parameter.grad is None for parameter in net.parameters())
    losses.sum().backward()  # the graph is still there


def test_shared_parameters_leave_out_marked_modules_and_frozen_weights() -> None:
    net = Net()
    assert [id(p) for p in shared_parameters(net)] == [id(p) for p in net.body.parameters()]
    net.body[0].bias.requires_grad_(False)
    assert len(shared_parameters(net)) == len(list(net.body.parameters())) - 1
    tied = nn.Sequential(nn.Linear(3, 3), Net().towers)
    tied[1].output_weight = tied[0].weight  # a weight that a task's own module holds too is not shared
    assert [id(p) for p in shared_parameters(tied)] == [id(tied[0].bias)]


def test_unreached_parameters_and_absent_tasks_count_as_zeros() -> None:
    w, v = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    losses = torch.stack([w.sum(), 2 * w[0] + 0 * v.sum(), torch.tensor(1.0)])
    expected = [[2.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 0.0]]
    assert gradient_gram(losses, [w, v, torch.ones(1, requires_grad=True)]).tolist() == expected
    calls: list[Tensor] = []
    w.register_hook(calls.append)
    assert gradient_gram(losses, [w], counts=torch.tensor([5.0, 0.0, 0.0])).tolist() == [
        [2, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]
    assert len(calls) == 1  # no backward pass for the absent ones


def test_gram_under_autocast_is_that_of_the_graph() -> None:
    """The backward products of what ran in float32 stay in float32 inside the caller's autocast."""
    torch.manual_seed(1)
    w, x = torch.randn(32, 64, requires_grad=True), torch.randn(50, 64)

    def losses() -> Tensor:
        with torch.autocast("cpu", enabled=False):
            y = x @ w.T
            return torch.stack([y.square().mean(), y.sin().mean()])

    expected = gradient_gram(losses(), [w])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gradient_gram(losses(), [w]), expected)


@pytest.mark.parametrize(
    ("losses", "parameters", "counts", "words"),
    [
        (torch.ones(2, requires_grad=True), [], None, "`parameters` must hold at least one"),
        (torch.ones(2, 2, requires_grad=True), [torch.ones(1)], None, r"`losses` must have shape \(T,\), got \(2, 2\)"),
        (torch.ones(2, requires_grad=True), [torch.ones(1)], torch.ones(3), r"`counts` must have shape \(2,\)"),
        (torch.ones(2), [torch.ones(1)], None, "`losses` must depend on weights"),
    ],
)
def test_gram_says_what_is_wrong(losses: Tensor, parameters: list[Tensor], counts: Tensor | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gradient_gram(losses, parameters, counts)


def test_diagnostic_leaves_the_model_as_it_was_and_repeats() -> None:
    net = Net()
    net.train()
    net.body[1].eval()  # a frozen BatchNorm in a training network
    next(net.parameters()).grad = torch.full((16, 6), 7.0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    flags = [module.training for module in net.modules()]
    random = torch.get_rng_state()
    batches = [rows(64, seed) for seed in range(4)]
    found = diagnostic(net, task_losses, iter(batches), task_names=[task.name for task in TASKS])
    assert [module.training for module in net.modules()] == flags
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(dict(net.state_dict()), before, rtol=0, atol=0)
    assert (next(net.parameters()).grad == 7).all()
    assert all(parameter.grad is None for parameter in list(net.parameters())[1:])
    assert torch.equal(diagnostic(net, task_losses, batches).grams, found.grams)  # no dropout in it
    assert found.tasks == ("click", "save", "price")
    assert found.grams.shape == (4, 3, 3)
    assert len(found.table()) == 3


def test_diagnostic_sees_opposed_tasks() -> None:
    """Save = not click, through one output: opposed on every shared weight."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))

    def opposed(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        output = model(batch[0])
        return masked_losses(TASKS[:2], output.expand(-1, 2), batch[1][:, :2])

    found = diagnostic(net, opposed, [rows(64, seed) for seed in range(5)])
    assert found.compliance.tolist() == [[1, 0], [0, 1]]
    assert found.conflict > 0.9
    only_bias = diagnostic(net, opposed, [rows(64)], parameters=[net[2].bias])
    assert only_bias.grams[0, 0, 0] < found.grams[0, 0, 0]


def test_diagnostic_restores_after_an_error() -> None:
    net = Net()

    def broken(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        diagnostic(net, broken, [None])
    assert net.training
    with pytest.raises(ValueError, match="`batches` must hold at least one batch"):
        diagnostic(net, task_losses, [])
    with pytest.raises(ValueError, match=r"`grams` must have shape \(minibatches, 2, 2\), got \(1, 3, 3\)"):
        diagnostic(net, task_losses, [rows(8)], task_names=["click", "save"])


class Drawing(nn.Module):
    """Draws random numbers in evaluation mode too, as stochastic pooling or Monte Carlo dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.towers = nn.Linear(6, 8), StackedTowers(3, 8, 4, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        y: Tensor = self.towers(h * torch.rand_like(h))
        return y


def test_the_diagnostic_of_a_network_that_draws_leaves_the_random_state() -> None:
    net, random = Drawing(), torch.get_rng_state()
    diagnostic(net, task_losses, [rows(8)])
    assert torch.equal(torch.get_rng_state(), random)


def test_the_diagnostic_works_where_gradients_are_switched_off() -> None:
    net = Net()
    expected = diagnostic(net, task_losses, [rows(16)]).grams
    with torch.no_grad():
        assert torch.equal(diagnostic(net, task_losses, [rows(16)]).grams, expected)
        assert not torch.is_grad_enabled()


def test_a_batch_per_task_gives_the_gradients_of_the_common_batch() -> None:
    """Every row has the label of one task; the third task has none in the second batch."""
    net, common, apart = Net(), [], []
    for seed, absent in ((0, False), (1, True)):
        x, y = rows(45, seed)
        task = torch.arange(45) % (2 if absent else 3)
        y = torch.where(task[:, None] == torch.arange(3), y, torch.nan)
        common.append((x, y))
        apart.append([(x[task == t], y[task == t]) if (task == t).any() else (x[:1], y[:1] * torch.nan)
                      for t in range(3)])  # fmt: skip
    whole = diagnostic(net, task_losses, common)
    found = diagnostic(net, task_losses, iter(apart), per_task=True, task_names=["click", "save", "price"])
    torch.testing.assert_close(found.grams, whole.grams, rtol=1e-5, atol=1e-9)
    assert (found.grams[1, 2] == 0).all()
    assert (found.grams[0] != 0).all()
    assert found.tasks == ("click", "save", "price")
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training
    with pytest.raises(ValueError, match=r"`batches` must hold one batch per task \(3\), got 2"):
        diagnostic(net, task_losses, [apart[0][:2]], per_task=True)
    with pytest.raises(ValueError, match="`parameters` must hold at least one"):
        diagnostic(net, task_losses, apart, parameters=[], per_task=True)


def test_a_batch_per_task_costs_a_backward_pass_through_its_own_rows() -> None:
    net, seen = Net(), []
    net.body[2].register_full_backward_hook(lambda module, grads, outputs: seen.append(len(outputs[0])))
    x, y = rows(30)
    apart = [(x[10 * t : 10 * t + 10], y[10 * t : 10 * t + 10]) for t in range(3)]
    diagnostic(net, task_losses, [apart], per_task=True)
    assert seen == [10, 10, 10]
    seen.clear()
    apart[1] = (x[:10], y[:10] * torch.nan)  # an absent task: none
    diagnostic(net, task_losses, [apart], per_task=True)
    assert seen == [10, 10]
