"""What another ranking of the logged candidates would have earned, from the propensities of the policy that wrote it.

The estimand, per head: expected engagements per request when the same candidates are shown in the new order.
Estimators, one per file: `inverse_propensity` (IPS), `self_normalised` (SNIPS), `doubly_robust` (DR), `position_based`
(PBM); `estimate_reranking` runs them all with the clipping report, `evaluate_counterfactual` does so for a ranker or a
file of scores on a log.

>>> import numpy as np
>>> from evaluation.counterfactual import Reranking, estimate_reranking
>>> random = np.random.default_rng(0)
>>> requests, positions = np.repeat(np.arange(2000), 2), np.tile([1, 2], 2000)
>>> items = np.argsort(random.random((2000, 2)), axis=1).ravel()    # a coin decided whether item 0 or 1 stood first
>>> rate = np.where(items == 1, 0.6, 0.2) / positions               # item 1 is better, and the second place halves it
>>> clicks = (random.random(4000) < rate).astype(float)
>>> new = Reranking.of(items, items, requests, positions, np.full(4000, 0.5))    # item 1 first: 0.6 + 0.2 / 2 = 0.7
>>> result = estimate_reranking(new, clicks[:, None], names=["click"])
>>> result.table.set_index("estimator")["value"].round(1).loc[["logged", "snips"]].to_dict()
{'logged': 0.6, 'snips': 0.7}
"""

from evaluation.counterfactual.doubly_robust import doubly_robust
from evaluation.counterfactual.estimating import ESTIMATORS, CounterfactualResult, estimate_reranking
from evaluation.counterfactual.evaluating import evaluate_counterfactual
from evaluation.counterfactual.inverse_propensity import inverse_propensity
from evaluation.counterfactual.logged_policy import refuse_without_propensities
from evaluation.counterfactual.position_based import position_based, position_effect
from evaluation.counterfactual.reranking import Reranking, new_positions
from evaluation.counterfactual.self_normalised import self_normalised
from evaluation.counterfactual.support import Support, measure_support
from evaluation.counterfactual.weights import default_clip, effective_sample_size, match_weights
from evaluation.counterfactual.words import counterfactual_sentences

__all__ = [
    "ESTIMATORS",
    "CounterfactualResult",
    "Reranking",
    "Support",
    "counterfactual_sentences",
    "default_clip",
    "doubly_robust",
    "effective_sample_size",
    "estimate_reranking",
    "evaluate_counterfactual",
    "inverse_propensity",
    "match_weights",
    "measure_support",
    "new_positions",
    "position_based",
    "position_effect",
    "refuse_without_propensities",
    "self_normalised",
]
