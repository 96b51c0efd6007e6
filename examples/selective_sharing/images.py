"""`mnist`, `cifar10` and `omniglot`: every arm on one image set, over seeds."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from examples.studies.runs import read_results, read_settings, run_all

from . import data, networks
from .activation_figure import draw_activation_maps
from .arms import ARMS, Arm, build
from .figures import draw
from .report import write_report
from .training import config, train_and_test

SETS = ("mnist", "cifar10", "omniglot")
FOLDERS = {"mnist": "mnist", "cifar10": "cifar10", "omniglot": "omniglot_8alphabets"}
# A quarter of VGG-16's filters: the full net takes a sixteenth of the speed, days on a few cores.
WIDTHS = {"mnist": 1.0, "cifar10": 0.25, "omniglot": 1.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of each of the three commands."""
    parser.add_argument("--data", type=Path, help="folder of the image set")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="number of seeds, or a list as 0,2")
    parser.add_argument("--arms", type=names, default=ARMS, help=f"some of {','.join(ARMS)}")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--images", type=int, help="training images at most; default all")
    parser.add_argument("--width", type=float, help="factor on the convolutions' filters")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--out", type=Path, help="folder of the runs, the tables and the pictures")
    parser.add_argument("--report", action="store_true", help="run nothing: tables and pictures of what there is")


def numbers(text: str) -> tuple[int, ...]:
    """Seeds: "3" is 0, 1, 2; "0,2" is 0 and 2.

    >>> numbers("3"), numbers("1,")
    ((0, 1, 2), (1,))
    """
    return tuple(int(part) for part in text.split(",") if part) if "," in text else tuple(range(int(text)))


def names(text: str) -> tuple[str, ...]:
    """Arms, in the order of `ARMS`."""
    chosen = {part.strip() for part in text.split(",")}
    if unknown := chosen - set(ARMS):
        raise argparse.ArgumentTypeError(f"arms must be among {', '.join(ARMS)}, got {', '.join(sorted(unknown))}")
    return tuple(arm for arm in ARMS if arm in chosen)


def load(name: str, folder: Path, images: int | None) -> Callable[[int], data.Splits]:
    """The splits by seed: only Omniglot's differ between seeds."""
    if name == "omniglot":
        return cache(lambda seed: data.omniglot(folder, seed).small(images))
    splits = (data.mnist if name == "mnist" else data.cifar10)(folder).small(images)
    return lambda seed: splits


def main(name: str, arguments: argparse.Namespace) -> int:
    """Runs what is missing, then writes the report of all that there is. Start it twice to use two cores."""
    torch.set_num_threads(arguments.threads)
    began = time.perf_counter()
    folder = arguments.data or Path("../shared/data") / FOLDERS[name]
    out = arguments.out or Path("runs/selective_sharing") / name
    settings = {
        "set": name,
        "epochs": arguments.epochs,
        "images": arguments.images,
        "width": WIDTHS[name] if arguments.width is None else arguments.width,
    }
    if arguments.report:  # of runs that are there, whatever their settings
        settings |= read_settings(out) | {"set": name}
    architecture = networks.ARCHITECTURES[name]
    trunk = partial(networks.TRUNKS[name], settings["width"])
    splits = load(name, folder, arguments.images)

    def make(arm: str, seed: int) -> Arm:
        return build(arm, trunk, architecture, splits(seed).names, seed)

    def run(arm: str, seed: int, checkpoint: Path) -> dict[str, Any]:
        return train_and_test(make(arm, seed), splits(seed), config(arguments.epochs, seed), checkpoint)

    if arguments.report:
        results = read_results(out, arguments.arms, arguments.seeds)
    else:
        results = run_all(out, arguments.arms, arguments.seeds, settings, run)
    if results:
        spans = draw_activation_maps(out, results, make, splits)
        draw(out, results)
        print(write_report(out, name, settings, results, spans))
    missing = len(arguments.arms) * len(arguments.seeds) - len(results)
    if missing:
        print(f"{missing} of the runs asked for do not exist yet; the same command goes on with them")
    print(f"finished after {(time.perf_counter() - began) / 60:.1f} minutes")
    return 0
