"""Selective Sharing: tasks that answer alike come to share a branch while the network trains [Selective].

>>> import torch
>>> from multitask.sharing import Branches, SelectiveSharing
>>> branches = Branches(n_tasks=10, in_features=640, hidden=(100, 50))  # the MNIST network of the paper
>>> branches.parameter_law()  # outputs, and each branch
(510, 69150)
>>> SelectiveSharing(branches).groups()[:3]
[['0'], ['1'], ['2']]
"""

from multitask.sharing.branches import Branches
from multitask.sharing.capture import Capture
from multitask.sharing.cross_stitch import CrossStitch
from multitask.sharing.figure import groups_figure
from multitask.sharing.grouping import DIRECTIVES, propose
from multitask.sharing.merging import MERGES, merge_branches
from multitask.sharing.pairwise_ranking import kendall_tau, pairwise_ranking_losses
from multitask.sharing.selective_sharing import SelectiveSharing
from multitask.sharing.signals import SIGNALS

__all__ = [
    "DIRECTIVES",
    "MERGES",
    "SIGNALS",
    "Branches",
    "Capture",
    "CrossStitch",
    "SelectiveSharing",
    "groups_figure",
    "kendall_tau",
    "merge_branches",
    "pairwise_ranking_losses",
    "propose",
]
