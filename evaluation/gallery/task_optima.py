"""Figure 5 of [Booking]: what learning every task at once costs each single task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.bootstrap import clustered_bootstrap
from evaluation.checks import FloatArray
from evaluation.clusters import Clusters
from evaluation.gallery.task_scores import Predictions, TaskRows, base_predictions, by_kind, task_rows
from multitask.tasks import Task

METRICS = ("error", "log_loss")
PSEUDO, KENDALL = "pseudo", "kendall"


def task_optima_table(
    tasks: Sequence[Task],
    mtl: Mapping[str, Predictions],
    optimum: Mapping[str, TaskRows | npt.ArrayLike],
    labels: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    *,
    replicates: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Per task (e_MTL - e_opt) / e_opt, with a bootstrap interval clustered by group.

    e is the share of wrong classes or the mean squared error, as in figure 5 of [Booking], and once more the log loss
    (of a regression again the mean squared error, which is its log loss up to a constant). e_opt is a network of the
    same architecture trained on that task alone, e_base the majority class (by log loss the base rate) or the mean of
    the training labels.

    Args:
        tasks: The T tasks.
        mtl: "pseudo" and / or "kendall" -> the multi-task networks' predictions for the test rows.
        optimum: Task -> the single-task network's losses (`train_single_tasks`), or its predictions; tasks without one
            are left out.
        labels: `(N, T)` the test rows' labels, NaN = missing.
        train_labels: `(M, T)` for the benchmark.
        groups: `(N,)` groups of items that are not independent.
        replicates, seed: Of the bootstrap.

    Returns:
        One row per task and metric ("error", "log_loss"), by kind: task, kind, metric, rows, e_mtl_<loss>, e_opt,
        e_base, relative_<loss> with low_<loss> and high_<loss> (95 %, percentiles), relative_base. NaN where the
        optimum makes no error at all.

    Raises:
        ValueError: another name among `mtl`, no task with an optimum, an optimum on other rows; and as `task_rows`.

    >>> y = np.array([[1.0], [0.0]] * 10)
    >>> p = np.array([0.9, 0.1, 0.4, 0.6] * 5)
    >>> table = task_optima_table([Task("pool")], {"pseudo": {"pool": p}}, {"pool": p}, y, y, range(20), replicates=20)
    >>> table["relative_pseudo"].tolist(), table["relative_base"].round(2).tolist()
    ([0.0, 0.0], [0.0, 0.36])
    """
    unknown = sorted(set(mtl) - {PSEUDO, KENDALL})
    if unknown or not mtl:
        raise ValueError(f"`mtl` must hold {PSEUDO!r} and / or {KENDALL!r}, got {sorted(mtl)}")
    chosen = by_kind([task for task in tasks if task.name in optimum])
    if not chosen:
        raise ValueError(f"`optimum` must hold one of the tasks {[task.name for task in tasks]}, got {sorted(optimum)}")
    columns = [list(tasks).index(task) for task in chosen]
    y = np.asarray(labels, dtype=np.float64)[:, columns]
    clusters = Clusters.of(groups if isinstance(groups, Clusters) else np.asarray(groups), len(y))
    losses = {loss: task_rows(chosen, predictions, y) for loss, predictions in mtl.items()}
    best = _optimum(chosen, optimum, y)
    train = np.asarray(train_labels, dtype=np.float64)[:, columns]
    base = task_rows(chosen, base_predictions(chosen, train, len(y)), y)
    records = []
    for task in chosen:
        for metric in METRICS:
            e_opt, e_base = best[task.name].metric(metric), base[task.name].metric(metric)
            codes = clusters.codes[best[task.name].rows]
            record: dict[str, Any] = {"task": task.name, "kind": task.kind, "metric": metric, "rows": len(e_opt)}
            for loss, rows in losses.items():
                record[f"e_mtl_{loss}"] = _mean(rows[task.name].metric(metric))
            record |= {"e_opt": _mean(e_opt), "e_base": _mean(e_base)}
            for loss, rows in losses.items():
                record |= _relative(loss, rows[task.name], metric, e_opt, codes, replicates, seed)
            record["relative_base"] = _ratio(e_base.sum(), e_opt.sum())
            records.append(record)
    return pd.DataFrame(records)


def pseudo_against_kendall(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """On how many tasks pseudo-uniform scaling beats Kendall's weights, per metric ([Booking]: 22 of 31, by error).

    Args:
        table: From `task_optima_table`, with both losses.

    Returns:
        Metric -> {"better", "equal", "worse", "tasks"}.

    >>> table = pd.DataFrame({"metric": ["error"] * 2, "e_mtl_pseudo": [0.1, 0.3], "e_mtl_kendall": [0.2, 0.2]})
    >>> pseudo_against_kendall(table)["error"]
    {'better': 1, 'equal': 0, 'worse': 1, 'tasks': 2}
    """
    counts = {}
    for metric, rows in table.groupby("metric", sort=False):
        pseudo, kendall = rows["e_mtl_pseudo"], rows["e_mtl_kendall"]
        counts[str(metric)] = {
            "better": int((pseudo < kendall).sum()),
            "equal": int((pseudo == kendall).sum()),
            "worse": int((pseudo > kendall).sum()),
            "tasks": len(rows),
        }
    return counts


def _optimum(
    tasks: Sequence[Task], optimum: Mapping[str, TaskRows | npt.ArrayLike], labels: FloatArray
) -> dict[str, TaskRows]:
    found = {}
    for t, task in enumerate(tasks):
        given = optimum[task.name]
        rows = given if isinstance(given, TaskRows) else _scored(task, given, labels[:, [t]])
        if not np.array_equal(rows.rows, np.flatnonzero(~np.isnan(labels[:, t]))):
            raise ValueError(f"`optimum` of task {task.name!r} must be of the rows that carry its label, got others")
        found[task.name] = rows
    return found


def _scored(task: Task, predictions: npt.ArrayLike, labels: FloatArray) -> TaskRows:
    return task_rows([task], {task.name: predictions}, labels)[task.name]


def _relative(
    loss: str,
    rows: TaskRows,
    metric: str,
    e_opt: FloatArray,
    codes: npt.NDArray[np.intp],
    replicates: int,
    seed: int,
) -> dict[str, float]:
    e_mtl = rows.metric(metric)
    value = _ratio(e_mtl.sum(), e_opt.sum())
    low = high = np.nan
    if np.isfinite(value) and len(np.unique(codes)) > 1:
        draws = clustered_bootstrap(
            lambda weights: _ratio(float(weights @ e_mtl), float(weights @ e_opt)),
            codes,
            replicates=replicates,
            seed=seed,
        )
        finite = draws[np.isfinite(draws)]  # a replicate may draw no error of the optimum
        if len(finite) > 1:
            low, high = np.quantile(finite, [0.025, 0.975])
    return {f"relative_{loss}": value, f"low_{loss}": float(low), f"high_{loss}": float(high)}


def _ratio(over: float, under: float) -> float:
    return float(over / under - 1.0) if under > 0.0 else float("nan")


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
