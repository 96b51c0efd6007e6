"""Masked losses against scikit-learn and torch, on the rows that carry a label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss, mean_squared_error
from torch import Tensor

from multitask.losses import _row_losses_per_task, masked_losses, row_losses
from multitask.tasks import Task

MIXED = [Task("click"), Task("city", "multiclass", n_classes=4), Task("price", "regression"), Task("save")]
BINARY = [Task("closeup"), Task("click"), Task("save")]


def example(n: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (n, 7), labels (n, 4) with a third missing, weights (n,)."""
    rng = np.random.default_rng(5)
    labels = np.column_stack(
        [rng.integers(0, 2, n), rng.integers(0, 4, n), rng.normal(3, 2, n), rng.integers(0, 2, n)]
    ).astype(np.float32)
    labels[rng.random(labels.shape) < 0.3] = np.nan
    outputs = torch.from_numpy(rng.normal(0, 2, (n, 7)))
    return outputs, torch.from_numpy(labels), torch.from_numpy(rng.uniform(0.1, 3, n))


@pytest.mark.parametrize("weighted", [False, True])
def test_each_task_equals_scikit_learn_on_its_observed_rows(weighted: bool) -> None:
    outputs, labels, weights = example()
    losses, counts = masked_losses(MIXED, outputs, labels, weights if weighted else None)
    seen = ~torch.isnan(labels).numpy()
    y, w = labels.numpy(), weights.numpy() if weighted else np.ones(len(labels))
    click, save = (1 / (1 + np.exp(-outputs[:, c].numpy())) for c in (0, 6))
    city = torch.softmax(outputs[:, 1:5], 1).numpy()
    expected = [
        log_loss(y[seen[:, 0], 0], click[seen[:, 0]], sample_weight=w[seen[:, 0]]),
        log_loss(y[seen[:, 1], 1], city[seen[:, 1]], sample_weight=w[seen[:, 1]], labels=[0, 1, 2, 3]),
        mean_squared_error(y[seen[:, 2], 2], outputs[seen[:, 2], 5], sample_weight=w[seen[:, 2]]),
        log_loss(y[seen[:, 3], 3], save[seen[:, 3]], sample_weight=w[seen[:, 3]]),
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    np.testing.assert_allclose(counts, [w[seen[:, t]].sum() for t in range(4)])


def test_weights_per_label_equal_weights_per_row_when_constant_over_tasks() -> None:
    outputs, labels, weights = example()
    by_row = masked_losses(MIXED, outputs, labels, weights)
    by_label = masked_losses(MIXED, outputs, labels, weights[:, None].expand(-1, 4))
    torch.testing.assert_close(by_row, by_label, rtol=0, atol=0)


def test_missing_labels_reach_neither_loss_nor_gradient() -> None:
    outputs, labels, _ = example()
    outputs = outputs.float().requires_grad_()
    weights = torch.where(torch.isnan(labels), torch.nan, 1.0)  # not even a NaN weight beside a missing label
    losses, _ = masked_losses(MIXED, outputs, labels, weights)
    losses.sum().backward()
    assert outputs.grad is not None
    assert torch.isfinite(losses).all()
    missing = torch.isnan(labels)[:, [0, 1, 1, 1, 1, 2, 3]]
    assert (outputs.grad[missing] == 0).all()
    assert (outputs.grad[~missing] != 0).all()


@pytest.mark.parametrize("tasks", [BINARY, MIXED])
def test_a_task_without_labels_has_loss_and_count_zero_and_no_gradient(tasks: list[Task]) -> None:
    width = sum(task.width for task in tasks)
    outputs = torch.randn(8, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.zeros(8, len(tasks))
    labels[:, 0] = torch.nan
    losses, counts = masked_losses(tasks, outputs, labels)
    losses.sum().backward()
    assert outputs.grad is not None
    assert losses[0] == 0
    assert counts.tolist() == [0.0] + [8.0] * (len(tasks) - 1)
    assert (outputs.grad[:, 0] == 0).all()
    assert torch.isfinite(outputs.grad).all()


def test_the_binary_fast_path_equals_the_general_path() -> None:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(64, 3, generator=generator) * 5
    y = torch.randint(0, 2, (64, 3), generator=generator).float()
    torch.testing.assert_close(row_losses(BINARY, z, y), _row_losses_per_task(BINARY, z, y), rtol=0, atol=0)


def test_batches_average_to_the_whole_with_the_counts_as_weights() -> None:
    outputs, labels, weights = example()
    whole, total = masked_losses(MIXED, outputs, labels, weights)
    parts = [masked_losses(MIXED, outputs[rows], labels[rows], weights[rows]) for rows in torch.arange(200).split(33)]
    summed = sum(losses * counts for losses, counts in parts)
    torch.testing.assert_close(summed / total, whole)


@pytest.mark.parametrize("tasks", [BINARY, MIXED])
def test_losses_are_float32_under_bfloat16_autocast(tasks: list[Task]) -> None:
    width = sum(task.width for task in tasks)
    outputs = torch.randn(32, width, generator=torch.Generator().manual_seed(1)).bfloat16()
    labels = torch.ones(32, len(tasks))
    with torch.autocast("cpu", torch.bfloat16):
        losses, counts = masked_losses(tasks, outputs, labels)
    assert losses.dtype == counts.dtype == torch.float32
    torch.testing.assert_close(losses, masked_losses(tasks, outputs.float(), labels)[0], rtol=1e-6, atol=0)


def test_float64_outputs_keep_float64() -> None:
    outputs = torch.full((2, 1), 1 / 3, dtype=torch.float64)
    losses, _ = masked_losses([Task("click")], outputs, torch.zeros(2, 1))
    assert losses.dtype == torch.float64
    assert losses.item() == pytest.approx(F.softplus(outputs[0, 0]).item(), rel=1e-15)


@pytest.mark.parametrize(
    ("outputs", "labels", "weights", "message"),
    [
        ((5, 3), (5, 2), None, "`labels` must have shape .N, 3., got .5, 2."),
        ((5, 2), (5, 3), None, "`outputs` must have shape .5, 3., got .5, 2."),
        ((5, 3), (5, 3), (3,), "`weights` must have shape .5,. or .5, 3., got .3,."),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    outputs: tuple[int, ...], labels: tuple[int, ...], weights: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        masked_losses(
            BINARY, torch.zeros(outputs), torch.zeros(labels), None if weights is None else torch.ones(weights)
        )
