"""Learning several tasks at once: tasks, masked losses, loss weighting, trunks, towers, the one training loop; whether
the tasks get into each other's way (`interference`), and two remedies (`modulation`, `sharing`).

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
from multitask.interference import InterferenceRecorder, conflict_index, update_compliance  # noqa: E402
from multitask.losses import masked_losses  # noqa: E402
from multitask.mmoe import MMoE  # noqa: E402
from multitask.modulation import ModulatedBottom, Modulation  # noqa: E402
from multitask.observers import Observer  # noqa: E402
from multitask.ple import PLE  # noqa: E402
from multitask.shared_bottom import SharedBottom  # noqa: E402
from multitask.sharing import Branches, SelectiveSharing  # noqa: E402
from multitask.task_losses import TaskLosses, combined  # noqa: E402
from multitask.tasks import Task  # noqa: E402
from multitask.towers import StackedTowers  # noqa: E402
from multitask.training import fit  # noqa: E402
from multitask.trunks import make_trunk  # noqa: E402
from multitask.weighting import Equal, Fixed, InverseVariance, LossWeighting, Uncertainty, make_weighting  # noqa: E402

__all__ = [
    "PLE",
    "Branches",
    "CheckpointError",
    "CrossNetwork",
    "Epoch",
    "Equal",
    "Fixed",
    "History",
    "InterferenceRecorder",
    "InverseVariance",
    "LossWeighting",
    "MMoE",
    "ModulatedBottom",
    "Modulation",
    "Observer",
    "SelectiveSharing",
    "SharedBottom",
    "ShuffledBatches",
    "StackedTowers",
    "Task",
    "TaskLosses",
    "TrainingConfig",
    "Uncertainty",
    "WeightAverage",
    "barrier",
    "combined",
    "conflict_index",
    "default_device",
    "fit",
    "make_trunk",
    "make_weighting",
    "masked_losses",
    "rank",
    "update_compliance",
    "world_size",
]
