"""python -m examples.modulation STUDY

attributes  twenty tasks, every arm (table 3)
depth       seven tasks: from which block on, vectors or matrices, update compliance (tables 4 and 5)
tasks       7, 20 and 40 tasks
toy         three tasks, two of them related (table 1)
footwear    photos of shoes: type, gender, usage, colour (table 6)
inference   what a further task costs when all are asked at once (section 5.2)

Several processes may run the same study: they share its runs. A study that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from examples.modulation import footwear_study, many_tasks, toy
from examples.modulation.depth import depth
from examples.modulation.study import add_arguments, timed
from galleryrank.exits import run

STUDIES = {
    "attributes": (many_tasks.attributes, many_tasks.TRIPLETS),
    "depth": (depth, many_tasks.TRIPLETS),
    "tasks": (many_tasks.tasks, many_tasks.TRIPLETS),
    "toy": (toy.toy, many_tasks.TRIPLETS),
    "footwear": (footwear_study.footwear, footwear_study.TRIPLETS),
}


def main(given: list[str] | None = None) -> int:
    """Runs one study; 0 if what it is to show holds, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.modulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="study", required=True)
    for name, (_, triplets) in STUDIES.items():
        command = commands.add_parser(name)
        add_arguments(command, triplets)
        if name == "footwear":
            command.add_argument("--data", type=Path, default=footwear_study.DATA)
    inference = commands.add_parser("inference")
    inference.add_argument("--out", type=Path, default=Path("runs/modulation"))
    arguments = parser.parse_args(given)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.study == "inference":
        from examples.modulation.inference import main as measure  # loaded here: it is a study of its own

        return measure(arguments.out) or 0
    torch.set_num_threads(arguments.threads)
    return timed(STUDIES[arguments.study][0], arguments)


if __name__ == "__main__":
    sys.exit(run(main))
