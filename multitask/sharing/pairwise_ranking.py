"""Learning to rank pairs of rows by graded attributes, and how well the order is met."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def pairwise_ranking_losses(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the ordered pairs of a batch of max(0, 1 - (f_i - f_j))^2, y_i > y_j, per task [Selective] eq. 7.

    Every pair of rows of the batch with different labels counts once. Computed in float32 or better; memory is that of
    `(B, B, T)` numbers, 40 KB for 32 rows and ten tasks.

    Args:
        scores: f, `(B, T)`.
        labels: y, `(B, T)`; NaN = missing, and the row is in no pair of that task.

    Returns:
        `(T,)` losses, 0 for a task without a pair, and `(T,)` numbers of pairs.

    Raises:
        ValueError: if the shapes differ.

    >>> scores, labels = torch.tensor([[0.5], [0.0], [9.0]]), torch.tensor([[3.0], [1.0], [float("nan")]])
    >>> losses, counts = pairwise_ranking_losses(scores, labels)
    >>> losses.tolist(), counts.tolist()
    ([0.25], [1.0])
    """
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"`scores` and `labels` must both have shape (B, T), got {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    f = scores if scores.dtype == torch.float64 else scores.float()
    above = labels[:, None] > labels[None, :]  # (B, B, T); False with NaN
    hinge = torch.relu(1 - (f[:, None] - f[None, :])).square()
    counts = above.sum((0, 1)).to(f.dtype)
    return torch.where(above, hinge, 0).sum((0, 1)) / counts.clamp(min=1), counts


def kendall_tau(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Kendall's tau-b between scores and labels per task, by scipy: -1 to 1, ties corrected.

    Args:
        scores, labels: `(N, T)`; rows without a label (NaN) are left out.

    Returns:
        `(T,)`; NaN where scores or labels are constant, or fewer than two rows are left.

    >>> kendall_tau([[0.1], [0.2], [0.3]], [[1.0], [3.0], [2.0]]).round(3).tolist()
    [0.333]
    """
    from scipy.stats import kendalltau

    f, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if f.ndim != 2 or f.shape != y.shape:
        raise ValueError(f"`scores` and `labels` must both have shape (N, T), got {f.shape} and {y.shape}")
    taus = np.full(f.shape[1], np.nan)
    for t in range(f.shape[1]):
        known = ~np.isnan(y[:, t])
        if known.sum() > 1:
            taus[t] = kendalltau(f[known, t], y[known, t]).statistic
    return taus
