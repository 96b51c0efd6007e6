"""The refits of a ranker: one two-parameter map per node, for each of the two ways in which position can be given.

Scoring sets the position to the schema's serving value on every row; evaluation may also use the logged position. The
two predict different things (the average over the log's positions, or at this position), so each has refits of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features import EncodedLog
from ranking.heads import NO_PARENT, HeadTree
from ranking.log_space import logit_from_log
from ranking.refit import AffineRefit


@dataclass(frozen=True)
class Calibration:
    """Refits per node (T + 1), at the serving position and at the logged position."""

    serving: tuple[AffineRefit, ...]
    logged: tuple[AffineRefit, ...]

    def refits(self, logged_position: bool) -> tuple[AffineRefit, ...]:
        """The refits that belong to the given treatment of the position."""
        return self.logged if logged_position else self.serving

    def to_dict(self, nodes: tuple[str, ...]) -> dict[str, Any]:
        """JSON-able, keyed by node name."""
        return {
            name: {node: r.to_dict() for node, r in zip(nodes, refits)}
            for name, refits in (("serving", self.serving), ("logged", self.logged))
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], nodes: tuple[str, ...]) -> Calibration:
        """Inverse of `to_dict`."""
        serving, logged = (tuple(AffineRefit.from_dict(data[k][n]) for n in nodes) for k in ("serving", "logged"))
        return cls(serving, logged)


def fit_refits(
    tree: HeadTree, z: np.ndarray, negative_rate: float | np.ndarray, log: EncodedLog
) -> tuple[AffineRefit, ...]:
    """Refit every node on held-out rows weighted by 1 / pi [methods 1.2]: closed form first, then the affine map.

    `z` (N, T + 1) node logits of the N rows of `log`. A child is refitted on the rows where its parent happened, so the
    product keeps the declared implications. Standard errors are clustered by request.
    """
    corrected = tree.log_probabilities(z, negative_rate, "corrected")
    node_labels = tree.node_labels(log.labels.numpy(), log.protected.numpy())
    weights, requests = 1.0 / log.keep_prob.numpy(), log.requests.numpy()
    refits = []
    for node, parent in enumerate(tree.parents):
        own = corrected[:, node] - (corrected[:, parent] if parent != NO_PARENT else 0.0)
        refits.append(AffineRefit.fit(logit_from_log(own), node_labels[:, node], weights, groups=requests))
    return tuple(refits)
