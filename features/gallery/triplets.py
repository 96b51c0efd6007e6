"""Metric learning from attribute labels: vectors of galleries that share an attribute lie closer than others [Etsy].

L = max(0, d(a, p) - d(a, n) + margin) for an anchor a, a positive p with the anchor's class and a negative n without
it; d is the Euclidean distance of vectors scaled to length 1. Every attribute gives triplets of its own; the losses
are averaged over the attributes that have at least two classes (and one pair of a class) in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.errors import InputError
from multitask import Task

Mining = Literal["random", "semihard", "hard"]
TRIPLETS_PER_ANCHOR = 4  # of the random mining, per anchor and attribute


class TripletLoss(nn.Module):
    """Mean triplet loss over attributes, on triplets mined from the batch by pytorch-metric-learning.

    Parameters
    ----------
    mining : "random", "semihard" or "hard"
        Which triplets: random ones (4 per anchor); those that violate the margin although the negative is farther than
        the positive; per anchor the farthest positive with the nearest negative.
    margin : float
        In units of the distance, which is at most 2.

    Raises
    ------
    InputError
        The package is not installed.
    ValueError
        `mining` is unknown.

    Examples
    --------
    >>> loss = TripletLoss("hard", margin=0.2)
    >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(loss(vectors, torch.tensor([[0.0], [0.0], [1.0], [1.0]])).item(), 3)  # apart by sqrt 2: nothing to gain
    0.0
    >>> round(loss(vectors, torch.tensor([[0.0], [1.0], [0.0], [1.0]])).item(), 3)  # sqrt 2 - 0 + 0.2
    1.614
    """

    def __init__(self, mining: Mining = "random", margin: float = 0.2) -> None:
        super().__init__()
        if mining not in get_args(Mining):
            raise ValueError(f"`mining` must be one of {get_args(Mining)}, got {mining!r}")
        self.margin = margin
        losses, miners, reducers, distances = _packages()
        distance = distances.LpDistance(normalize_embeddings=True, p=2, power=1)
        per_anchor: int | str = TRIPLETS_PER_ANCHOR if mining == "random" else "all"
        # Averaged over the triplets that still violate the margin: else the many satisfied ones shrink the step.
        self._loss = losses.TripletMarginLoss(
            margin=margin, triplets_per_anchor=per_anchor, distance=distance, reducer=reducers.AvgNonZeroReducer()
        )
        self._miner: Callable[..., Any] | None = None
        if mining == "semihard":
            self._miner = miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=distance)
        elif mining == "hard":
            self._miner = miners.BatchHardMiner(distance=distance)

    def forward(self, vectors: Tensor, classes: Tensor) -> Tensor:
        """Vectors `(B, D)` and class numbers `(B, T)` float (NaN: missing, which takes no part) to a scalar.

        0 with a gradient of 0 where no attribute has a triplet.
        """
        with torch.autocast(vectors.device.type, enabled=False):  # distances of near vectors need more than 8 bits
            return self._mean(vectors.float(), classes)

    def _mean(self, vectors: Tensor, classes: Tensor) -> Tensor:
        total, used = vectors.sum() * 0.0, 0
        for column in classes.T:
            rows = torch.nonzero(~torch.isnan(column))[:, 0]
            labels = column[rows].long()
            counts = torch.unique(labels, return_counts=True)[1]
            if len(counts) < 2 or int(counts.max()) < 2:
                continue
            found = vectors[rows]
            mined = None if self._miner is None else self._miner(found, labels)
            total, used = total + self._loss(found, labels, mined), used + 1
        return total / max(used, 1)


@dataclass(frozen=True)
class FixedTriplets:
    """Random triplets drawn once, by which the epochs of a run are compared.

    `anchors`, `positives`, `negatives` are rows `(K,)` of the labels they were drawn from; `attributes` `(K,)` says
    whose triplet it is.
    """

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    attributes: np.ndarray

    @classmethod
    def draw(cls, classes: np.ndarray, per_attribute: int = 1024, seed: int = 0) -> FixedTriplets:
        """Draw up to `per_attribute` triplets for every attribute that has any.

        Parameters
        ----------
        classes : array `(n, T)`
            Class numbers, NaN where missing.

        Examples
        --------
        >>> triplets = FixedTriplets.draw(np.array([[0.0], [1.0], [1.0], [np.nan]]), per_attribute=50)
        >>> sorted(set(triplets.anchors.tolist())), set(triplets.negatives.tolist())
        ([1, 2], {0})
        """
        generator = np.random.default_rng(seed)
        drawn = [_draw(classes[:, t], per_attribute, generator) for t in range(classes.shape[1])]
        attributes = np.repeat(np.arange(len(drawn)), [len(part[0]) for part in drawn])
        anchors, positives, negatives = (
            np.concatenate([part[i] for part in drawn]) if drawn else np.zeros(0, np.int64) for i in range(3)
        )
        return cls(anchors, positives, negatives, attributes)

    def __len__(self) -> int:
        return len(self.anchors)

    def loss(self, vectors: Tensor, margin: float) -> float:
        """Mean over attributes of the mean loss of their triplets, for vectors `(n, D)`; NaN without triplets."""
        unit = F.normalize(vectors.double(), dim=1)
        a, p, n = (unit[torch.from_numpy(rows).to(unit.device)] for rows in self._rows())
        losses = torch.relu((a - p).norm(dim=1) - (a - n).norm(dim=1) + margin).cpu().numpy()
        counts = np.bincount(self.attributes)
        sums = np.bincount(self.attributes, weights=losses)
        return float((sums[counts > 0] / counts[counts > 0]).mean()) if len(self) else float("nan")

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.anchors, self.positives, self.negatives


def triplet_classes(tasks: Sequence[Task], labels: Tensor, train_rows: np.ndarray, bins: int = 5) -> Tensor:
    """Class numbers `(n, T)` of labels `(n, T)`, NaN where missing: regressions are cut at the training quintiles.

    Examples
    --------
    >>> labels = torch.arange(10.0)[:, None]
    >>> triplet_classes([Task("price", "regression")], labels, np.arange(10)).flatten().tolist()
    [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    """
    classes = labels.clone()
    for t, task in enumerate(tasks):
        if task.kind == "regression":
            values = labels[:, t].double().numpy()
            edges = np.nanquantile(values[train_rows], np.arange(1, bins) / bins)
            binned = np.searchsorted(edges, values, side="right").astype(np.float32)
            classes[:, t] = torch.from_numpy(np.where(np.isnan(values), np.float32(np.nan), binned))
    return classes


def _draw(labels: np.ndarray, most: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triplets of one attribute: in rows sorted by class, a class is a run and everything else is two runs."""
    rows = np.flatnonzero(~np.isnan(labels))
    rows = rows[np.argsort(labels[rows], kind="stable")]
    _, first, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    start, count = np.repeat(first, counts), np.repeat(counts, counts)  # of each row's class
    anchors = np.flatnonzero((count > 1) & (count < len(rows)))
    if not len(anchors):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    a = generator.choice(anchors, size=most)
    positive = start[a] + (a - start[a] + generator.integers(1, count[a])) % count[a]
    other = generator.integers(0, len(rows) - count[a])
    negative = np.where(other < start[a], other, other + count[a])
    return rows[a], rows[positive], rows[negative]


def _packages() -> tuple[Any, Any, Any, Any]:
    try:
        from pytorch_metric_learning import (
            distances,
            losses,
            miners,
            reducers,
        )
    except ImportError as error:
        raise InputError(
            "loss = \"triplet\" needs pytorch-metric-learning: pip install 'galleryrank[vision]'"
        ) from error
    return losses, miners, reducers, distances


__all__ = ["FixedTriplets", "Mining", "TripletLoss", "triplet_classes"]
