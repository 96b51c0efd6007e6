"""DR: a model's prediction for the new ranking, corrected by what the log says where both agree on a placement."""

from __future__ import annotations

from evaluation.checks import FloatArray
from evaluation.counterfactual.reranking import Reranking
from evaluation.counterfactual.self_normalised import matched_means
from evaluation.counterfactual.valued import Valued
from evaluation.counterfactual.weights import match_weights

__all__ = ["doubly_robust"]


def doubly_robust(reranking: Reranking, labels: FloatArray, model: FloatArray, clip: float = 0.0) -> Valued:
    """The doubly robust estimator [Dudik, Langford, Li 2011, eq. 2] in the item-position model.

        V = 1/R sum_r sum_i q(i, new_i) + 1[new_i = logged_i] (y_i - q(i, new_i)) / p_i

    Right if the propensities are right or if the model is. What clipping takes away is residuals only, so a clip that
    would ruin IPS costs little; what they are still known to lack, as far as the shared placements tell, is `bias`.

    Args:
        reranking: N rows of R requests.
        labels: `(N,)` 0 or 1, without missing ones.
        model: `(N,)` q(i, new_i), the predicted engagement of each item at its **new** position. It must not have been
            fitted on these rows.
        clip: The smallest propensity that is divided by.

    >>> import numpy as np
    >>> two = Reranking.of([1, 0, 0, 1], list("abab"), [1, 1, 2, 2], [1, 2, 1, 2], [0.5] * 4)
    >>> doubly_robust(two, np.array([1.0, 0.0, 1.0, 1.0]), np.full(4, 0.5)).value
    1.0
    """
    weights = match_weights(reranking, clip)
    residual = labels - model
    parts = reranking.per_request(model * reranking.counted + weights * residual)  # (R,)
    value = float(parts.sum())
    influence = parts - value * reranking.weights / reranking.total
    means = matched_means(reranking, residual, weights)
    if means is None:
        reason = "no candidate stands in the log where the new ranking puts it"
        return Valued.missing(reranking.clusters.count, reason)
    bias = float((means.places * (1.0 - means.covered) * means.mean).sum())
    return Valued(value, influence, bias)
