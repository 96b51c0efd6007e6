"""The gradients of a trained model, on fresh batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from multitask.interference.gradients import gradient_gram, inner_products, shared_parameters
from multitask.interference.summary import Interference
from multitask.task_losses import TaskLosses


def diagnostic(
    model: nn.Module,
    task_losses: TaskLosses,
    batches: Iterable[Any],
    parameters: Sequence[nn.Parameter] | None = None,
    *,
    task_names: Sequence[str] | None = None,
    per_task: bool = False,
) -> Interference:
    """The interference of a model as it is now: Update Compliance Ratio and conflict index without training's noise.

    A minibatch of training holds few rows per task, and batch statistics mix the tasks' rows, so its inner products
    are mostly noise. Here the model is in evaluation mode (running statistics, no dropout) and the batches can be
    large: ten fresh ones of 64 triplets per task give stable signs.

    The model is left as it was: the training flags of every module, running statistics, `.grad`, and the random state.

    Args:
        model: on the batches' device.
        task_losses: `(model, batch) -> (T,) losses, (T,) counts`.
        batches: K batches, each with rows of all the tasks; unseen in training. With `per_task` K sequences of T
            batches, the t-th for task t.
        parameters: where the gradients are compared; None = `shared_parameters(model)`.
        task_names: T names; None = "0", "1", ...
        per_task: where rows belong to one task each, their batches apart give the same gradients, as in evaluation mode
            no row sees another, and a task's backward pass goes through its own rows only instead of those of all
            tasks: about T times fewer. Where all tasks read the same rows, the common batch is cheaper.

    Raises:
        ValueError: if there is no batch, no parameter, not one name per loss, or with `per_task` not one batch.

    >>> model = nn.Linear(2, 1)
    >>> def task_losses(model, x):
    ...     y = model(x)
    ...     return torch.stack([y.sum(), -2 * y.sum()]), torch.tensor([len(x), len(x)])
    >>> found = diagnostic(model, task_losses, [torch.ones(4, 2), torch.zeros(4, 2)])
    >>> found.compliance.tolist(), round(found.conflict, 2)
    ([[1.0, 0.0], [0.0, 1.0]], 0.8)
    """
    theta = list(shared_parameters(model) if parameters is None else parameters)
    training = {module: module.training for module in model.modules()}
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    gram_of, grams = _gram_apart if per_task else _gram, []
    model.eval()
    try:
        with torch.random.fork_rng(devices), torch.enable_grad():
            for batch in batches:
                grams.append(gram_of(model, task_losses, batch, theta).cpu())
    finally:
        for module, flag in training.items():
            module.training = flag
    if not grams:
        raise ValueError("`batches` must hold at least one batch, got none")
    names = range(len(grams[0])) if task_names is None else task_names
    return Interference(tuple(str(name) for name in names), torch.stack(grams))


def _gram(model: nn.Module, task_losses: TaskLosses, batch: Any, theta: Sequence[Tensor]) -> Tensor:
    losses, counts = task_losses(model, batch)
    return gradient_gram(losses, theta, counts)


def _gram_apart(model: nn.Module, task_losses: TaskLosses, batches: Sequence[Any], theta: Sequence[Tensor]) -> Tensor:
    """`(T, T)`, every task's gradient from a batch of its own."""
    if not theta:
        raise ValueError("`parameters` must hold at least one trainable parameter, got none")
    gradients = {}
    for t, batch in enumerate(batches):
        losses, counts = task_losses(model, batch)
        if len(losses) != len(batches):
            raise ValueError(f"`batches` must hold one batch per task ({len(losses)}), got {len(batches)}")
        if counts[t] > 0:
            with torch.autocast(losses.device.type, enabled=False):  # as in `gradient_gram`
                gradients[t] = torch.autograd.grad(losses[t], theta, allow_unused=True)
    return inner_products(gradients, theta, len(batches))
