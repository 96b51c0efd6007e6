"""The gradients of a trained model, on fresh batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from multitask.interference.gradients import gradient_gram, shared_parameters
from multitask.interference.summary import Interference
from multitask.task_losses import TaskLosses


def diagnostic(
    model: nn.Module,
    task_losses: TaskLosses,
    batches: Iterable[Any],
    parameters: Sequence[nn.Parameter] | None = None,
    *,
    task_names: Sequence[str] | None = None,
) -> Interference:
    """The interference of a model as it is now: Update Compliance Ratio and conflict index without training's noise.

    A minibatch of training holds few rows per task, and batch statistics mix the tasks' rows, so its inner products
    are mostly noise. Here the model is in evaluation mode (running statistics, no dropout) and the batches can be
    large: ten fresh ones of 64 triplets per task give stable signs.

    The model is left as it was: the training flags of every module, running statistics, `.grad`, and the random state.

    Args:
        model: on the batches' device.
        task_losses: `(model, batch) -> (T,) losses, (T,) counts`.
        batches: K batches, each with rows of all the tasks; unseen in training.
        parameters: where the gradients are compared; None = `shared_parameters(model)`.
        task_names: T names; None = "0", "1", ...

    Raises:
        ValueError: if there is no batch, no parameter, or not one name per loss.

    >>> model = nn.Linear(2, 1)
    >>> def task_losses(model, x):
    ...     y = model(x)
    ...     return torch.stack([y.sum(), -2 * y.sum()]), torch.tensor([len(x), len(x)])
    >>> found = diagnostic(model, task_losses, [torch.ones(4, 2), torch.zeros(4, 2)])
    >>> found.compliance.tolist(), round(found.conflict, 2)
    ([[1.0, 0.0], [0.0, 1.0]], 0.8)
    """
    theta = shared_parameters(model) if parameters is None else parameters
    training = {module: module.training for module in model.modules()}
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    grams = []
    model.eval()
    try:
        with torch.random.fork_rng(devices), torch.enable_grad():
            for batch in batches:
                losses, counts = task_losses(model, batch)
                grams.append(gradient_gram(losses, theta, counts).cpu())
    finally:
        for module, flag in training.items():
            module.training = flag
    if not grams:
        raise ValueError("`batches` must hold at least one batch, got none")
    names = range(len(grams[0])) if task_names is None else task_names
    return Interference(tuple(str(name) for name in names), torch.stack(grams))
