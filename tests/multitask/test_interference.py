"""Gradient inner products and what is read from them: identities, hand-derived values, the diagnostic, the heat map."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multitask.interference import (
    Interference,
    compliance_figure,
    conflict_index,
    diagnostic,
    gradient_cosines,
    gradient_gram,
    shared_parameters,
    update_compliance,
)
from multitask.losses import masked_losses
from multitask.tasks import Task
from multitask.towers import StackedTowers


def grams_of(gradients: Tensor) -> Tensor:
    """`(K, T, P)` gradients to `(K, T, T)`."""
    return gradients @ gradients.transpose(1, 2)


def random_gradients(seed: int, k: int = 9, t: int = 4, p: int = 3) -> Tensor:
    """`(K, T, P)`, some of them exactly zero."""
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(k, t, p, generator=generator, dtype=torch.float64)
    gradients[torch.rand(k, t, generator=generator) < 0.3] = 0
    return gradients


@pytest.mark.parametrize("seed", range(5))
def test_ratios_are_symmetric_shares_with_ones_on_the_diagonal(seed: int) -> None:
    ucr = update_compliance(grams_of(random_gradients(seed)))
    known = ~torch.isnan(ucr)
    assert ucr.shape == (4, 4)
    assert ((ucr[known] >= 0) & (ucr[known] <= 1)).all()
    torch.testing.assert_close(ucr, ucr.T, rtol=0, atol=0, equal_nan=True)
    assert (ucr.diagonal()[known.diagonal()] == 1).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_ratios_do_not_depend_on_the_size_of_gradients_or_the_order_of_tasks(seed: int, scale: float) -> None:
    gradients = random_gradients(seed)
    ucr = update_compliance(grams_of(gradients))
    scaled = gradients * torch.tensor([1.0, scale, 3.0, 0.1], dtype=torch.float64)[:, None]
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(update_compliance(grams_of(scaled)), ucr, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(
        gradient_cosines(grams_of(scaled)), gradient_cosines(grams_of(gradients)), equal_nan=True
    )
    permuted = update_compliance(grams_of(gradients[:, order]))
    torch.testing.assert_close(permuted, ucr[order][:, order], rtol=0, atol=0, equal_nan=True)


def test_equal_gradients_comply_and_opposed_ones_do_not() -> None:
    g = torch.randn(6, 1, 5, generator=torch.Generator().manual_seed(0))
    grams = grams_of(torch.cat([g, g, -2 * g], dim=1))
    assert update_compliance(grams).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    torch.testing.assert_close(gradient_cosines(grams)[0], torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))


def test_orthogonal_gradients_do_not_comply() -> None:
    """Equation 2's sign is 0, and the ratio counts A > 0."""
    assert update_compliance(torch.eye(2)[None]).tolist() == [[1, 0], [0, 1]]


def test_zero_gradients_are_left_out_of_the_pair_and_of_no_other() -> None:
    a, b, zero = [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]
    minus_b = [-1.0, -1.0]
    grams = grams_of(torch.tensor([[a, b, zero], [a, zero, zero], [a, minus_b, zero]]))
    ucr = update_compliance(grams)
    assert ucr[0, 1] == 1 / 2  # of the first and the third minibatch
    assert torch.isnan(ucr[2]).all()
    assert gradient_cosines(grams)[0, 1] == 0  # cos 45 and cos 135 degrees
    table = Interference(("a", "b", "c"), grams).table()
    assert table["minibatches"].tolist() == [2, 0, 0]


def test_conflict_index_by_hand() -> None:
    """g = (1, 0), (-1, 1), (0, 2): <1,2> = -1, <1,3> = 0, <2,3> = 2; squares 1 + 2 + 4."""
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    one = grams_of(gradients[None])
    assert conflict_index(one[0]) == pytest.approx(-2 * (-1 + 0 + 2) / (1 + 2 + 4))
    assert conflict_index(one) == conflict_index(one[0])
    # c = 1 - |sum g|^2 / sum |g|^2; the sum is (0, 3)
    assert conflict_index(one) == pytest.approx(1 - 9 / 7)
    other = grams_of(torch.tensor([[[3.0, 0.0], [-3.0, 0.0], [0.0, 0.0]]], dtype=torch.float64))
    assert conflict_index(other) == 1
    # numerators (-2 and 18) and denominators (7 and 18) are summed over minibatches, not the quotients
    assert conflict_index(torch.cat([one, other])) == pytest.approx((-2 + 18) / (7 + 18))
    assert conflict_index(torch.ones(4, 4)) == 1 - 4
    assert conflict_index(torch.eye(3)) == 0
    assert math.isnan(conflict_index(torch.zeros(2, 2)))


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


@pytest.mark.parametrize("function", [update_compliance, gradient_cosines, conflict_index])
def test_other_shapes_are_refused(function: Any) -> None:
    with pytest.raises(ValueError, match=r"`grams` must have shape \(minibatches, tasks, tasks\), got \(2, 3, 4\)"):
        function(torch.zeros(2, 3, 4))


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


def test_heat_map_draws_what_it_is_given() -> None:
    names = [f"a task with the long name {i}" for i in range(20)]
    ucr = torch.rand(20, 20, dtype=torch.float64)
    ucr[3, 4] = ucr[4, 3] = torch.nan
    figure = compliance_figure({"shared": ucr, "modulated": 1 - ucr}, names)
    first, second, _ = figure.axes
    texts = {tuple(map(int, t.get_position())): t.get_text() for t in first.texts}
    assert len(texts) == 20 * 19  # no diagonal
    assert texts[4, 3] == "–"
    assert texts[7, 2] == f"{100 * ucr[2, 7].item():.0f}"
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0, 1)
    assert first.images[0].cmap(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)  # white is one half
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize(
    ("ratios", "words"),
    [({}, "`ratios` must hold at least one table"), (torch.ones(3, 3), r"must have shape \(2, 2\), got \(3, 3\)")],
)
def test_heat_map_says_what_is_wrong(ratios: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compliance_figure(ratios, ["a", "b"])


def test_heat_map_of_nothing_known() -> None:
    figure = compliance_figure(torch.full((2, 2), torch.nan), ["a", "b"])
    assert figure.axes[0].get_title(loc="left") == ""
