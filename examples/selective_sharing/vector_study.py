"""What the two studies on frozen vectors share: their arguments, and every arm over seeds up to the table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from examples.studies.runs import run_all

from .arms import ARMS
from .images import names, numbers
from .networks import Architecture
from .task_table import Parts
from .vector_arms import Setup, run_arm
from .vector_report import Column, write_report

SHARED = Path("../shared/data")
WEIGHTS = SHARED / "backbone_squeezenet1_1" / "squeezenet1_1_caffe_rgb_fp16.pt"


def add_common_arguments(parser: argparse.ArgumentParser, epochs: int, width: float | None = None) -> None:
    """Of both commands; a width of None is decided by the set of tasks."""
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of SqueezeNet 1.1, trained on ImageNet")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="number of seeds, or a list as 0,2")
    parser.add_argument("--arms", type=names, default=ARMS, help=f"some of {','.join(ARMS)}")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--width", type=float, default=width, help="factor on the units of the layers")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--out", type=Path, help="folder of the features, the runs and the table")


def scaled(architecture: Architecture, width: float) -> Architecture:
    """`width` times the units of every layer, at least one.

    >>> scaled(Architecture(2048, (300, 300), 0.2), 0.5)
    Architecture(shared=1024, hidden=(150, 150), dropout=0.2)
    """
    if width <= 0:
        raise ValueError(f"`width` must be positive, got {width}")
    hidden = tuple(max(1, round(units * width)) for units in architecture.hidden)
    return Architecture(max(1, round(architecture.shared * width)), hidden, architecture.dropout)


def run_study(
    arguments: argparse.Namespace,
    out: Path,
    settings: Mapping[str, Any],
    prepare: Callable[[int], tuple[Setup, Parts]],
    columns: Sequence[Column],
    about: str,
    paper: str,
) -> int:
    """Every arm and seed that `out` does not hold yet, then the table. Start it twice to use two cores.

    Args:
        arguments: of `add_common_arguments`.
        settings: what distinguishes this study's runs from another's.
        prepare: a seed to what the arms have in common and the data cut in three.
        columns, about, paper: of the report.
    """
    torch.set_num_threads(arguments.threads)
    began = time.perf_counter()

    def run(arm: str, seed: int, _checkpoint: Path) -> dict[str, Any]:
        return run_arm(arm, *prepare(seed))  # half a minute: a killed run is begun again, a finished one found

    results = run_all(out, arguments.arms, arguments.seeds, settings, run)
    missing = len(arguments.arms) * len(arguments.seeds) - len(results)
    if missing:
        print(f"{missing} runs are another process's; start the command again for the report when it has ended")
    else:
        print(write_report(out, results, columns, about, paper))
    print(f"finished after {(time.perf_counter() - began) / 60:.1f} minutes")
    return 0
