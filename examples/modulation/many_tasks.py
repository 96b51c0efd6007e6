"""Table 3: twenty attributes, every arm; and what the number of tasks changes: 7, 20, 40."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import cast

from examples.modulation import paper
from examples.modulation.attributes import MOST, attribute_names, make_attributes
from examples.modulation.claims import ahead
from examples.modulation.figures import gain_figure, mask_figure
from examples.modulation.runs import Runs, Sizes, Unit, units
from examples.modulation.study import completed, conclude, sizes_of
from examples.modulation.tables import accuracy_table, per_task_table, task_accuracies
from examples.studies.seeds import differences, markdown, percent
from multitask.modulation import Modulation

ARMS = ("modulation", "independent", "ib_wide", "only_mask", "ib_narrow", "csn", "shared")
COUNTS = (7, 20)  # of the same images
SEEDS_OF_MOST = 1  # 40 tasks, on images of their own: a run is four minutes
COUNT_ARMS = ("modulation", "independent", "ib_narrow", "csn", "shared")
IMAGES = {"train": 6000, "test": 2000}
NAMES = attribute_names(20)
SMILE, MOUTH, YOUNG = "a00", "a05", "a01"  # what they are to each other in the paper: two relatives and a stranger
TRIPLETS = 4500


def attribute_runs(out: Path, sizes: Sizes, seeds: int, present: int = len(NAMES)) -> Runs:
    """The runs on the images with 20 attributes, which several studies look at, or on those with `present`."""
    images = partial(make_attributes, present, IMAGES["train"], IMAGES["test"], sizes.network.image)
    return Runs(out / f"attributes{present}", images, sizes, range(seeds), related=[(SMILE, MOUTH, YOUNG)])


def attributes(arguments: argparse.Namespace) -> int:
    """`python -m examples.modulation attributes`"""
    sizes, tasks = sizes_of(arguments), NAMES
    runs = attribute_runs(arguments.out, sizes, arguments.seeds)
    results = completed(runs, units(ARMS, tasks), IMAGES)
    if results is None:
        return 0
    seeds, ours = runs.seeds, {arm: task_accuracies(results, arm, tasks, runs.seeds).mean(1).tolist() for arm in ARMS}
    parts = [
        accuracy_table(results, ARMS, tasks, seeds, sizes.network, paper.ATTRIBUTES_20),
        "The paper counts " + ", ".join(f"{n} ({arm})" for arm, n in paper.ADDITIONAL_20.items()) + " parameters.\n",
        per_task_table(results, ARMS, tasks, seeds),
    ]
    claims = [
        ahead("modulation", ours["modulation"], "fully shared", ours["shared"], 10),
        ahead("modulation", ours["modulation"], "CSN", ours["csn"], 5),
        ahead("modulation", ours["modulation"], "independent networks", ours["independent"], -2),
    ]
    figure = mask_figure(cast(Modulation, runs.model(Unit("modulation", tasks), seeds[0])))
    figure.savefig(arguments.out / "attributes-masks.png", dpi=150)
    return conclude(arguments.out, "attributes", "Twenty attributes", parts, claims, results)


def tasks(arguments: argparse.Namespace) -> int:
    """`python -m examples.modulation tasks`"""
    sizes, found, results = sizes_of(arguments), {}, {}
    studies = [(attribute_runs(arguments.out, sizes, arguments.seeds), COUNTS),
               (attribute_runs(arguments.out, sizes, min(SEEDS_OF_MOST, arguments.seeds), MOST), (MOST,))]  # fmt: skip
    for runs, counts in studies:
        wanted = [unit for n in counts for unit in units(COUNT_ARMS, attribute_names(n))]
        done = completed(runs, list({unit.name: unit for unit in wanted}.values()), IMAGES)
        if done is None:
            return 0
        results |= {(f"{runs.out.name}/{name}", seed): record for (name, seed), record in done.items()}
        for n in counts:
            tables = {arm: task_accuracies(done, arm, attribute_names(n), runs.seeds) for arm in COUNT_ARMS}
            found[n] = {arm: table.mean(1).tolist() for arm, table in tables.items()}
    printed = {7: paper.ATTRIBUTES_7, 20: paper.ATTRIBUTES_20, 40: paper.ATTRIBUTES_40}
    rows = []
    for n, values in found.items():
        gains = [percent(differences(values["modulation"], values[arm]), signed=True) for arm in ("shared", "csn")]
        ours, theirs = printed[n].get("modulation"), printed[n].get("shared")
        theirs_gain = "" if ours is None or theirs is None else f"{100 * (ours - theirs):+.1f}"
        rows.append(
            [str(n), str(len(values["shared"])), *(percent(values[arm]) for arm in COUNT_ARMS), *gains, theirs_gain]
        )
    header = ["tasks", "seeds", *COUNT_ARMS, "gain over shared", "gain over CSN", "paper: gain over shared"]
    words = (
        f"The paper has 40 tasks with modulation at {100 * paper.ATTRIBUTES_40['modulation']:.1f} and with narrow "
        f"branches at {100 * paper.ATTRIBUTES_40['ib_narrow']:.1f}.\n"
    )
    gain_figure(found).savefig(arguments.out / "tasks.png", dpi=150)
    return conclude(arguments.out, "tasks", "The number of tasks", [markdown(header, rows), words], [], results)
