"""One arm of one image study: trained, tested, described by plain numbers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multitask.arrays import ShuffledBatches
from multitask.config import TrainingConfig
from multitask.observers import Observer
from multitask.progress import Event
from multitask.resume import TrainingState
from multitask.training import fit

from .arms import Arm, Batch
from .data import Splits
from .measures import accuracies, predict
from .networks import TaskNetwork


def config(epochs: int, seed: int, batch_size: int = 64) -> TrainingConfig:
    """[Selective 4.2]: SGD .02 with momentum .5, the best epoch by the validation images' top-1, no early end."""
    return TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.02,
        optimizer="sgd",
        momentum=0.5,
        ema_decay=0.0,
        monitor="top1",
        direction="max",
        patience=epochs,
        seed=seed,
    )


class TimedBatches(Observer):
    """Batches that note the processor seconds of every epoch's steps; as an observer they keep them over a resume.

    Processor time, because other work on the machine then shows less.
    """

    def __init__(self, batches: ShuffledBatches[Batch]) -> None:
        self.batches, self.rows = batches, batches.rows
        self.seconds: list[float] = []  # of the finished epochs

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        began = time.process_time()
        yield from self.batches.epoch(number, start)
        self.seconds.append(time.process_time() - began)  # the last step is done when the next batch is asked for

    def tensors(self) -> dict[str, Tensor]:
        return {"seconds": torch.tensor(self.seconds, dtype=torch.float64)}

    def load_tensors(self, tensors: dict[str, Tensor], state: TrainingState) -> None:
        self.seconds = tensors["seconds"].tolist()


class Snapshot(Observer):
    """Writes the net as it was before its first merge; stands before `SelectiveSharing` among the observers."""

    def __init__(self, model: TaskNetwork, path: Path) -> None:
        self.model, self.path = model, path

    def after_epoch(self, state: TrainingState) -> None:
        if self.model.branches.n_groups == self.model.branches.n_tasks:
            save_model(self.model, self.path)


def save_model(model: TaskNetwork, path: Path) -> None:
    """All weights and statistics, for the pictures."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def load_model(model: TaskNetwork, path: Path) -> None:
    """The inverse of `save_model`, in evaluation mode; the branches take the file's number of groups."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))
    model.eval()


def train_and_test(arm: Arm, splits: Splits, settings: TrainingConfig, folder: Path) -> dict[str, Any]:
    """What a table needs of the run; a killed run goes on from the checkpoint in `folder`.

    Leaves the tested net as `FOLDER.safetensors` and, of an arm that groups, the net before its first merge as
    `FOLDER.before.safetensors`.

    Returns:
        Test accuracies; parameters of the net at the start, of the tested one, and the parts of the law (trunk,
        outputs, per branch); the epochs with their processor seconds; for an arm that groups, its history (a record
        per epoch) and the tested net's groups.
    """
    batches = TimedBatches(ShuffledBatches.of(splits.train, settings))
    model, sharing = arm.model, arm.sharing
    before = count(model)
    snapshot = [] if sharing is None else [Snapshot(model, folder.with_name(f"{folder.name}.before.safetensors"))]

    def validate(net: torch.nn.Module) -> dict[str, float]:
        return accuracies(predict(net, splits.validation, arm.probabilities), splits.validation.labels)

    history = fit(
        model,
        arm.loss,
        batches,
        settings,
        validate=validate,
        checkpoint=folder,
        progress=_show,
        observers=[*snapshot, *arm.observers, batches],
    )
    outputs, per_branch = model.branches.parameter_law()
    result: dict[str, Any] = {
        "test": accuracies(predict(model, splits.test, arm.probabilities), splits.test.labels),
        "best_epoch": history.best_epoch,
        "parameters_before": before,
        "parameters": count(model),
        "law": {"trunk": count(model.trunk), "outputs": outputs, "branch": per_branch},
        "branches": model.branches.n_groups,
        "epochs": [
            {"train_loss": epoch.train_loss, **epoch.metrics, "seconds": epoch.seconds, "cpu_seconds": cpu}
            for epoch, cpu in zip(history.epochs, batches.seconds)
        ],
    }
    if sharing is not None:
        result |= {"tested_groups": sharing.groups(), "sharing": sharing.history.to_dict(orient="records")}
        result["distances"] = {epoch: found.tolist() for epoch, found in sharing.distances.items()}
    save_model(model, folder.with_name(f"{folder.name}.safetensors"))
    shutil.rmtree(folder)
    return result


def count(model: torch.nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _show(event: Event) -> None:
    if event.metrics is None:
        return
    words = " ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
    speed = "" if event.rows_per_second is None else f", {event.rows_per_second:,.0f} images/s"
    print(f"    epoch {event.epoch + 1:2d}/{event.epochs} loss {event.loss:.4f} {words}{speed}", flush=True)
