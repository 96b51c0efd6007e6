"""PR-AUC as average precision, and what each row contributes to its error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, label_vector, score_vector, weight_vector
from evaluation.ordering import ScoreOrder
from evaluation.slicing.sliced_order import rowwise, sliced_ap


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Average precision, the area under the precision-recall curve as a step function.

    AP = sum over score groups g, highest first, of (R_g - R_{g-1}) TP_g / N_g, with TP_g and N_g the weight of the
    positive rows and of all rows scored as high as group g or higher, and R_g = TP_g / P. Equal scores are one group,
    so the order of the rows never matters and constant scores give the base rate. Equal to scikit-learn's
    `average_precision_score` to 1e-12.

    Args:
        labels: `(N,)` 0 or 1.
        scores: `(N,)` higher is ranked first; any monotone map of them gives the same value.
        weights: `(N,)` >= 0; on a log whose negatives were sampled, 1 / keep_prob, else the value is far too high.

    Returns:
        The average precision; NaN when no positive row carries weight (it is undefined then, not 0).

    Raises:
        ValueError: labels other than 0 and 1, NaN scores, negative weights, lengths that differ.

    >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.8333333333333333
    >>> average_precision([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5])
    0.25
    """
    y = label_vector("labels", labels)
    w = weight_vector(weights, len(y))
    return ap_on_order(ScoreOrder.of(score_vector("scores", scores, len(y))), y, w)


def ap_influence(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, FloatArray]:
    """Average precision and its influence per row, w_j dAP/dw_j.

    dAP/dw_j = [y_j (prec_j - AP) + y_j A_j - B_j] / P with prec_j = TP_j / N_j at the end of row j's group,
    A_j = sum of w_i y_i / N_i and B_j = sum of w_i y_i TP_i / N_i^2 over the rows i scored as j or lower.

    Args:
        labels, scores, weights: As in `average_precision`.

    Returns:
        The value, and the influences `(N,)`, which sum to 0 (AP does not change when all weights are scaled);
        NaN throughout when no positive row carries weight.

    >>> value, influence = ap_influence([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    >>> influence[:3].round(4).tolist()
    [0.1389, -0.1111, -0.0278]
    """
    y = label_vector("labels", labels)
    w = weight_vector(weights, len(y))
    return rowwise(sliced_ap, y, score_vector("scores", scores, len(y)), w)


def ap_on_order(order: ScoreOrder, labels: FloatArray, weights: FloatArray) -> float:
    """`average_precision` of checked arrays whose order is known: without influences a bootstrap takes half as long."""
    true_positives = order.cumulative(weights * labels)
    retrieved = order.cumulative(weights)
    positives = true_positives[-1] if len(true_positives) else 0.0
    # groups above the first row with weight: nothing is retrieved yet, and nothing is gained there
    precision = np.divide(true_positives, retrieved, out=np.zeros_like(retrieved), where=retrieved > 0.0)
    return float(np.diff(true_positives, prepend=0.0) @ precision / positives) if positives > 0.0 else float("nan")
