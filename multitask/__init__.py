"""Learning several tasks at once: tasks, masked losses, loss weighting, trunks, towers, the one training loop.

>>> import torch
>>> from multitask import Task, masked_losses
>>> outputs, labels = torch.zeros(2, 2), torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
>>> losses, counts = masked_losses([Task("click"), Task("save")], outputs, labels)
>>> losses.tolist(), counts.tolist()
([0.6931471824645996, 0.6931471824645996], [2.0, 1.0])
"""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)

from multitask.arrays import ShuffledBatches  # noqa: E402
from multitask.averaging import WeightAverage  # noqa: E402
from multitask.checkpoint import CheckpointError  # noqa: E402
from multitask.config import TrainingConfig  # noqa: E402
from multitask.cross import CrossNetwork  # noqa: E402
from multitask.distributed import barrier, default_device, rank, world_size  # noqa: E402
from multitask.history import Epoch, History  # noqa: E402
from multitask.losses import masked_losses  # noqa: E402
from multitask.mmoe import MMoE  # noqa: E402
from multitask.ple import PLE  # noqa: E402
from multitask.shared_bottom import SharedBottom  # noqa: E402
from multitask.tasks import Task  # noqa: E402
from multitask.towers import StackedTowers  # noqa: E402
from multitask.training import fit  # noqa: E402
from multitask.trunks import make_trunk  # noqa: E402
from multitask.weighting import Equal, Fixed, InverseVariance, LossWeighting, Uncertainty, make_weighting  # noqa: E402

__all__ = [
    "PLE",
    "CheckpointError",
    "CrossNetwork",
    "Epoch",
    "Equal",
    "Fixed",
    "History",
    "InverseVariance",
    "LossWeighting",
    "MMoE",
    "SharedBottom",
    "ShuffledBatches",
    "StackedTowers",
    "Task",
    "TrainingConfig",
    "Uncertainty",
    "WeightAverage",
    "barrier",
    "default_device",
    "fit",
    "make_trunk",
    "make_weighting",
    "masked_losses",
    "rank",
    "world_size",
]
