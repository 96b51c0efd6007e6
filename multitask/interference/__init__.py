"""Interference: whether the tasks pull the weights they share in the same direction.

gradient_gram, shared_parameters   inner products of the tasks' gradients, and the weights they are taken on
update_compliance, conflict_index  what many minibatches' inner products say: shares of agreement, one number
gradient_cosines                   the same as mean cosines
InterferenceRecorder               records them while `fit` trains; sparing_every, how often costs 5 %
diagnostic, Interference           a trained model's, on fresh batches and without the noise of training
compliance_figure                  heat maps of the ratios

>>> import torch
>>> agree, oppose = [[1.0, 2.0], [2.0, 4.0]], [[1.0, -2.0], [-2.0, 4.0]]
>>> update_compliance(torch.tensor([agree, agree, oppose, agree])).tolist()
[[1.0, 0.75], [0.75, 1.0]]
"""

from multitask.interference.compliance import conflict_index, gradient_cosines, update_compliance
from multitask.interference.diagnostic import diagnostic
from multitask.interference.figure import compliance_figure
from multitask.interference.gradients import gradient_gram, shared_parameters
from multitask.interference.recorder import InterferenceRecorder, sparing_every
from multitask.interference.summary import Interference

__all__ = [
    "Interference",
    "InterferenceRecorder",
    "compliance_figure",
    "conflict_index",
    "diagnostic",
    "gradient_cosines",
    "gradient_gram",
    "shared_parameters",
    "sparing_every",
    "update_compliance",
]
