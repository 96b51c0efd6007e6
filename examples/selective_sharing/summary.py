"""The runs of an image study as tables: one row per run, and one per arm over its seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from examples.studies.runs import Result, Results
from examples.studies.seeds import over_seeds

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("top1", "binary", "balanced")
BASELINES = ("unmerged", "one_branch", "random")


def run_table(results: Results) -> pd.DataFrame:
    """One row per run.

    Columns: arm, seed; top1, binary, balanced, in % of the test images; parameters of the tested net and `fewer`, the
    share in % that merging took away; branches of the tested net; law_exact, whether its parameters are P_trunk +
    P_outputs + G P_branch at the start and at the end (a cross-stitch net has its mixing besides: None); lock, the
    epochs done when the groups were locked (NaN = never, or nothing to lock); best_epoch, the epochs done by the tested
    net; seconds_before and seconds_after the lock, medians over the epochs in processor seconds of the training steps
    alone, the whole run being "before" where nothing locks; cpu_minutes of the run; groups, of the tested net as
    "4 9 | 0", and groups_at_end, after the last epoch's merges.
    """
    import pandas as pd

    rows = []
    for (arm, seed), run in results.items():
        lock = lock_epoch(run)
        before, after = seconds_around(run)
        rows.append(
            {"arm": arm, "seed": seed}
            | {name: 100 * run["test"][name] for name in MEASURES}
            | {
                "parameters": run["parameters"],
                "fewer": 100 * (1 - run["parameters"] / run["parameters_before"]),
                "branches": run["branches"],
                "law_exact": None if arm == "cross_stitch" else law_is_exact(run),
                "lock": np.nan if lock is None else lock,
                "best_epoch": run["best_epoch"] + 1,
                "seconds_before": before,
                "seconds_after": after,
                "cpu_minutes": run["cpu_seconds"] / 60,
                "groups": " | ".join(
                    " ".join("_".join(task.split()) for task in group) for group in run.get("tested_groups", [])
                ),
                "groups_at_end": run["sharing"][-1]["members"] if "sharing" in run else "",
            }
        )
    return pd.DataFrame(rows)


def arm_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per arm: the means over its seeds, and the differences of its top-1 to the baselines'.

    Columns: arm, seeds; top1, top1_deviation (NaN for one seed), binary, balanced; for each of `BASELINES` the mean
    difference `less_NAME` seed by seed, in points, with the ends `less_NAME_low` and `_high` of its 95 % t interval
    (NaN where no seed has both); parameters, fewer, branches, lock, best_epoch, seconds_before, seconds_after,
    cpu_minutes.
    """
    import pandas as pd

    top1 = runs.set_index(["arm", "seed"])["top1"]
    numbers = (
        "parameters",
        "fewer",
        "branches",
        "lock",
        "best_epoch",
        "seconds_before",
        "seconds_after",
        "cpu_minutes",
    )
    rows = []
    for arm, own in runs.groupby("arm", sort=False):
        row = {"arm": arm, "seeds": len(own), "top1": own.top1.mean(), "top1_deviation": own.top1.std(ddof=1)}
        row |= {name: own[name].mean() for name in ("binary", "balanced")}
        for baseline in BASELINES:
            differences = [top1[arm, seed] - top1[baseline, seed] for seed in own.seed if (baseline, seed) in top1]
            found = over_seeds(differences) if differences and baseline != arm else (np.nan,) * 3
            row |= {f"less_{baseline}{end}": value for end, value in zip(("", "_low", "_high"), found)}
        rows.append(row | {name: own[name].mean() for name in numbers})
    return pd.DataFrame(rows)


def lock_epoch(run: Result) -> int | None:
    """Epochs done when the groups were locked; None if they never were."""
    return next((record["epoch"] + 1 for record in run.get("sharing", []) if record["locked"]), None)


def epoch_seconds(run: Result) -> list[float]:
    """Processor seconds of each epoch's training steps."""
    return [epoch["cpu_seconds"] for epoch in run["epochs"]]


def seconds_around(run: Result) -> tuple[float, float]:
    """Median seconds of an epoch until the lock and after it; NaN where there is no such epoch."""
    seconds, lock = epoch_seconds(run), lock_epoch(run)
    lock = len(seconds) if lock is None else lock
    before, after = seconds[:lock], seconds[lock:]
    return (float(np.median(before)) if before else np.nan), (float(np.median(after)) if after else np.nan)


def law_is_exact(run: Result) -> bool:
    """P(G) = P_trunk + P_outputs + G P_branch, at the start (a branch per task, if the arm groups) and at the end."""
    law, groups = run["law"], run.get("tested_groups")
    fixed = law["trunk"] + law["outputs"]
    if groups is None:
        return bool(run["parameters"] == run["parameters_before"] == fixed + run["branches"] * law["branch"])
    tasks = sum(len(group) for group in groups)
    start = run["parameters_before"] == fixed + tasks * law["branch"]
    return bool(start and run["parameters"] == fixed + len(groups) * law["branch"])
