"""IPS: engagements of the placements that log and new ranking share, each divided by its propensity."""

from __future__ import annotations

import numpy as np

from evaluation.checks import FloatArray
from evaluation.counterfactual.doubly_robust import doubly_robust
from evaluation.counterfactual.reranking import Reranking
from evaluation.counterfactual.valued import Valued

__all__ = ["inverse_propensity"]


def inverse_propensity(reranking: Reranking, labels: FloatArray, clip: float = 0.0) -> Valued:
    """Inverse propensity scoring in the item-position model.

    [Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay, Wen 2018, "Offline evaluation of ranking policies with click
    models"], the item-position estimator: an engagement depends on the item and its position, not on its neighbours,
    so that the probability of the whole order is not needed, only p_i, that of the item at its position:

        V = 1/R sum_r sum_i 1[new_i = logged_i] y_i / p_i

    Unbiased where every placement of the new ranking had p > 0 and the new order does not depend on the logged one.
    Clipped, or where placements were never shown, it counts them as nothing: the weights then add up to less than the
    places. The difference to the self-normalised estimate measures that, and its square is added to the variance.

    Args:
        reranking: N rows of R requests.
        labels: `(N,)` 0 or 1, without missing ones.
        clip: The smallest propensity that is divided by.

    >>> two = Reranking.of([1, 0, 0, 1], list("abab"), [1, 1, 2, 2], [1, 2, 1, 2], [0.5] * 4)
    >>> inverse_propensity(two, np.array([1.0, 0.0, 1.0, 1.0])).value
    1.0
    """
    return doubly_robust(reranking, labels, np.zeros(len(labels)), clip)  # of which it is the case of a model of 0
