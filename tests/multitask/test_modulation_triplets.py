"""Triplets: the paper's loss written out, shares in the right order, tasks kept apart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from multitask.modulation import triplet_accuracy, triplet_loss


def triplets(n: int = 30) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, p, x = (F.normalize(torch.randn(n, 4, generator=generator), dim=1) for _ in range(3))
    return a, p, x, torch.randint(0, 3, (n,), generator=generator)


def test_the_loss_is_equation_6() -> None:
    a, p, n, tasks = triplets()
    losses, counts = triplet_loss(a, p, n, tasks, 5, margin=0.3)
    for t in range(3):
        of_task = [
            max(0.0, float(((a[i] - p[i]) ** 2).sum() + 0.3 - ((a[i] - n[i]) ** 2).sum()))
            for i in range(30)
            if tasks[i] == t
        ]
        assert counts[t] == len(of_task)
        assert losses[t].item() == pytest.approx(sum(of_task) / len(of_task), rel=1e-5)
    assert losses[3:].tolist() == counts[3:].tolist() == [0.0, 0.0]


def test_the_loss_agrees_with_torch() -> None:
    """torch's triplet loss takes distances as they are: squared ones are given to it."""
    a, p, n, tasks = triplets()
    ours, _ = triplet_loss(a, p, n, torch.zeros_like(tasks), 1)
    theirs = F.triplet_margin_with_distance_loss(
        a, p, n, distance_function=lambda x, y: (x - y).square().sum(1), margin=0.2
    )
    torch.testing.assert_close(ours[0], theirs)


def test_a_task_without_triplets_has_no_gradient() -> None:
    a, p, n, tasks = triplets()
    a.requires_grad_()
    losses, _ = triplet_loss(a, p, n, tasks, 5)
    (gradient,) = torch.autograd.grad(losses[4], a)
    assert not gradient.any()


def test_the_loss_is_computed_in_float32() -> None:
    a, p, n, tasks = (x.bfloat16() if x.is_floating_point() else x for x in triplets())
    losses, _ = triplet_loss(a, p, n, tasks, 3)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, triplet_loss(a.float(), p.float(), n.float(), tasks, 3)[0])


def test_accuracy_counts_triplets_in_the_right_order() -> None:
    a, p, n, tasks = triplets()
    accuracy, counts = triplet_accuracy(a, p, n, tasks, 4)
    right = (a - p).norm(dim=1) < (a - n).norm(dim=1)
    for t in range(3):
        assert accuracy[t].item() == pytest.approx(right[tasks == t].double().mean().item())
    assert accuracy[3].isnan()
    assert counts.sum() == 30
    swapped, _ = triplet_accuracy(a, n, p, tasks, 3)
    torch.testing.assert_close(swapped, 1 - accuracy[:3])
    assert triplet_accuracy(a, a, a, tasks, 3)[0].tolist() == [0.0, 0.0, 0.0]  # ties
    assert triplet_accuracy(a, a, n, tasks, 3)[0].tolist() == [1.0, 1.0, 1.0]


def test_a_triplet_that_is_not_a_number_is_its_own_tasks_alone() -> None:
    a, p, n, tasks = triplets()
    expected, _ = triplet_loss(a, p, n, tasks, 3)
    broken = a.clone()
    broken[torch.nonzero(tasks == 1)[0]] = torch.nan
    broken.requires_grad_()
    losses, counts = triplet_loss(broken, p, n, tasks, 3)
    assert losses.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(losses[::2], expected[::2])
    assert counts.sum() == 30
    (gradient,) = torch.autograd.grad(losses[0] + losses[2], broken)
    assert gradient[tasks != 1].isfinite().all()
    far = n.clone()
    far[torch.nonzero(tasks == 1)[0]] = torch.inf
    assert triplet_accuracy(a, p, far, tasks, 3)[0].isfinite().all()


def test_no_triplets() -> None:
    nothing = torch.zeros(0, 4)
    losses, counts = triplet_loss(nothing, nothing, nothing, torch.zeros(0, dtype=torch.long), 2)
    assert losses.tolist() == counts.tolist() == [0.0, 0.0]


def test_what_triplets_refuse() -> None:
    a, p, n, tasks = triplets()
    for call in (triplet_loss, triplet_accuracy):
        with pytest.raises(ValueError, match=r"`tasks` must lie in 0..1, got 2"):
            call(a, p, n, tasks, 2)
        with pytest.raises(ValueError, match=r"`tasks` must lie in 0..2, got -1"):
            call(a, p, n, tasks - 1, 3)
        with pytest.raises(ValueError, match=r"`anchor`, `positive`, `negative` must be .N, d. and `tasks` .N,., got"):
            call(a, p[:3], n, tasks, 3)
        with pytest.raises(ValueError, match=r"`tasks` .N,., got"):
            call(a, p, n, tasks[:3], 3)
    with pytest.raises(ValueError, match="`margin` must not be negative, got -1"):
        triplet_loss(a, p, n, tasks, 3, margin=-1)
