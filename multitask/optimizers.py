"""The optimiser of a model's parameters: groups, weight decay, the learning rate of each step."""

from __future__ import annotations

from math import cos, isfinite, pi
from typing import Any

import torch
from torch import nn

from multitask.config import TrainingConfig


def parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """The optimiser's groups: decayed, embedding tables, not decayed; each once per learning rate.

    A model that defines `parameter_groups(config)` decides itself (each a dict with "params" and, as it likes, "lr"
    and "weight_decay"). Otherwise matrices are decayed by `config.weight_decay`, embedding tables by
    `config.embedding_weight_decay`, and vectors (biases, norms) not at all: a decayed output bias is a wrong mean
    rate. A module's own `no_weight_decay` (names, or a method that returns them) names further parameters of it that
    are not decayed.

    A module with an attribute `learning_rate_factor` has its parameters, those of its sub-modules too, trained at
    that many times the base rate; the innermost factor counts (not multiplied with those around it).

    Raises:
        ValueError: if the model's own groups leave a trainable parameter out or hold one twice, or a
            `learning_rate_factor` is not a positive number.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not named:
        raise ValueError("`model` must have at least one trainable parameter, got none")
    own = getattr(model, "parameter_groups", None)
    if own is not None:
        groups = [dict(group, params=list(group["params"])) for group in own(config)]
        held = [id(parameter) for group in groups for parameter in group["params"]]
        missing = [name for name, parameter in named.items() if id(parameter) not in held]
        if missing or len(held) != len(set(held)):
            raise ValueError(f"`model.parameter_groups` must hold each parameter once, got {missing} left out")
        return groups
    undecayed = {id(parameter) for parameter in named.values() if parameter.ndim < 2}
    tables: set[int] = set()
    for module in model.modules():
        exempt = getattr(module, "no_weight_decay", ())
        names = exempt() if callable(exempt) else exempt  # a method on timm's networks
        undecayed |= {id(getattr(module, name, None)) for name in names}
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            tables.add(id(module.weight))
    table_decay = config.weight_decay if config.embedding_weight_decay is None else config.embedding_weight_decay
    factors = _rate_factors(model)
    # By decay and factor. The first three in this order, whatever comes first in the model: a checkpoint numbers the
    # parameters by it.
    split: dict[tuple[float, float], list[nn.Parameter]] = {
        (decay, 1.0): [] for decay in (config.weight_decay, table_decay, 0.0)
    }
    for parameter in named.values():
        decay = table_decay if id(parameter) in tables else config.weight_decay
        key = 0.0 if id(parameter) in undecayed else decay, factors[id(parameter)]
        split.setdefault(key, []).append(parameter)
    return [
        {"params": group, "weight_decay": decay, "lr": factor * config.learning_rate}
        for (decay, factor), group in split.items()
        if group
    ]


def _rate_factors(model: nn.Module) -> dict[int, float]:
    """Each parameter's `learning_rate_factor`, by the parameter's id."""
    factors: dict[int, float] = {}

    def visit(module: nn.Module, factor: float) -> None:
        own = getattr(module, "learning_rate_factor", None)
        if own is not None:
            if not (isfinite(own) and own > 0):
                raise ValueError(
                    f"`learning_rate_factor` of {type(module).__name__} must be above 0 and finite, got {own}"
                )
            factor = own
        for child in module.children():  # first: a parameter that an outer module also names is the inner one's
            visit(child, factor)
        for parameter in module.parameters(recurse=False):
            factors.setdefault(id(parameter), factor)

    visit(model, 1.0)
    return factors


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimiser that `config.optimizer` names; fused (one kernel per group) where every parameter allows it."""
    groups = parameter_groups(model, config)
    for group in groups:
        group["base_lr"] = group.setdefault("lr", config.learning_rate)
    parameters = [parameter for group in groups for parameter in group["params"]]
    devices = ("cpu",) if config.optimizer == "adagrad" else ("cpu", "cuda")  # torch fuses Adagrad on the CPU alone
    fused = all(p.device.type in devices and p.is_floating_point() for p in parameters)
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adagrad":
        start = 0.1 if config.accumulator is None else config.accumulator
        return torch.optim.Adagrad(
            groups, lr=rate, weight_decay=decay, initial_accumulator_value=start, fused=fused or None
        )
    if config.optimizer == "sgd":
        sgd = torch.optim.SGD(groups, lr=rate, weight_decay=decay, momentum=config.momentum, fused=fused)
        if config.momentum:
            # The fused kernel wants a buffer for every parameter or for none, and a parameter may have its first
            # gradient later than the others. Buffers of zeros give the same first step as no buffers.
            for parameter in parameters:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, weight_decay=decay, fused=fused)


def rate_factor(config: TrainingConfig, step: int, total_steps: int) -> float:
    """What the base learning rates are multiplied by at `step` (from 0) of `total_steps`.

    Linear over the first `warmup_steps`, then 1 (constant) or (1 + cos(pi * share of the rest)) / 2 (cosine). A pure
    function of the step, so that a resumed run needs no scheduler state.

    >>> config = TrainingConfig(schedule="cosine", warmup_steps=10)
    >>> [round(rate_factor(config, step, 110), 3) for step in (0, 9, 10, 60, 109)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    share = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return (1 + cos(pi * share)) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's learning rate to `factor` times its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
