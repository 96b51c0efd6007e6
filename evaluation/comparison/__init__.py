"""Model against model: paired differences, and a gate that a release has to pass.

>>> import numpy as np
>>> from evaluation.comparison import GateRules, gate
>>> rng = np.random.default_rng(0)
>>> signal = rng.normal(size=(4_000, 1))
>>> labels = (rng.random(signal.shape) < 1 / (1 + np.exp(2 - signal))).astype(float)
>>> worse = signal + rng.normal(scale=2.0, size=signal.shape)
>>> found = gate(labels, worse, signal, np.repeat(np.arange(400), 10), names=["click"], rules=GateRules())
>>> found.verdict
'regression'
"""

from evaluation.comparison.gate import gate
from evaluation.comparison.gate_result import INCONCLUSIVE, PASS, REGRESSION, GateResult
from evaluation.comparison.gate_rules import GateRules
from evaluation.comparison.influences import metric_influences
from evaluation.comparison.junit import write_junit
from evaluation.comparison.paired import BETTER, UNDECIDED, WORSE, RankingInfluences, compare, verdict

__all__ = [
    "BETTER",
    "INCONCLUSIVE",
    "PASS",
    "REGRESSION",
    "UNDECIDED",
    "WORSE",
    "GateResult",
    "GateRules",
    "RankingInfluences",
    "compare",
    "gate",
    "metric_influences",
    "verdict",
    "write_junit",
]
