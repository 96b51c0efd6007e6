"""python -m examples.many_tasks COMMAND"""

from __future__ import annotations

import argparse
import sys

from . import attributes, trivago

COMMANDS = {
    "trivago": (trivago, "six heads of the ranker on the hotel log"),
    "attributes": (attributes, "31 attributes of generated photos: the encoder, and trunks on its frozen vectors"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.many_tasks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, (module, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    arguments = parser.parse_args()
    result: int = arguments.main(arguments)
    return result


if __name__ == "__main__":
    sys.exit(main())
