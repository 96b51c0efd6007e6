"""The three signals, and the capture that sums them over training steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multitask.sharing import SIGNALS, Branches, Capture, merge_branches
from multitask.sharing.signals import gradient_cores, response_rows, tt_input_similarity, weight_gradient


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _gram(rows: Tensor) -> Tensor:
    return rows @ rows.T


def test_response_is_the_norm_of_each_rows_gradient() -> None:
    dz = randn(3, 7, 5)
    norms = [[dz[g, n].norm().item() for n in range(7)] for g in range(3)]
    torch.testing.assert_close(response_rows(dz), torch.tensor(norms, dtype=torch.float64))
    coarse = dz.bfloat16()
    found = response_rows(coarse)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, coarse.double().norm(dim=-1), rtol=1e-6, atol=0)  # bf16 would be off by 4e-3


def test_response_does_not_depend_on_the_units() -> None:
    """Rotating or permuting a branch's units changes nothing."""
    dz = randn(2, 7, 5)
    rotation = torch.linalg.qr(randn(5, 5, seed=1)).Q
    turned = torch.stack([dz[0] @ rotation, dz[1].flip(1)])
    torch.testing.assert_close(response_rows(turned).float(), response_rows(dz).float())


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_tt_input_is_that_of_the_whole_decomposition(shape: tuple[int, int]) -> None:
    w = randn(3, *shape)
    right = torch.linalg.svd(w.double(), full_matrices=False).Vh[:, :2]
    expected = torch.stack([torch.stack([(a @ b.T).square().sum() / 2 for b in right]) for a in right])
    torch.testing.assert_close(tt_input_similarity(w, rank=2), expected)


def test_tt_input_is_gauge_invariant() -> None:
    """W = A B is (A R^-1)(R B) too, with any sizes of the corrections: the subspace of the inputs is the same."""
    a, b, c = randn(3, 8, 2), randn(2, 9, seed=1), randn(2, 9, seed=2)
    w = torch.stack([a[0] @ b, a[1] @ b * 1e-3, a[2] @ c])
    k = tt_input_similarity(w, rank=2)
    assert torch.allclose(k[0, 1], torch.tensor(1.0, dtype=torch.float64))
    assert k[0, 2] < 0.9
    left = torch.linalg.qr(randn(8, 8, seed=3)).Q
    torch.testing.assert_close(tt_input_similarity(left @ w, rank=2), k)


def test_tt_input_of_low_or_no_rank() -> None:
    w = torch.stack([randn(4, 1) @ randn(1, 6, seed=1), torch.zeros(4, 6)])
    torch.testing.assert_close(torch.diagonal(tt_input_similarity(w, rank=3)), torch.tensor([1 / 3, 0.0]).double())
    assert tt_input_similarity(w, rank=50).shape == (2, 2)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_gradient_holds_the_cores_of_the_decomposition(shape: tuple[int, int]) -> None:
    w = randn(2, *shape)
    left, values, right = torch.linalg.svd(w.double(), full_matrices=False)
    cores = []
    for g in range(2):
        u, v = left[g, :, :2], values[g, :2, None] * right[g, :2]
        signs = u.gather(0, u.abs().argmax(0, keepdim=True)).sign()
        cores.append(torch.cat([(u * signs).flatten(), (v * signs.T).T.flatten()]))
    torch.testing.assert_close(gradient_cores(w, rank=2) @ gradient_cores(w, rank=2).T, _gram(torch.stack(cores)))


