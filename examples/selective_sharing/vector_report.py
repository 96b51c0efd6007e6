"""The table of a study on frozen vectors, beside the paper's: every number of it is in results.json too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.metrics_json import jsonable, write_metrics_json, write_whole
from examples.studies.runs import Result, Results
from examples.studies.seeds import over_seeds

from .vector_arms import VECTOR_TITLES


@dataclass(frozen=True)
class Column:
    """One measure in the table.

    Attributes:
        name: as the results call it.
        title: above the column, with the unit.
        factor: the number is multiplied by it, e.g. 100 for per cent.
        digits: behind the point.
    """

    name: str
    title: str
    factor: float = 100.0
    digits: int = 1


def write_report(out: Path, results: Results, columns: Sequence[Column], about: str, paper: str) -> str:
    """Writes `table.md` and `results.json` into `out`, and returns the former.

    Args:
        results: by arm and seed.
        columns: the measures, each as mean and standard deviation over the seeds; "score" is added.
        about: what was done, a paragraph above the table.
        paper: what stands below it: the paper's own numbers.
    """
    arms = list(dict.fromkeys(arm for arm, _ in results))
    shown = [*columns, Column("score", "score x 100", 100.0, 2)]
    head = ["arm", *(column.title for column in shown), "score - unmerged", "parameters", "branches", "locked", "CPU s"]
    lines = [about, "", _row(head), _row(["---"] * len(head))]
    for arm in arms:
        own = {seed: result for (name, seed), result in results.items() if name == arm}
        others = {seed: results["unmerged", seed] for seed in own if ("unmerged", seed) in results}
        lines.append(_row([VECTOR_TITLES[arm], *_cells(list(own.values()), shown), _difference(arm, own, others),
                           *_sizes(list(own.values()))]))  # fmt: skip
    lines += ["", _law(results), "", *_groups(results), "", paper]
    text = "\n".join(lines) + "\n"
    write_whole(out / "table.md", text)
    runs = [{"arm": arm, "seed": seed, **result} for (arm, seed), result in results.items()]
    write_metrics_json(out / "results.json", jsonable({"about": about, "runs": runs}))
    return text


def _cells(runs: Sequence[Result], columns: Sequence[Column]) -> list[str]:
    cells = []
    for column in columns:
        values = np.array([run["test"][column.name] for run in runs], dtype=np.float64) * column.factor
        spread = "" if len(values) < 2 else f" ± {values.std(ddof=1):.{column.digits}f}"
        cells.append(f"{values.mean():.{column.digits}f}{spread}")
    return cells


def _difference(arm: str, own: Mapping[int, Result], others: Mapping[int, Result]) -> str:
    """In the score, seed by seed: both arms of a seed have the same split and the same first weights."""
    if arm == "unmerged" or not others:
        return ""
    differences = [100 * (own[seed]["test"]["score"] - others[seed]["test"]["score"]) for seed in others]
    mean, low, high = over_seeds(differences)
    return f"{mean:+.2f}" + ("" if np.isnan(low) else f" [{low:+.2f}, {high:+.2f}]")


def _sizes(runs: Sequence[Result]) -> list[str]:
    """Parameters and branches of the tested net, the epoch of the lock, processor seconds; means over the seeds."""
    branches = [len(run["groups"]) for run in runs if "groups" in run]
    locks = [run["lock_epoch"] for run in runs if run.get("lock_epoch") is not None]
    return [
        f"{np.mean([run['parameters'] for run in runs]):,.0f}",
        ", ".join(map(str, branches)),
        ", ".join(str(lock + 1) for lock in locks),
        f"{np.mean([run['cpu_seconds'] for run in runs]):.0f}",
    ]


def _law(results: Results) -> str:
    """The parameter law, checked on every run that groups; branches are counted from the groups' names.

    Raises:
        ValueError: if a run breaks it.
    """
    laws = set()
    for (arm, seed), run in results.items():
        if "groups" not in run:
            continue
        fixed, per_branch = run["law"]
        laws.add((fixed, per_branch))
        if run["parameters"] != fixed + len(run["groups"]) * per_branch:
            raise ValueError(f"`results` must obey the parameter law, got {run['parameters']} for {arm}, seed {seed}")
    said = "; ".join(f"P(G) = {fixed:,} + {per_branch:,} G" for fixed, per_branch in sorted(laws))
    return f"Parameter law: {said}, exactly, in every run that groups." if laws else ""


def _groups(results: Results) -> list[str]:
    """The final groups of every run that groups, as its history's last record tells them."""
    lines = []
    for (arm, seed), run in results.items():
        if run.get("sharing"):
            last = run["sharing"][-1]
            best = "" if last["groups"] == len(run["groups"]) else f" (tested with {len(run['groups'])} branches)"
            lines.append(f"- {arm}, seed {seed}: {last['members']}{best}")
    return ["Groups at the end:", "", *lines] if lines else []


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
