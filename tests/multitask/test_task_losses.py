"""The tasks' losses as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multitask.losses import masked_losses
from multitask.task_losses import combined
from multitask.tasks import Task
from multitask.weighting import Fixed, Uncertainty

TASKS = [Task("click"), Task("price", "regression")]
Batch = tuple[Tensor, Tensor]


def task_losses(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    return masked_losses(TASKS, model(batch[0]), batch[1])


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([[1.0, 0.3], [0.0, torch.nan], [1.0, torch.nan]])
    return torch.randn(3, 4, generator=generator), labels


def test_the_default_is_the_sum_and_a_weighting_is_used() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    click, price = task_losses(model, batch())[0].tolist()
    assert combined(task_losses)(model, batch()).item() == torch.tensor([click, price]).sum().item()
    assert combined(task_losses, Fixed([0.0, 2.0]))(model, batch()).item() == 2 * price


def test_the_counts_reach_the_weighting() -> None:
    """An absent task drops out of the uncertainty weighting, its log sigma too."""
    torch.manual_seed(0)
    model, weighting = nn.Linear(4, 2), Uncertainty(TASKS).eval()
    x, y = batch()
    y = y.clone()
    y[:, 1] = torch.nan
    combined(task_losses, weighting)(model, (x, y)).backward()
    assert weighting.log_variance.grad is not None
    assert weighting.log_variance.grad[0] != 0
    assert weighting.log_variance.grad[1] == 0
