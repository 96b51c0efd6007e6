"""python -m examples.selective_sharing COMMAND"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from . import capture, heterogeneous, images, ranking


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.selective_sharing", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name in images.SETS:
        command = commands.add_parser(name, help=f"every arm on {name}")
        images.add_arguments(command)
        command.set_defaults(main=partial(images.main, name))
    for module, what in (
        (heterogeneous, "every arm on tasks of different kinds, on frozen features"),
        (ranking, "every arm on ten attributes learned by ranking pairs"),
        (capture, "what listening costs, and clustering"),
    ):
        command = commands.add_parser(module.__name__.rpartition(".")[2], help=what)
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    arguments = parser.parse_args()
    result: int = arguments.main(arguments)
    return result


if __name__ == "__main__":
    sys.exit(main())
