"""The tree of heads: what each output of a ranker is a probability *of*, and what it is conditional on.

A ranker with T heads has T + 1 nodes: the heads in the schema's order and, last, the `any` event that protects a row
from being dropped when negatives are sampled. A node without a parent models its probability directly; a node with a
parent models P(node | parent), so that the product never exceeds the parent's probability:

    log p_child = log p_parent + logsigmoid(z_child)

Declared implications (long_click implies click) make parents. In the factored correction [methods 1.2, mode 2] every
other head becomes a child of `any`. A child is learned and refitted on rows where its parent happened.

Notation: z (N, T + 1) node logits, q probabilities under the sampled log, p true probabilities, alpha negative rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from ranking.correction import (
    correct_single_head,
    headwise_weights,
    inverse_propensity_weights,
    row_sampling_log_factor,
)
from ranking.log_space import log_sigmoid, logit_from_log

Correction = Literal["any_head", "factored", "headwise", "inverse_propensity", "single_head"]
Stage = Literal["sampled", "naive", "corrected", "calibrated"]
STAGES: tuple[Stage, ...] = ("sampled", "naive", "corrected", "calibrated")
ANY = "any"

NO_PARENT = -1


class Refit(Protocol):
    """What turns the logits (N,) of a node into calibrated ones, such as `ranking.refit.AffineRefit`."""

    def apply(self, logits: Any) -> Any: ...


@dataclass(frozen=True)
class HeadTree:
    """Heads in order, the parent of each node and the way in which row sampling is corrected.

    `parents` has T + 1 entries: the index of the parent node or -1; the last entry belongs to `any`.

    >>> tree = HeadTree.build(["click", "long_click"], {"long_click": "click"}, "any_head")
    >>> tree.parents
    (-1, 0, -1)
    >>> HeadTree.build(["click", "long_click"], {"long_click": "click"}, "factored").parents
    (2, 0, -1)
    """

    heads: tuple[str, ...]
    parents: tuple[int, ...]
    correction: Correction

    @classmethod
    def build(cls, heads: Sequence[str], implied_by: Mapping[str, str | None], correction: Correction) -> HeadTree:
        """Make the tree from each head's parent (None or absent: no parent)."""
        root = len(heads) if correction == "factored" else NO_PARENT
        parents = [root if (p := implied_by.get(h)) is None else heads.index(p) for h in heads]
        return cls(tuple(heads), (*parents, NO_PARENT), correction)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the T + 1 nodes."""
        return (*self.heads, ANY)

    @property
    def order(self) -> list[int]:
        """Node indices with every parent before its children."""
        depth = {NO_PARENT: -1}

        def depth_of(node: int) -> int:
            if node not in depth:
                depth[node] = depth_of(self.parents[node]) + 1
            return depth[node]

        return sorted(range(len(self.parents)), key=depth_of)

    def node_labels(self, labels: np.ndarray, protected: np.ndarray) -> np.ndarray:
        """Labels of the nodes, (N, T + 1) float32: a child's label is NaN (missing) where its parent did not happen.

        `labels` (N, T) 0, 1 or NaN; `protected` (N,) 0, 1 or NaN, the any event.
        """
        full = np.concatenate([labels, protected[:, None]], axis=1).astype(np.float32)  # (N, T + 1)
        out = full.copy()
        for node, parent in enumerate(self.parents):
            if parent != NO_PARENT:
                out[full[:, parent] != 1.0, node] = np.nan
        return out

    def node_weights(
        self, labels: np.ndarray, protected: np.ndarray, keep_prob: np.ndarray, negative_rate: float | np.ndarray
    ) -> np.ndarray | None:
        """Loss weights (N, T + 1) that the correction's mode asks for; None where every row counts alike.

        A node that is conditional on another event needs none: the sampling leaves it untouched.
        """
        if self.correction == "inverse_propensity":
            return np.repeat(inverse_propensity_weights(keep_prob)[:, None], len(self.parents), axis=1)
        if self.correction != "headwise":
            return None
        weights = np.ones((len(labels), len(self.parents)))
        # Where the any event is unknown nothing was dropped (EncodedLog.protected), so no weight is due.
        known = np.where(np.isnan(protected), 1.0, protected)
        weights[:, :-1] = headwise_weights(labels, known, negative_rate)
        weights[:, [parent != NO_PARENT for parent in self.parents]] = 1.0
        return weights

    def log_probabilities(
        self,
        z: np.ndarray,
        negative_rate: float | np.ndarray,
        stage: Stage = "corrected",
        refits: Sequence[Refit] | None = None,
    ) -> np.ndarray:
        """Log probabilities of the nodes, (N, T + 1) float64, at a stage of the pipeline.

        - `sampled`: as learned, probabilities under the sampled log;
        - `naive`: the textbook formula on each head by itself, logit p = logit q + log alpha [Dal Pozzolo 2015];
        - `corrected`: the exact correction of this tree's mode;
        - `calibrated`: corrected, then each node's refit (`refits`, one per node).

        A child's refit acts on its conditional logit, so that a declared implication still cannot be violated.
        """
        z = np.asarray(z, dtype=np.float64)
        if self.correction == "inverse_propensity":
            negative_rate = 1.0  # the weights 1 / pi made the network learn p itself: nothing is left to correct
        if z.ndim != 2 or z.shape[1] != len(self.parents):
            raise ValueError(f"`z` must have shape (N, {len(self.parents)}), got {z.shape}")
        if stage == "naive":
            sampled = self._chain(log_sigmoid(z))
            return correct_single_head(logit_from_log(sampled), negative_rate)
        own = log_sigmoid(z)  # (N, T + 1), each node given its parent
        if stage != "sampled":
            own = self._correct(z, own, negative_rate)
        if stage == "calibrated":
            if refits is None:
                raise ValueError('stage "calibrated" needs `refits`: the ranker was not refitted on calibrate rows')
            own = np.column_stack([log_sigmoid(r.apply(logit_from_log(own[:, j]))) for j, r in enumerate(refits)])
        return self._chain(own)

    def _correct(self, z: np.ndarray, own: np.ndarray, negative_rate: float | np.ndarray) -> np.ndarray:
        """Undo the sampling on nodes without a parent; P(node | parent) is untouched by it [methods 1.2]."""
        factor = row_sampling_log_factor(z[:, -1], negative_rate)  # (N,)
        out = own.copy()
        for node, parent in enumerate(self.parents):
            if parent != NO_PARENT:
                continue
            if node == len(self.heads) or self.correction in ("headwise", "single_head"):
                out[:, node] = correct_single_head(z[:, node], negative_rate)
            else:
                out[:, node] = own[:, node] + factor
        return out

    def _chain(self, own: np.ndarray) -> np.ndarray:
        """Multiply every node by its ancestors."""
        out = own.copy()
        for node in self.order:
            if self.parents[node] != NO_PARENT:
                out[:, node] += out[:, self.parents[node]]
        return out
