"""Fitting a ranking network on the project's one training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features import Encoders, Inputs
from multitask import ShuffledBatches, Task, default_device, fit, make_weighting, masked_losses
from multitask.base_losses import base_losses, watch_relative
from multitask.sharing.branches import Branches
from multitask.sharing.record import groups_text, sharing_record
from multitask.sharing.selective_sharing import SelectiveSharing
from multitask.task_losses import TaskLosses
from ranking.config import RankerConfig
from ranking.network import RankingNetwork, item_vectors
from ranking.scorer import NetworkScorer
from ranking.training_rows import TrainingRows

VALIDATION_LOSS = "validation_loss"


class _Trainable(nn.Module):
    """The network with its loss weighting, whose parameters are learned along with it."""

    def __init__(self, network: RankingNetwork, weighting: nn.Module) -> None:
        super().__init__()
        self.network, self.weighting = network, weighting

    def forward(self, inputs: Inputs) -> Tensor:
        return self.network(inputs)


def build_network(
    encoders: Encoders, config: RankerConfig, n_nodes: int, device: torch.device | str = "cpu"
) -> RankingNetwork:
    """A freshly initialised network for `n_nodes` outputs, seeded by the training seed."""
    with torch.random.fork_rng(devices=[]):  # the caller's own random state stays as it was
        torch.manual_seed(config.training.seed)
        network = RankingNetwork(encoders, config.network, n_nodes, item_vectors(encoders))
        network.set_vector_scale()
        return network.to(device)


def fit_network(
    encoders: Encoders,
    rows: TrainingRows,
    nodes: Sequence[str],
    config: RankerConfig,
    validation: Inputs,
    validation_loss: Callable[[np.ndarray], float],
    *,
    checkpoint: Path | None,
    progress: bool | None,
    device: str | None,
    log: Callable[[str], None] = lambda _: None,
) -> tuple[NetworkScorer, dict[str, Any]]:
    """Train until the validation loss stops falling; returns the best epoch's (averaged) network and the history.

    With `config.network.sharing` the history has "sharing" too: the groups of heads and how they came about.

    `validation_loss` maps the node logits (N, K) of the `validation` rows to the number that training stops on.
    """
    where = default_device() if device is None else torch.device(device)
    network = build_network(encoders, config, len(nodes), where)
    labels = rows.labels.double().numpy()
    mass = np.where(np.isnan(labels), 0.0, 1.0 if rows.weights is None else rows.weights.double().numpy())
    total = mass.sum(0)
    network.set_base_rates(np.where(total > 0, (mass * np.nan_to_num(labels)).sum(0) / np.maximum(total, 1e-12), 0.5))
    # A conditional node is observed on few rows of a batch. Scaled by that share, the losses add up to the joint log
    # likelihood; unscaled, a node seen on 3 % of the rows would shake the shared layers as much as one seen on all.
    share = torch.as_tensor(total / total.max(), dtype=torch.float32, device=where)
    tasks = [Task(node) for node in nodes]
    weights = [config.task_weights.get(node, 1.0) for node in nodes] if config.task_weighting == "fixed" else None
    weighting = make_weighting(config.task_weighting, tasks, weights).to(where)

    def node_losses(model: nn.Module, batch: TrainingRows) -> tuple[Tensor, Tensor]:
        return masked_losses(tasks, model(batch.inputs), batch.labels, batch.weights)

    sharing: SelectiveSharing | None = None
    losses_of: TaskLosses[TrainingRows] = node_losses
    directive = config.network.sharing
    if directive != "none" and isinstance(network.towers, Branches):
        sharing = SelectiveSharing(network.towers, nodes, directive=directive, seed=config.training.seed)
        losses_of = watch_relative(sharing.watch, node_losses, base_losses(tasks, network.towers.output_bias))

    def loss(model: nn.Module, batch: TrainingRows) -> Tensor:
        losses, counts = losses_of(model, batch)
        total: Tensor = weighting(losses * share, counts)
        return total

    def validate(model: nn.Module) -> Mapping[str, float]:
        logits = NetworkScorer(network).logits(validation)
        # A diverged network is the training loop's to report, with epoch, step and learning rate.
        return {VALIDATION_LOSS: validation_loss(logits) if np.isfinite(logits).all() else float("nan")}

    batches = ShuffledBatches.of(rows.to(where), config.training, device=where)
    history = fit(
        _Trainable(network, weighting),
        loss,
        batches,
        config.training,
        validate=validate,
        checkpoint=checkpoint,
        progress=progress,
        device=where,
        observers=[] if sharing is None else [sharing],
    )
    found = history.to_dict()
    if sharing is not None:
        found["sharing"] = sharing_record(sharing)
        log(f"hidden layers of the heads: {groups_text(found['sharing']['groups'])}")
    return NetworkScorer(network.to("cpu")), found
