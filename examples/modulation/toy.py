"""Table 1: three attributes, of which two are related."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import fmean

from examples.modulation import paper
from examples.modulation.many_tasks import IMAGES, MOUTH, SMILE, YOUNG, attribute_runs
from examples.modulation.runs import Unit, units
from examples.modulation.study import completed, conclude, sizes_of
from examples.modulation.tables import number
from examples.studies.runs import Results
from examples.studies.seeds import markdown, percent

TASKS = (SMILE, MOUTH, YOUNG)
ROWS = {
    "shared": ("shared, all three", Unit("shared", TASKS)),
    "shared unrelated": ("shared, the unrelated pair", Unit("shared", (SMILE, YOUNG))),
    "shared related": ("shared, the related pair", Unit("shared", (SMILE, MOUTH))),
    "independent": ("independent networks", None),
    "modulation": ("modulation", Unit("modulation", TASKS)),
    "regularised": ("modulation and regulariser", Unit("regularised", TASKS)),
}


def toy(arguments: argparse.Namespace) -> int:
    """`python -m examples.modulation toy`"""
    runs = attribute_runs(arguments.out, sizes_of(arguments), arguments.seeds)
    wanted = [*(unit for _, unit in ROWS.values() if unit is not None), *units(["independent"], TASKS)]
    results = completed(runs, wanted, IMAGES)
    if results is None:
        return 0
    header = ["", "smile", "mouth", "young", "UCR smile, young", "UCR smile, mouth",
              "paper: smile", "mouth", "young", "UCR smile, young", "UCR smile, mouth"]  # fmt: skip
    rows = [_row(key, words, unit, results, runs.seeds) for key, (words, unit) in ROWS.items()]
    parts = [
        f"'Smile' ({SMILE}) and 'mouth' ({MOUTH}) are of one family, 'young' ({YOUNG}) is of another.\n",
        markdown(header, rows),
        "## Mean and variance of the masks' differences\n",
        _distances(results, runs.seeds),
    ]
    return conclude(arguments.out, "toy", "Three attributes, two of them related", parts, [], results)


def _row(key: str, words: str, unit: Unit | None, results: Results, seeds: Sequence[int]) -> list[str]:
    cells = []
    for task in TASKS:
        source = Unit("independent", (task,)) if unit is None else unit
        cells.append(
            percent([results[source.name, s]["accuracy"][task] for s in seeds]) if task in source.tasks else ""
        )
    cells += [_compliance(unit, (SMILE, other), results, seeds) for other in (YOUNG, MOUTH)]
    printed = [("" if value is None else f"{100 * value:.1f}") for value in paper.TOY[key]]
    pair = {"shared unrelated": ("shared", 0), "shared related": ("shared", 1)}.get(key)
    ratios = ["", ""]
    if pair is not None:
        ratios[pair[1]] = f"{100 * paper.TOY_COMPLIANCE['shared'][pair[1]]:.1f}"
    elif key == "modulation":
        ratios = [f"{100 * ratio:.1f}" for ratio in paper.TOY_COMPLIANCE[key]]
    return [words, *cells, *printed, *ratios]


def _compliance(unit: Unit | None, pair: tuple[str, str], results: Results, seeds: Sequence[int]) -> str:
    """Of the training's minibatches."""
    if unit is None or not set(pair) <= set(unit.tasks) or "training" not in results[unit.name, seeds[0]]:
        return ""
    s, t = (unit.tasks.index(task) for task in pair)
    return percent([results[unit.name, seed]["training"]["ucr"][s][t] for seed in seeds])


def _distances(results: Results, seeds: Sequence[int]) -> str:
    rows = []
    for arm in ("modulation", "regularised"):
        tables = [results[Unit(arm, TASKS).name, seed]["distances"] for seed in seeds]
        for words, other in (("unrelated", YOUNG), ("related", MOUTH)):
            found = [next(r for r in table if {r["task"], r["other"]} == {SMILE, other}) for table in tables]
            mean, variance = paper.TOY_DISTANCES[words]
            printed = [f"{mean:.2f}", f"{variance:.3f}"] if arm == "modulation" else ["", ""]
            rows.append([f"{ROWS[arm][0]}, {words} pair", number([r["mean"] for r in found], signed=False),
                         f"{fmean(r['variance'] for r in found):.3f}", *printed])  # fmt: skip
    return markdown(["", "mean", "variance", "paper: mean", "variance"], rows)
