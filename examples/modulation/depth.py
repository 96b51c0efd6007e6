"""Tables 4 and 5: seven attributes, modulated from which block on, by vectors or matrices; update compliance."""

from __future__ import annotations

import argparse

from examples.modulation import paper
from examples.modulation.claims import above, ahead
from examples.modulation.many_tasks import IMAGES, NAMES, attribute_runs
from examples.modulation.runs import Unit, units
from examples.modulation.study import completed, conclude, sizes_of
from examples.modulation.tables import (
    accuracy_table,
    compliance_table,
    interference,
    interference_table,
    mean_compliance,
    per_task_table,
    task_accuracies,
)
from examples.studies.claims import Claim
from multitask.interference import compliance_figure

ARMS = ("shared", "independent", "csn", "block5", "modulation", "block3", "block2", "projection")
TASKS = NAMES[:7]
SOURCES = {"training": "minibatches of the training", "diagnostic": "fresh batches, trained networks"}
PAPER_UCR = {
    "shared": sum(paper.COMPLIANCE_SHARED) / len(paper.COMPLIANCE_SHARED),
    "modulation": sum(paper.COMPLIANCE_MODULATED) / len(paper.COMPLIANCE_MODULATED),
}


def depth(arguments: argparse.Namespace) -> int:
    """`python -m examples.modulation depth`"""
    sizes = sizes_of(arguments)
    runs = attribute_runs(arguments.out, sizes, arguments.seeds)
    results = completed(runs, units(ARMS, TASKS), IMAGES)
    if results is None:
        return 0
    seeds, ours, shared = runs.seeds, Unit("modulation", TASKS), Unit("shared", TASKS)
    parts = [accuracy_table(results, ARMS, TASKS, seeds, sizes.network, paper.ATTRIBUTES_7),
             per_task_table(results, ARMS, TASKS, seeds),
             "## Update compliance, averages over the pairs\n",
             interference_table(results, TASKS, seeds, PAPER_UCR)]  # fmt: skip
    for source, words in SOURCES.items():
        parts += [f"### {words}: modulated / shared, per cent\n", compliance_table(results, TASKS, seeds, source)]
        tables = {"shared": mean_compliance(results, shared, seeds, source),
                  "modulated": mean_compliance(results, ours, seeds, source)}  # fmt: skip
        compliance_figure(tables, TASKS).savefig(arguments.out / f"depth-ucr-{source}.png", dpi=150)
    accuracies = {arm: task_accuracies(results, arm, TASKS, seeds).mean(1).tolist() for arm in ARMS}
    before, after = (interference(results, unit, seeds, "diagnostic") for unit in (shared, ours))
    lower = above("minus the conflict index c, diagnostic", *([-c for c in f["conflict"]] for f in (after, before)))
    claims: list[Claim] = [
        ahead("modulation", accuracies["modulation"], "fully shared", accuracies["shared"], 10),
        ahead("modulation", accuracies["modulation"], "independent networks", accuracies["independent"], -2),
        above("diagnostic UCR", after["ucr"], before["ucr"]),
        lower,
    ]
    return conclude(arguments.out, "depth", "Seven attributes: how deep, and update compliance", parts, claims, results)
