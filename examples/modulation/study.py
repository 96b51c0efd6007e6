"""What the studies have in common: their sizes, their folders, how they end."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.metrics_json import jsonable, write_metrics_json, write_whole
from examples.modulation.arms import NetworkSizes
from examples.modulation.runs import Runs, Sizes, Unit
from examples.modulation.tables import plain
from examples.studies.claims import Claim
from examples.studies.runs import Results

# A quarter of the paper's channels and a tenth of its pixels: a run is a minute or two of one core.
SMALL = Sizes(network=NetworkSizes(image=48, widths=(8, 16, 32, 32, 32), dim=64))


def add_arguments(parser: argparse.ArgumentParser, triplets: int) -> None:
    """What every study takes."""
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1")
    parser.add_argument("--triplets", type=int, default=triplets, help="training triplets of each task")
    parser.add_argument("--threads", type=int, default=1, help="of torch; start the command twice to use two cores")
    parser.add_argument("--out", type=Path, default=Path("runs/modulation"))


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    """The sizes that were asked for."""
    return replace(SMALL, triplets=arguments.triplets)


def completed(runs: Runs, wanted: Sequence[Unit], settings: dict[str, Any]) -> Results | None:
    """All the results, or None where another process is still at some of them: it will write the tables."""
    results = runs.results(wanted, settings)
    missing = len({unit.name for unit in wanted}) * len(runs.seeds) - len(results)
    if missing:
        print(f"{missing} runs are another process's, which writes the tables when they are done")
        return None
    return results


def conclude(
    folder: Path, name: str, title: str, parts: Sequence[str], claims: Sequence[Claim], results: Results
) -> int:
    """Writes NAME.md and NAME.json, prints the former; 0 if all the claims hold, 1 otherwise."""
    minutes = sum(record["cpu_seconds"] for record in results.values()) / 60
    seeds = sorted({seed for _, seed in results})
    words = (
        f"{len(results)} runs, {len(seeds)} seeds, {minutes:.0f} minutes of one core. Accuracies are per cent of the "
        "test triplets; brackets are 95 % intervals over the seeds."
    )
    text = "\n".join([f"# {title}\n", words + "\n", *parts, *(str(claim) for claim in claims), ""])
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.md", text)
    found = {"claims": [{"words": c.words, "holds": bool(c.holds)} for c in claims], "runs": plain(results)}
    write_metrics_json(folder / f"{name}.json", jsonable(found))
    print(text)
    print(f"-> {folder / name}.md, {name}.json")
    return 0 if all(claim.holds for claim in claims) else 1


def timed(main: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Runs a study and says how long it took."""
    began, cpu = time.perf_counter(), time.process_time()
    code = main(arguments)
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes, {(time.process_time() - cpu) / 60:.1f} of a core")
    return code
