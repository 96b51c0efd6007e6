"""Figure 6 of [Booking]: does learning all tasks at once help the unbalanced ones most?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array
from evaluation.gallery.task_optima import KENDALL, PSEUDO
from multitask.tasks import Task

FEWEST_TASKS = 4  # below, a correlation says nothing


@dataclass(frozen=True)
class ClassBalance:
    """Figure 6 as tables.

    Attributes:
        points: One row per binary task, loss and metric: task, minority, loss, metric, relative.
        correlations: One row per loss and metric: loss, metric, tasks, r, low, high (95 %, bootstrap over tasks), p (of
            r = 0, two-sided), slope, intercept (of the least-squares line), reason (why there is no r, else None).
    """

    points: pd.DataFrame
    correlations: pd.DataFrame


def class_balance(
    tasks: Sequence[Task],
    labels: npt.ArrayLike,
    table: pd.DataFrame,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> ClassBalance:
    """Pearson's r between the minority class's share and (e_MTL - e_opt) / e_opt, over the binary tasks.

    A positive r is the paper's finding (r = .78 and .80): the rarer the minority, the less multi-task learning costs.
    The interval resamples tasks, for it is over tasks that the claim generalises.

    Args:
        tasks: The T tasks.
        labels: `(M, T)` the labels whose balance counts (all, or the training ones), NaN = missing.
        table: From `task_optima_table`.
        replicates, seed: Of the bootstrap.

    >>> shares, y = [0.1, 0.2, 0.3, 0.4, 0.5], np.zeros((10, 5))
    >>> for t in range(5):
    ...     y[: t + 1, t] = 1
    >>> table = pd.DataFrame({"task": list("abcde"), "kind": "binary", "metric": "error", "relative_pseudo": shares})
    >>> class_balance([Task(name) for name in "abcde"], y, table).correlations.loc[0, "r"].round(6)
    np.float64(1.0)
    """
    y = float_array("labels", labels, ndim=2)
    if y.shape[1] != len(tasks):
        raise ValueError(f"`labels` must have {len(tasks)} columns, one per task, got {y.shape[1]}")
    minority = {task.name: minority_share(y[:, t]) for t, task in enumerate(tasks) if task.kind == "binary"}
    points, correlations = [], []
    binary = table[(table["kind"] == "binary") & table["task"].isin(list(minority))]
    for metric, rows in binary.groupby("metric", sort=False):
        for loss in (PSEUDO, KENDALL):
            column = f"relative_{loss}"
            if column not in rows:
                continue
            found = rows[rows[column].notna()]
            x = np.array([minority[name] for name in found["task"]])
            values = found[column].to_numpy(dtype=np.float64)
            points += [
                {"task": name, "minority": share, "loss": loss, "metric": str(metric), "relative": value}
                for name, share, value in zip(found["task"], x, values)
            ]
            correlations.append({"loss": loss, "metric": str(metric), **_correlation(x, values, replicates, seed)})
    return ClassBalance(
        pd.DataFrame(points, columns=["task", "minority", "loss", "metric", "relative"]),
        pd.DataFrame(
            correlations,
            columns=["loss", "metric", "tasks", "r", "low", "high", "p", "slope", "intercept", "reason"],
        ),
    )


def minority_share(labels: FloatArray) -> float:
    """The share of the rarer class among the labelled rows, 0 .. 0.5; NaN without a label.

    >>> minority_share(np.array([1.0, 1.0, 1.0, 0.0, np.nan]))
    0.25
    """
    seen = labels[~np.isnan(labels)]
    return float(min(seen.mean(), 1.0 - seen.mean())) if len(seen) else float("nan")


def _correlation(x: FloatArray, y: FloatArray, replicates: int, seed: int) -> dict[str, float | int | str | None]:
    from scipy.stats import pearsonr

    nothing = {"r": np.nan, "low": np.nan, "high": np.nan, "p": np.nan, "slope": np.nan, "intercept": np.nan}
    if len(x) < FEWEST_TASKS:
        return {"tasks": len(x), **nothing, "reason": f"fewer than {FEWEST_TASKS} binary tasks"}
    if not (np.ptp(x) > 0.0 and np.ptp(y) > 0.0):
        return {"tasks": len(x), **nothing, "reason": "all tasks have the same balance or the same benefit"}
    r, p = pearsonr(x, y)
    slope, intercept = np.polyfit(x, y, 1)
    drawn = np.random.default_rng(seed).integers(len(x), size=(replicates, len(x)))
    draws = _pearson(x[drawn], y[drawn])
    low, high = np.quantile(draws[np.isfinite(draws)], [0.025, 0.975])
    line = {"slope": float(slope), "intercept": float(intercept)}
    found = {"r": float(r), "low": float(low), "high": float(high), "p": float(p)}
    return {"tasks": len(x), **found, **line, "reason": None}


def _pearson(x: FloatArray, y: FloatArray) -> FloatArray:
    """Row-wise r `(replicates,)`; NaN where a replicate drew one task only."""
    dx, dy = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    under = np.sqrt((dx**2).sum(axis=1) * (dy**2).sum(axis=1))
    safe = under > 1e-12 * max(float(np.abs(dx).max() * np.abs(dy).max()), 1e-300)
    return np.where(safe, (dx * dy).sum(axis=1) / np.where(safe, under, 1.0), np.nan)
