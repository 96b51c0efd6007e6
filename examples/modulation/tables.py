"""What the studies print of their runs: accuracies, compliance, conflict; several seeds, beside the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from examples.modulation.arms import TITLES, NetworkSizes, make_arm
from examples.modulation.runs import Unit
from examples.studies.runs import Results
from examples.studies.seeds import differences, markdown, over_seeds, percent


def task_accuracies(results: Results, arm: str, tasks: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    """`(seeds, T)` accuracies of an arm; the independent networks' are gathered from their own runs."""
    if arm == "independent":
        names = [Unit(arm, (task,)).name for task in tasks]
        return np.array([[results[n, s]["accuracy"][t] for n, t in zip(names, tasks)] for s in seeds])
    name = Unit(arm, tuple(tasks)).name
    return np.array([[results[name, s]["accuracy"][t] for t in tasks] for s in seeds])


def cpu_seconds(results: Results, arm: str, tasks: Sequence[str], seeds: Sequence[int]) -> float:
    """Of all an arm's runs of one seed, on average."""
    chosen = [Unit(arm, (task,)) for task in tasks] if arm == "independent" else [Unit(arm, tuple(tasks))]
    return fmean(sum(results[unit.name, seed]["cpu_seconds"] for unit in chosen) for seed in seeds)


def additional_parameters(arm: str, tasks: Sequence[str], sizes: NetworkSizes) -> int:
    """What an arm adds to one network that all tasks share."""
    model = make_arm(arm, tasks, sizes)
    if arm == "independent":
        return (len(tasks) - 1) * sum(p.numel() for p in model.parameters())
    extra: int = model.extra_parameters
    return extra


def accuracy_table(
    results: Results,
    arms: Sequence[str],
    tasks: Sequence[str],
    seeds: Sequence[int],
    sizes: NetworkSizes,
    paper: Mapping[str, float],
) -> str:
    """One row per arm: mean accuracy over the tasks in per cent, less the fully shared network's, parameters, time."""
    header = ["arm", "accuracy", "less fully shared", "additional parameters", "at the paper's size", "CPU seconds",
              "paper: accuracy", "paper: less fully shared"]  # fmt: skip
    baseline = task_accuracies(results, "shared", tasks, seeds).mean(1).tolist()
    rows = []
    for arm in arms:
        values = task_accuracies(results, arm, tasks, seeds).mean(1).tolist()
        printed = paper.get(arm)
        rows.append([
            TITLES[arm], percent(values),
            "" if arm == "shared" else percent(differences(values, baseline), signed=True),
            f"{additional_parameters(arm, tasks, sizes):,}", f"{additional_parameters(arm, tasks, NetworkSizes()):,}",
            f"{cpu_seconds(results, arm, tasks, seeds):.0f}", "" if printed is None else f"{100 * printed:.1f}",
            "" if printed is None or arm == "shared" else f"{100 * (printed - paper['shared']):+.1f}",
        ])  # fmt: skip
    return markdown(header, rows)


def per_task_table(results: Results, arms: Sequence[str], tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """One row per task, one column per arm; means over the seeds."""
    columns = [task_accuracies(results, arm, tasks, seeds).mean(0) for arm in arms]
    rows = [[task, *(f"{100 * column[t]:.1f}" for column in columns)] for t, task in enumerate(tasks)]
    return markdown(["task", *(TITLES[arm] for arm in arms)], rows)


def mean_compliance(results: Results, unit: Unit, seeds: Sequence[int], source: str) -> np.ndarray:
    """`(T, T)` Update Compliance Ratios, the mean over seeds; `source` is "training" or "diagnostic"."""
    ratios = np.array([results[unit.name, seed][source]["ucr"] for seed in seeds], dtype=float)
    return np.nanmean(ratios, axis=0)


def compliance_table(results: Results, tasks: Sequence[str], seeds: Sequence[int], source: str) -> str:
    """Modulated / shared in per cent for each pair, as [Modulation] table 4 has it."""
    ours, shared = (
        100 * mean_compliance(results, Unit(arm, tuple(tasks)), seeds, source) for arm in ("modulation", "shared")
    )
    rows = [
        [task, *("" if s == t else f"{ours[s, t]:.0f} / {shared[s, t]:.0f}" for t in range(len(tasks)))]
        for s, task in enumerate(tasks)
    ]
    return markdown(["", *tasks], rows)


def interference(results: Results, unit: Unit, seeds: Sequence[int], source: str) -> dict[str, list[float]]:
    """Per seed: the mean over pairs of UCR and of the cosine, and the conflict index."""
    pairs = tuple(zip(*combinations(range(len(unit.tasks)), 2)))
    found = [results[unit.name, seed][source] for seed in seeds]
    return {
        "ucr": [float(np.nanmean(np.array(f["ucr"], dtype=float)[pairs])) for f in found],
        "cosine": [float(np.nanmean(np.array(f["cosines"], dtype=float)[pairs])) for f in found],
        "conflict": [f["conflict"] for f in found],
    }


def interference_table(
    results: Results, tasks: Sequence[str], seeds: Sequence[int], paper: Mapping[str, float] | None = None
) -> str:
    """Training and diagnostic: UCR in per cent, cosine, conflict index; means over pairs, intervals over seeds."""
    rows = []
    for source, batches in (("training", "minibatches of the training"), ("diagnostic", "fresh batches, trained")):
        for arm in ("shared", "modulation"):
            found = interference(results, Unit(arm, tuple(tasks)), seeds, source)
            printed = f"{paper[arm]:.1f}" if paper is not None and source == "training" else ""
            rows.append([f"{TITLES[arm]}, {batches}", percent(found["ucr"]), number(found["cosine"]),
                         number(found["conflict"]), printed])  # fmt: skip
    return markdown(["", "UCR", "cosine", "conflict index c", "paper: UCR"], rows)


def number(values: Sequence[float], *, signed: bool = True) -> str:
    """Any numbers over seeds, with the interval if there are several.

    >>> number([0.1, 0.2, 0.3]), number([2.0], signed=False)
    ('+0.200 [-0.048, +0.448]', '2.000')
    """
    mean, low, high = over_seeds(values)
    sign = "+" if signed else ""
    return f"{mean:{sign}.3f}" + ("" if np.isnan(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]")


def plain(results: Results) -> list[dict[str, Any]]:
    """The runs' own records, for results.json."""
    return [{"run": name, **record} for (name, _), record in sorted(results.items())]
