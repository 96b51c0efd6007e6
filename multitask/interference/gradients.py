"""Inner products of the tasks' gradients on the weights that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


def shared_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters outside every module that is marked `task_specific = True`.

    Towers, modulation layers and branches carry the mark. A plain output layer of one row per task does not: it adds
    nothing to the inner product of two tasks, but to the norms of both.

    >>> heads = nn.Linear(3, 2)
    >>> heads.task_specific = True
    >>> [tuple(p.shape) for p in shared_parameters(nn.Sequential(nn.Linear(4, 3), heads))]
    [(3, 4), (3,)]
    """
    marked = (module for module in model.modules() if getattr(module, "task_specific", False))
    own = {id(parameter) for module in marked for parameter in module.parameters()}
    return [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in own]


def gradient_gram(losses: Tensor, parameters: Iterable[Tensor], counts: Tensor | None = None) -> Tensor:
    """The Gram matrix <g_t, g_t'> of the tasks' gradients g_t = dL_t / d theta; its signs are A of [Modulation] eq. 2.

    One backward pass per task over the graph that is there, which stays usable; no parameter's `.grad` is touched.
    Holds T gradients at once: T * P numbers for P parameters, and one parameter's T gradients again in float64.
    Hooks on tensors of the graph are called in each of these passes, as torch cannot do without them.

    Args:
        losses: `(T,)`, one graph with `parameters`.
        parameters: theta; one that a task does not reach counts as zeros.
        counts: `(T,)` of the batch; a task with 0 is absent: its gradient is zeros, and costs no backward pass.

    Returns:
        `(T, T)` in float64, exactly symmetric.

    Raises:
        ValueError: if there are no parameters, a shape does not fit, or the losses have no graph.

    >>> w = torch.ones(2, requires_grad=True)
    >>> gradient_gram(torch.stack([3 * w[0], w.sum(), -w[1]]), [w]).tolist()
    [[9.0, 3.0, 0.0], [3.0, 2.0, -1.0], [0.0, -1.0, 1.0]]
    """
    theta = list(parameters)
    if not theta:
        raise ValueError("`parameters` must hold at least one trainable parameter, got none")
    if losses.ndim != 1:
        raise ValueError(f"`losses` must have shape (T,), got {tuple(losses.shape)}")
    if counts is not None and counts.shape != losses.shape:
        raise ValueError(f"`counts` must have shape {tuple(losses.shape)}, got {tuple(counts.shape)}")
    if not losses.requires_grad:
        raise ValueError("`losses` must depend on weights with gradients switched on, got a constant")
    tasks = list(range(len(losses))) if counts is None else torch.nonzero(counts).flatten().tolist()
    units = torch.eye(len(losses), dtype=losses.dtype, device=losses.device)
    # The engine keeps the caller's autocast: it would round the backward products of what ran in float32 to bf16.
    with torch.autocast(losses.device.type, enabled=False):
        gradients = [
            torch.autograd.grad(losses, theta, grad_outputs=units[t], retain_graph=True, allow_unused=True)
            for t in tasks
        ]
    return inner_products(dict(zip(tasks, gradients, strict=True)), theta, len(losses))


def inner_products(
    gradients: Mapping[int, Sequence[Tensor | None]], parameters: Sequence[Tensor], n_tasks: int
) -> Tensor:
    """`(T, T)` <g_t, g_t'> in float64 from each task's gradients on the parameters; what is absent counts as zeros.

    Args:
        gradients: by task number, one per parameter (None: not reached), as `torch.autograd.grad` gives them.
        parameters: theta, at least one.
        n_tasks: T.
    """
    device = parameters[0].device
    gram = torch.zeros(n_tasks, n_tasks, dtype=torch.float64, device=device)
    for i, parameter in enumerate(parameters):
        rows = gram.new_zeros(n_tasks, parameter.numel())  # (T, P_i)
        for t, of_task in gradients.items():
            gradient = of_task[i]
            if gradient is not None:
                rows[t] = gradient.flatten()
        gram += rows @ rows.T
    return (gram + gram.T) / 2
