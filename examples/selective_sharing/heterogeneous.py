"""`heterogeneous`: tasks of different kinds on frozen features, as the paper's paintings [Selective 4.2, table 3]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multitask import Task, TrainingConfig, masked_losses
from multitask.task_losses import TaskLosses
from multitask.tasks import output_slices

from .heterogeneous_data import NUMBER, SHOE_TASKS, SOURCES
from .networks import Architecture
from .task_table import Parts
from .vector_arms import Batch, Setup
from .vector_report import Column
from .vector_study import SHARED, add_common_arguments, run_study, scaled

PAPER = Architecture(2048, (300, 300), dropout=0.2)
MEDIANS = "error over the median's"
ABOUT = {
    "shoes": "9,197 shoes of a catalogue, split by title; accuracy in %, of the catalogue number the mean absolute "
    "error in thousands.",
    "properties": "31 attributes of generated properties from their photos; accuracy in %, of the regressions the mean "
    "absolute error over that of the median.",
}
WIDTHS = {"shoes": 1.0, "properties": 0.5}  # 31 full branches take six times as long
COLUMNS = {
    "shoes": [*(Column(name, name) for name in SHOE_TASKS), Column(NUMBER, f"{NUMBER}, MAE", 1.0, 2)],
    "properties": [
        Column("binary", "binary"),
        Column("balanced", "balanced"),
        Column("multiclass", "multiclass"),
        Column(MEDIANS, "regressions, error", 1.0, 3),
    ],
}
PAPER_TABLE = """\
The paper's paintings [Selective tables 3 and 5], accuracy in % and MAE in years (not given for two arms); `branches`
are the paper's, whose counts obey 366,464 + 180,600 G:

| arm | artist | genre | century | school | medium | style | year, MAE | parameters | locked | branches |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| single task | 28.0 | 25.0 | 32.1 | 24.7 | 41.3 | 19.2 | 144.32 | 3,487,664 | | |
| MTL | 31.0 | 26.2 | 27.7 | 23.0 | 42.0 | 22.1 | 135.43 | 1,630,664 | | 7 |
| similarity | 33.8 | 28.0 | 29.0 | 27.6 | 44.1 | 21.2 | 128.11 | 908,264 | 10 | 3 |
| dissimilarity | 39.40 | 21.10 | 28.10 | 23.82 | 42.86 | 19.01 | | 727,664 | 7 | 2 |
| variance | 43.73 | 26.85 | 31.20 | 26.72 | 40.43 | 22.25 | | 727,664 | 7 | 2 |"""


class Heterogeneous:
    """Classifications, by accuracy, and regressions, by the mean absolute error.

    Args:
        units: of each regression, by name: how much a 1 of its labels is in the unit of its error.
    """

    def __init__(self, units: dict[str, float]) -> None:
        self.units = units

    def losses(self, tasks: Sequence[Task]) -> TaskLosses[Batch]:
        """As `Problem.losses`."""
        return lambda model, batch: masked_losses(tasks, model(batch[0]), batch[1])

    def measure(self, tasks: Sequence[Task], outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """As `Problem.measure`; also the means by kind, of binary tasks the balanced accuracy too.

        The score is the mean over the tasks of the accuracy, or of 1 - MAE / MAE of the median (-1 at least).
        """
        found: dict[str, float] = {}
        kinds: dict[str, list[float]] = {}
        scores = []
        for task, columns, y in zip(tasks, output_slices(tasks), labels.T):
            known = ~torch.isnan(y)
            z, y = outputs[known, columns], y[known]
            if task.kind == "regression":
                error = (z[:, 0] - y).abs().mean().item()
                value, score = error * self.units[task.name], 1 - error / (y - y.median()).abs().mean().item()
                kinds.setdefault(MEDIANS, []).append(1 - score)
            else:
                answer = (z[:, 0] > 0).float() if task.kind == "binary" else z.argmax(1).float()
                value = score = (answer == y).double().mean().item()
                kinds.setdefault(task.kind, []).append(value)
                if task.kind == "binary":
                    recalls = [(answer == y)[y == c].double().mean().item() for c in (0, 1)]
                    kinds.setdefault("balanced", []).append(float(np.nanmean(recalls)))
            found[task.name] = value
            scores.append(max(-1.0, score))
        means = {kind: float(np.mean(values)) for kind, values in (kinds | {"score": scores}).items()}
        return found | means


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("--set", choices=tuple(SOURCES), default="shoes", help="whose tasks")
    parser.add_argument("--data", type=Path, help="folder of the shoes, or of a world with photos (made if missing)")
    add_common_arguments(parser, epochs=15)


def main(arguments: argparse.Namespace) -> int:
    """Runs what is missing; when nothing is, writes the table."""
    out = arguments.out or Path("runs/selective_sharing/heterogeneous") / arguments.set
    data = arguments.data or (SHARED / "footwear_attributes" if arguments.set == "shoes" else out / "world")
    source = SOURCES[arguments.set](data, arguments.weights, out)
    width = WIDTHS[arguments.set] if arguments.width is None else arguments.width
    architecture = scaled(PAPER, width)

    def prepare(seed: int) -> tuple[Setup, Parts]:
        tasks, parts, units = source.parts(seed)
        return Setup(tasks, Heterogeneous(units), architecture, config(arguments.epochs, seed)), parts

    settings = {"set": arguments.set, "epochs": arguments.epochs, "width": width}
    about = f"""{ABOUT[arguments.set]}
Shared layer of {architecture.shared} units, branches of {architecture.hidden}, dropout .2, Adam .001, batch 100,
{arguments.epochs} epochs, tested in the best epoch by the validation score; {len(arguments.seeds)} seeds, each with
its own split 80 - 10 - 10."""
    return run_study(arguments, out, settings, prepare, COLUMNS[arguments.set], about, PAPER_TABLE)


def config(epochs: int, seed: int) -> TrainingConfig:
    """[Selective 4.2]: Adam .001, batch 100, the best epoch by the validation part."""
    return TrainingConfig(
        epochs=epochs, batch_size=100, ema_decay=0.0, monitor="score", direction="max", patience=epochs, seed=seed
    )
