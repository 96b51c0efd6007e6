"""Area under the ROC curve, weighted, equal scores counted one half, and its influence per row."""

from __future__ import annotations

import numpy.typing as npt

from evaluation.checks import FloatArray, label_vector, score_vector, weight_vector
from evaluation.slicing.sliced_order import rowwise, sliced_auc


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """The chance that a positive row is scored above a negative one, equal scores counting one half.

    AUC = sum over positive i and negative j of w_i w_j (1[s_i > s_j] + 1[s_i = s_j] / 2) / (W_1 W_0).

    Args:
        labels: `(N,)` 0 or 1.
        scores: `(N,)` higher is ranked first.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.

    Returns:
        The AUC; NaN when the positive or the negative rows carry no weight.

    Raises:
        ValueError: labels other than 0 and 1, NaN scores, negative weights, lengths that differ.

    >>> auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.75
    """
    return auc_influence(labels, scores, weights)[0]


def auc_influence(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, FloatArray]:
    """AUC and its influence per row, w_j dAUC/dw_j.

    A positive row's is w_i (share of negative weight below it - AUC) / W_1, a negative row's
    w_j (share of positive weight above it - AUC) / W_0, equal scores counting one half.

    Returns:
        The value, and the influences `(N,)`, which sum to 0; NaN throughout where AUC is undefined.

    >>> value, influence = auc_influence([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    >>> influence.tolist()
    [0.125, -0.125, -0.125, 0.125]
    """
    y = label_vector("labels", labels)
    w = weight_vector(weights, len(y))
    return rowwise(sliced_auc, y, score_vector("scores", scores, len(y)), w)
