"""What a network is trained on: encoded inputs with the labels and loss weights of every node, gathered by index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from features import EncodedLog, Inputs
from ranking.heads import HeadTree
from ranking.importance import importance_rows


@dataclass(frozen=True)
class TrainingRows:
    """N rows, columnar, on one device: `labels` (N, K) float32 with NaN = missing, `weights` (N, K) or None."""

    inputs: Inputs
    labels: Tensor
    weights: Tensor | None

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, index: Tensor) -> TrainingRows:
        """Rows by `(B,)` int64 index."""
        weights = None if self.weights is None else self.weights.index_select(0, index)
        return TrainingRows(self.inputs.select(index), self.labels.index_select(0, index), weights)

    def to(self, device: torch.device | str) -> TrainingRows:
        """The same rows on `device`: the whole data set stays there."""
        weights = None if self.weights is None else self.weights.to(device)
        return TrainingRows(self.inputs.to(device), self.labels.to(device), weights)


def multi_head_rows(log: EncodedLog, tree: HeadTree, negative_rate: float | np.ndarray) -> TrainingRows:
    """Rows for the heads of `tree`: node labels, and the loss weights that its correction asks for."""
    labels, protected = log.labels.numpy(), log.protected.numpy()
    weights = tree.node_weights(labels, protected, log.keep_prob.numpy(), negative_rate)
    return TrainingRows(
        log.inputs,
        torch.from_numpy(tree.node_labels(labels, protected)),
        None if weights is None else torch.from_numpy(weights.astype(np.float32)),
    )


def importance_training_rows(log: EncodedLog, heads: list[int], importance: np.ndarray, expand: bool) -> TrainingRows:
    """Rows for the single head of eq. 1 [Pinterest 2020]: one binary label, weighted by the engagement's importance.

    `heads` are the columns of the labels that count as engagement, `importance` their weights.
    """
    index, label, weight = importance_rows(log.labels.numpy()[:, heads], importance, expand=expand)
    return TrainingRows(
        log.inputs.select(torch.from_numpy(index)),
        torch.from_numpy(label.astype(np.float32))[:, None],
        torch.from_numpy(weight.astype(np.float32))[:, None],
    )