@pytest.mark.parametrize("signal", ["response", "tt_input", "gradient"])
@pytest.mark.parametrize("own_inputs", [False, True])
@pytest.mark.parametrize("labels", [(0, 1, 2), (0, 1, 0)])
def test_capture_sees_the_gradients_of_the_groups(signal: str, own_inputs: bool, labels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    branches = Branches(3, 6, hidden=(5, 4))
    merge_branches(branches, labels, losses=[0.0] * 3)
    h, y = torch.randn((9, 3, 6) if own_inputs else (9, 6)), torch.randn(9, 3)
    capture = Capture(branches, signal)
    with capture.step():
        loss = (branches(h) - y).square().mean(0).sum()
    loss.backward()
    found = capture.total()
    assert found.shape == (branches.n_groups, branches.n_groups)
    weight_grad = branches.layers[0].weight.grad
    assert weight_grad is not None
    if signal == "tt_input":
        torch.testing.assert_close(found, tt_input_similarity(weight_grad, 4))
    elif signal == "gradient":
        torch.testing.assert_close(found, _gram(gradient_cores(weight_grad, 4)))
    else:  # the gradient of z, from its own leaf
        layer = branches.layers[0]
        x = h.transpose(0, 1) if own_inputs else h.expand(3, -1, -1)
        norms = torch.zeros(branches.n_groups, 9)
        z = torch.baddbmm(layer.bias[branches.group_of][:, None], x, layer.weight[branches.group_of].transpose(1, 2))
        z = z.detach().requires_grad_()
        deep = torch.baddbmm(
            branches.layers[1].bias[branches.group_of][:, None],
            torch.relu(z),
            branches.layers[1].weight[branches.group_of].transpose(1, 2),
        )
        out = (torch.relu(deep) * branches.output_weight[:, None]).sum(-1).T + branches.output_bias
        (dz,) = torch.autograd.grad((out - y).square().mean(0).sum(), z)
        for group in range(branches.n_groups):
            of_group = dz[branches.group_of == group]
            joint = of_group.square().sum(0) if own_inputs else of_group.sum(0).square()
            norms[group] = joint.sum(-1).sqrt()
        torch.testing.assert_close(found.float(), norms @ norms.T)


def test_the_gradient_of_the_weights_from_both_sides() -> None:
    dz, x = randn(3, 9, 5), randn(9, 6, seed=1)
    torch.testing.assert_close(weight_gradient(dz, x)[1], dz[1].T @ x)


def test_only_the_steps_gradient_counts() -> None:
    """Gradients that somebody takes of the same graph before the step's own are not summed."""
    torch.manual_seed(0)
    branches, h = Branches(3, 6, hidden=(5,)), torch.randn(9, 6, requires_grad=True)
    totals = []
    for curious in (False, True):
        capture = Capture(branches)
        for _ in range(2):
            with capture.step():
                losses = branches(h).square().mean(0)
                if curious:
                    torch.autograd.grad(losses[1], h, retain_graph=True)
            losses.sum().backward()
        totals.append(capture.total())
    assert torch.equal(*totals)


@pytest.mark.parametrize("signal", SIGNALS)
def test_many_steps_of_unlike_size(signal: str) -> None:
    """The sum over 37 steps is that of each alone."""
    torch.manual_seed(0)
    branches, alone = Branches(3, 6, hidden=(5,)), []
    whole = Capture(branches, signal)
    for rows in [8] * 36 + [5]:
        h, single = torch.randn(rows, 6), Capture(branches, signal)
        with whole.step(), single.step():
            loss = branches(h).square().mean(0).sum()
        loss.backward()
        alone.append(single.total())
    torch.testing.assert_close(whole.total(), torch.stack(alone).sum(0))


@pytest.mark.parametrize("signal", ["response", "tt_input", "gradient"])
def test_several_forward_passes_in_a_step_add_up(signal: str) -> None:
    torch.manual_seed(0)
    branches, batches = Branches(3, 6, hidden=(5,)), (randn(9, 6), randn(4, 6, seed=1))

    def total(*rows: Tensor) -> Tensor:
        capture = Capture(branches, signal)
        with capture.step():
            loss = torch.stack([branches(h).square().sum() for h in rows]).sum()
        loss.backward()
        return capture.total()

    torch.testing.assert_close(total(*batches), total(batches[0]) + total(batches[1]))


def test_every_so_many_steps() -> None:
    branches, h = Branches(2, 6, hidden=(5,)), randn(9, 6)

    def total(every: int, steps: int) -> Tensor:
        capture = Capture(branches, every=every)
        for _ in range(steps):
            with capture.step():
                loss = branches(h).square().sum()
            loss.backward()
        return capture.total()

    torch.testing.assert_close(total(every=3, steps=4), total(every=1, steps=2))  # steps 0 and 3


def test_nothing_is_left_behind() -> None:
    branches = Branches(2, 6, hidden=(5,))
    capture = Capture(branches)
    with torch.no_grad(), capture.step():
        branches(torch.randn(2, 6))
    with pytest.raises(RuntimeError, match="stop"), capture.step():
        raise RuntimeError("stop")
    assert not branches.listeners
    assert torch.equal(capture.total(), torch.zeros(2, 2, dtype=torch.float64))


def test_what_does_not_fit_is_refused() -> None:
    branches = Branches(2, 6, hidden=(5,))
    with pytest.raises(ValueError, match=r"`signal` must be one of .*, got 'loss'"):
        Capture(branches, "loss")
    with pytest.raises(ValueError, match="`rank` must be left out"):
        Capture(branches, "response", rank=3)
    with pytest.raises(ValueError, match="`rank` must be at least 1, got 0"):
        Capture(branches, "tt_input", rank=0)
    with pytest.raises(ValueError, match="`every` must be at least 1, got 0"):
        Capture(branches, every=0)
