"""The arms on frozen vectors: a shared layer, branches of the tasks, losses and measures that the tasks choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from multitask import Task, TrainingConfig
from multitask.arrays import ShuffledBatches
from multitask.precision import autocast
from multitask.sharing import Branches, CrossStitch, SelectiveSharing, merge_branches
from multitask.task_losses import TaskLosses, combined
from multitask.training import fit

from .arms import ARMS, DIRECTIVES, TITLES
from .networks import Architecture, TaskNetwork
from .task_table import Parts, TaskTable
from .training import count

Batch = tuple[Tensor, Tensor]
VECTOR_TITLES = TITLES | {"single_task": "single task, a net each"}


class Problem(Protocol):
    """What is learned, and how it is judged."""

    def losses(self, tasks: Sequence[Task]) -> TaskLosses[Batch]:
        """Of a net whose outputs are those of `tasks`."""

    def measure(self, tasks: Sequence[Task], outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """One number per task by name, larger or smaller is better as the task has it, and any means of them; among
        these "score", more is better, which picks the best epoch."""


@dataclass(frozen=True)
class Setup:
    """What all arms of a study have in common.

    Attributes:
        tasks: T.
        problem: their losses and measures.
        architecture: of the net behind the frozen features: shared layer and branches.
        config: of every training, monitoring "score"; its seed is also that of the weights.
    """

    tasks: Sequence[Task]
    problem: Problem
    architecture: Architecture
    config: TrainingConfig

    def network(self, features: int, branches: type[Branches] = Branches) -> TaskNetwork:
        """Linear, ReLU, and a branch per task; the shared layer starts from the same numbers in all arms."""
        torch.manual_seed(self.config.seed)
        inputs, hidden = self.architecture.shared, self.architecture.hidden
        shared = nn.Sequential(nn.Linear(features, inputs), nn.ReLU())
        widths = [task.width for task in self.tasks]
        return TaskNetwork(shared, branches(len(widths), inputs, hidden, widths, self.architecture.dropout))


def run_arm(arm: str, setup: Setup, parts: Parts) -> dict[str, Any]:
    """Trains the arm, tests it as it was in its best epoch (behind the last merge), and describes it by plain numbers.

    Returns:
        "test", the test rows' measures; "best_epoch"; "parameters" of the tested net and "parameters_before" any
        merge; "law", which is [P_shared + P_outputs, P_branch] of P(G) = P_shared + P_outputs + G P_branch;
        "validation", the score of every epoch; and for an arm that groups "groups" (of the tested net), "lock_epoch"
        (None = never) and "sharing" (a record per epoch).

    Raises:
        ValueError: if there is no such arm.
    """
    if arm not in ARMS:
        raise ValueError(f"`arm` must be one of {', '.join(ARMS)}, got {arm!r}")
    if arm == "single_task":
        return _single_tasks(setup, parts)
    features = parts.train.x.shape[1]
    model = setup.network(features, CrossStitch if arm == "cross_stitch" else Branches)
    branches, names = model.branches, [task.name for task in setup.tasks]
    if arm == "one_branch":
        merge_branches(branches, [0] * len(names), [0.0] * len(names))
    if arm not in DIRECTIVES:
        return _train_and_test(model, setup, parts)
    sharing = SelectiveSharing(branches, names, directive=arm, seed=setup.config.seed)
    result = _train_and_test(model, setup, parts, sharing)
    table = sharing.history
    locked = table[table.locked.astype(bool)]
    return result | {
        "groups": sharing.groups(),
        "lock_epoch": int(locked.epoch.min()) if len(locked) else None,
        "sharing": table.to_dict(orient="records"),
    }


def _train_and_test(
    model: TaskNetwork, setup: Setup, parts: Parts, sharing: SelectiveSharing | None = None
) -> dict[str, Any]:
    losses = setup.problem.losses(setup.tasks)
    before = count(model)

    def measure(net: nn.Module, table: TaskTable) -> dict[str, float]:
        with torch.no_grad(), autocast(setup.config.precision, table.x.device):
            outputs = net(table.x)
        return setup.problem.measure(setup.tasks, outputs.float(), table.labels)

    def validate(net: nn.Module) -> dict[str, float]:
        return {"score": measure(net, parts.validation)["score"]}

    history = fit(
        model,
        combined(losses if sharing is None else sharing.watch(losses)),
        ShuffledBatches.of(parts.train, setup.config),
        setup.config,
        validate=validate,
        observers=[] if sharing is None else [sharing],
        progress=False,
    )
    outputs, per_branch = model.branches.parameter_law()
    return {
        "test": measure(model, parts.test),
        "best_epoch": history.best_epoch,
        "parameters_before": before,
        "parameters": count(model),
        "law": [count(model.trunk) + outputs, per_branch],
        "validation": [epoch.metrics["score"] for epoch in history.epochs],
    }


def _single_tasks(setup: Setup, parts: Parts) -> dict[str, Any]:
    """A net of its own for every task, trained apart from the others on the rows that carry its label."""
    runs, outputs = [], []
    for t, task in enumerate(setup.tasks):
        alone = Setup([task], setup.problem, setup.architecture, setup.config)
        model = alone.network(parts.train.x.shape[1])
        runs.append(_train_and_test(model, alone, parts.task(t)))
        with torch.no_grad(), autocast(setup.config.precision, torch.device("cpu")):
            outputs.append(model(parts.test.x).float())
    return {
        "test": setup.problem.measure(setup.tasks, torch.cat(outputs, 1), parts.test.labels),
        "best_epoch": [run["best_epoch"] for run in runs],
        "parameters_before": sum(run["parameters"] for run in runs),
        "parameters": sum(run["parameters"] for run in runs),
        "validation": [run["validation"] for run in runs],
    }
