"""Modulation: one network for many tasks, each with a few factors of its own [Modulation].

>>> import torch
>>> from multitask.modulation import AttributeNetwork, Modulation
>>> network = AttributeNetwork(size=48, widths=(4, 8, 8, 8, 8), dim=16)
>>> photos = torch.zeros(2, 3, 48, 48)
>>> modulation = Modulation(network, ["type", "colour"], ["block4", "block5", "fc"], example=photos)
>>> modulation(photos, tasks=torch.tensor([0, 1])).shape, modulation.extra_parameters
(torch.Size([2, 16]), 64)
"""

from multitask.modulation.attribute_network import AttributeNetwork
from multitask.modulation.baselines import (
    FullyShared,
    IndependentBranches,
    IndependentNetworks,
    conditional_similarity,
    independent_networks,
    only_mask,
)
from multitask.modulation.conditioned import TaskConditioned
from multitask.modulation.layers import Projection, RectifiedScaling, Scaling
from multitask.modulation.modulated_bottom import ModulatedBottom
from multitask.modulation.modulation import Modulation
from multitask.modulation.relevance import RelevanceRegulariser, distance_table
from multitask.modulation.triplets import triplet_accuracy, triplet_loss

__all__ = [
    "AttributeNetwork",
    "FullyShared",
    "IndependentBranches",
    "IndependentNetworks",
    "ModulatedBottom",
    "Modulation",
    "Projection",
    "RectifiedScaling",
    "RelevanceRegulariser",
    "Scaling",
    "TaskConditioned",
    "conditional_similarity",
    "distance_table",
    "independent_networks",
    "only_mask",
    "triplet_accuracy",
    "triplet_loss",
]
