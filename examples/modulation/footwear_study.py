"""Table 6: real photos, four ways in which two shoes can be alike."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from examples.modulation import paper
from examples.modulation.claims import ahead
from examples.modulation.footwear import TASKS, load_footwear
from examples.modulation.retrieval import retrieval_sheet
from examples.modulation.runs import Runs, Unit, embed_tested, units
from examples.modulation.study import completed, conclude, sizes_of
from examples.modulation.tables import (
    accuracy_table,
    compliance_table,
    interference_table,
    mean_compliance,
    per_task_table,
    task_accuracies,
)
from multitask.interference import compliance_figure

ARMS = ("shared", "independent", "csn", "modulation")
QUERIES = 3  # sheets
TRIPLETS = 12_000
DATA = Path("../shared/data/footwear_attributes")


def footwear(arguments: argparse.Namespace) -> int:
    """`python -m examples.modulation footwear`"""
    sizes = sizes_of(arguments)
    images_of = partial(load_footwear, arguments.data, sizes.network.image)
    runs = Runs(arguments.out / "footwear", images_of, sizes, range(arguments.seeds))
    results = completed(runs, units(ARMS, TASKS), {"data": "footwear_attributes"})
    if results is None:
        return 0
    seeds, found = runs.seeds, {}
    for arm in ARMS:
        found[arm] = task_accuracies(results, arm, TASKS, runs.seeds).mean(1).tolist()
    parts = [accuracy_table(results, ARMS, TASKS, seeds, sizes.network, paper.SHOES),
             per_task_table(results, ARMS, TASKS, seeds),
             "## Update compliance, averages over the pairs\n",
             interference_table(results, TASKS, seeds),
             "### Fresh batches, trained networks: modulated / shared, per cent\n",
             compliance_table(results, TASKS, seeds, "diagnostic")]  # fmt: skip
    ours, shared = Unit("modulation", TASKS), Unit("shared", TASKS)
    tables = {"shared": mean_compliance(results, shared, seeds, "diagnostic"),
              "modulated": mean_compliance(results, ours, seeds, "diagnostic")}  # fmt: skip
    compliance_figure(tables, TASKS).savefig(arguments.out / "footwear-ucr.png", dpi=150)
    images = runs.images(seeds[0])
    embedded = {words: embed_tested(runs.model(Unit(arm, TASKS), seeds[0]), images)
                for arm, words in (("csn", "CSN"), ("modulation", "modulation"))}  # fmt: skip
    for number in range(QUERIES):
        sheet = retrieval_sheet(images, embedded, number * len(images.test) // QUERIES)
        sheet.savefig(arguments.out / f"footwear-retrieval-{number + 1}.png", dpi=130)
    claims = [
        ahead("modulation", found["modulation"], "fully shared", found["shared"], 0),
        ahead("modulation", found["modulation"], "CSN", found["csn"], 0),
    ]
    return conclude(arguments.out, "footwear", "Footwear: type, gender, usage, colour", parts, claims, results)
