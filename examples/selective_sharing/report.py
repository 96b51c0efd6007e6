"""`table.md` and `results.json` of an image study: the tables beside the paper's numbers, the claims, the groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.metrics_json import jsonable, write_metrics_json, write_whole
from examples.studies.claims import Claim
from examples.studies.runs import Results

from .arms import ARMS, TITLES
from .claims import claims
from .paper import PAPER, REMARKS
from .summary import BASELINES, arm_table, epoch_seconds, run_table

if TYPE_CHECKING:
    import pandas as pd

DEFINITIONS = """\
Top-1 is the class whose task is surest; binary and balanced accuracy are means over the tasks, each of which cuts at
one half: answering "no" throughout gives 1 - 1 / T of the former and 50 % of the latter. ± is the standard deviation
over seeds. Differences are seed by seed (same first weights of the trunk, same batches), with 95 % t intervals."""
COSTS = """\
Parameters and branches are the tested net's, which is the one of the best validation epoch. Seconds are processor time
of an epoch's training steps, medians: until the groups are locked, capturing and clustering included, and after."""


def write_report(out: Path, name: str, settings: dict[str, Any], results: Results, spans: Mapping[str, float]) -> str:
    """Writes both files into `out` and returns the text; of a study that is not finished, what there is.

    Args:
        name: of the image set.
        settings: as in `settings.json`.
        results: by arm and seed, at least one.
        spans: of the class activation maps, by net; empty if none were drawn.
    """
    results = {key: results[key] for key in sorted(results, key=lambda key: (ARMS.index(key[0]), key[1]))}
    runs = run_table(results)
    arms, stated = arm_table(runs), claims(name, runs)
    text = "\n".join(
        [
            _head(name, settings, runs),
            "",
            accuracy_table(name, arms),
            "",
            DEFINITIONS,
            REMARKS[name],
            "",
            cost_table(arms, runs),
            "",
            COSTS,
            "",
            *_laws(results),
            "",
            *_stated(stated),
            "",
            *_groups(runs),
            *_spans(spans),
            "",
        ]
    )
    write_whole(out / "table.md", text)
    seconds = [{"arm": arm, "seed": seed, "seconds": epoch_seconds(run)} for (arm, seed), run in results.items()]
    write_metrics_json(
        out / "results.json",
        jsonable({
            "settings": settings,
            "arms": arms,
            "runs": runs,
            "paper_top1": PAPER[name],
            "claims": [vars(claim) for claim in stated],
            "epoch_seconds": seconds,
            "activation_spans": spans,
        }),
    )  # fmt: skip
    return text


def accuracy_table(name: str, arms: pd.DataFrame) -> str:
    """Per arm, in %: top-1 beside the paper's, binary and balanced accuracy, top-1 less the baselines'."""
    head = ["arm", "seeds", "top-1", "paper", "binary", "balanced", "less MTL", "less one branch", "less random"]
    rows = []
    for row in arms.to_dict("records"):
        spread = "" if np.isnan(row["top1_deviation"]) else f" ± {row['top1_deviation']:.2f}"
        paper = PAPER[name].get(row["arm"])
        rows.append([
            TITLES[row["arm"]],
            str(row["seeds"]),
            f"{row['top1']:.2f}{spread}",
            "" if paper is None else f"{paper:.1f}",
            f"{row['binary']:.2f}",
            f"{row['balanced']:.2f}",
            *(_difference(row, f"less_{baseline}") for baseline in BASELINES),
        ])  # fmt: skip
    return markdown(head, rows)


def cost_table(arms: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Per arm: parameters, branches and lock of each seed, seconds per epoch before and after the lock."""
    head = ["arm", "parameters", "fewer, %", "branches", "locked after epoch", "best epoch"]
    head += ["s / epoch", "after the lock", "CPU min"]
    rows = []
    for row in arms.to_dict("records"):
        own = runs[runs.arm == row["arm"]]
        groups = bool((own.groups != "").any())
        rows.append([
            TITLES[row["arm"]],
            f"{row['parameters']:,.0f}",
            f"{row['fewer']:.1f}" if groups else "",
            ", ".join(map(str, own.branches)) if groups else str(own.branches.iloc[0]),
            ", ".join("never" if np.isnan(lock) else f"{lock:.0f}" for lock in own.lock) if groups else "",
            ", ".join(map(str, own.best_epoch)),
            f"{row['seconds_before']:.2f}",
            "" if np.isnan(row["seconds_after"]) else f"{row['seconds_after']:.2f}",
            f"{row['cpu_minutes']:.1f}",
        ])  # fmt: skip
    return markdown(head, rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is left-aligned, the others right.

    >>> print(markdown(["arm", "top-1"], [["random", "96.9"]]))
    | arm | top-1 |
    | --- | ---: |
    | random | 96.9 |
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _head(name: str, settings: dict[str, Any], runs: pd.DataFrame) -> str:
    images = "all" if settings["images"] is None else f"{settings['images']:,}"
    width = "" if settings["width"] == 1 else f", filters x {settings['width']}"
    return (
        f"{name}: {images} training images, {settings['epochs']} epochs{width}; {len(runs)} runs, "
        f"{runs.seed.nunique()} seeds, {runs.cpu_minutes.sum():.1f} minutes of one core."
    )


def _difference(row: dict[str, Any], name: str) -> str:
    mean, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if np.isnan(mean):
        return ""
    return f"{mean:+.2f}" + ("" if np.isnan(low) else f" [{low:+.2f}, {high:+.2f}]")


def _laws(results: Results) -> list[str]:
    laws = {tuple(run["law"].values()) for (arm, _), run in results.items() if arm != "cross_stitch"}
    return [
        f"P(G) = {trunk:,} (trunk) + {outputs:,} (outputs) + {branch:,} G (branches); G = 1 for the single-task net."
        for trunk, outputs, branch in sorted(laws)
    ]


def _stated(stated: Sequence[Claim]) -> list[str]:
    return ["To be shown; of several seeds, each one's number:", "", *map(str, stated)]


def _groups(runs: pd.DataFrame) -> list[str]:
    """Of each run that groups, the tested net's; and the last epoch's, should they differ."""
    lines = []
    for row in runs[runs.groups != ""].to_dict("records"):
        later = "" if row["groups"] == row["groups_at_end"] else f"; at the end {row['groups_at_end']}"
        lines.append(f"- {row['arm']}, seed {row['seed']}: {row['groups']}{later}")
    return ["Groups of the tested nets:", "", *lines] if lines else []


def _spans(spans: Mapping[str, float]) -> list[str]:
    if not spans:
        return []
    said = ", ".join(f"{net} {100 * value:.1f}" for net, value in spans.items())
    return ["", f"Class activation maps: share of the picture above half of the map's maximum, in %: {said}."]
