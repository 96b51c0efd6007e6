"""Which utility weights: the tuning objective, guardrails, the Ax study with its controls, and online rounds.

>>> import numpy as np
>>> from optimization import utility_pr_auc
>>> probabilities = np.array([[0.9, 0.2], [0.4, 0.1], [0.3, 0.8]])
>>> labels = np.array([[1, 0], [0, 0], [0, 1]])
>>> utility_pr_auc(probabilities, labels, weights=[[1.0, 0.0], [0.5, 0.5]]).round(3).tolist()  # a column per head
[[1.0, 0.333], [0.5, 0.5]]

It imports from `ranking` and `evaluation`; nothing below imports from it. Ax is loaded when it proposes.
"""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)

from optimization.guardrails import Guardrails, Violation  # noqa: E402
from optimization.objective.metrics import make_metric  # noqa: E402
from optimization.objective.pr_auc import utilities, utility_pr_auc  # noqa: E402
from optimization.online.rounds import Rounds  # noqa: E402
from optimization.score_table import ScoreTable  # noqa: E402
from optimization.sensitivity import contributions, sensitivity  # noqa: E402
from optimization.tune import tune  # noqa: E402
from optimization.tuning import Tuning  # noqa: E402
from optimization.verdict import Verdict, candidates, judge  # noqa: E402
from optimization.weight_diff import diff_weights, order_change  # noqa: E402

__all__ = [
    "Guardrails",
    "Rounds",
    "ScoreTable",
    "Tuning",
    "Verdict",
    "Violation",
    "candidates",
    "contributions",
    "diff_weights",
    "judge",
    "make_metric",
    "order_change",
    "sensitivity",
    "tune",
    "utilities",
    "utility_pr_auc",
]
