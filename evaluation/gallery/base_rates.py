"""Is every task better than its base rate? By log loss, and the squared error of a regression, not by accuracy.

By accuracy the question is often empty: for an amenity that one property in twenty has, even the true probabilities
predict "no" everywhere, as the majority does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import Estimate
from evaluation.gallery.task_scores import Predictions, base_predictions, by_kind, task_rows
from evaluation.proper_scores import mean_influence
from multitask.tasks import Task

BETTER, NOT_SHOWN = "better", "not shown"


def base_rate_table(
    tasks: Sequence[Task],
    predictions: Predictions,
    labels: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
) -> pd.DataFrame:
    """Per task the loss of the predictions less that of the training labels' frequencies, or mean.

    The difference is paired by row; its standard error is clustered by group.

    Args:
        tasks: The T tasks.
        predictions: As `task_scores.predictions_of` gives them.
        labels: `(N, T)` of rows that training did not see, NaN = missing; a regression's in the unit of its
            predictions.
        train_labels: `(M, T)` the training rows' labels, for the base rates.
        groups: `(N,)` groups of items that are not independent; `np.arange(N)` where every item stands alone.

    Returns:
        One row per task, by kind: task, kind, rows, metric ("log loss" or "mean squared error"), value, base,
        difference (value - base: below 0 is better), se, low, high, relative (difference / base), error and
        base_error (share of wrong classes, or the mean squared error), verdict ("better": the 95 % interval lies below
        0; else "not shown"), reason (why there is no number, else None).

    Raises:
        ValueError: as `task_rows`.

    >>> y = [[1.0], [0.0]] * 10
    >>> p = {"pool": [0.8, 0.1] * 10}
    >>> base_rate_table([Task("pool")], p, y, y, range(20)).loc[0, ["metric", "verdict"]].tolist()
    ['log loss', 'better']
    """
    clusters = Clusters.of(groups if isinstance(groups, Clusters) else np.asarray(groups))
    ours = task_rows(tasks, predictions, labels)
    base = task_rows(tasks, base_predictions(tasks, train_labels, len(clusters.codes)), labels)
    records: list[dict[str, Any]] = []
    for task in by_kind(tasks):
        rows, theirs = ours[task.name], base[task.name]
        codes = clusters.codes[rows.rows]
        estimate = _difference(rows.log_loss - theirs.log_loss, codes)
        base_value = _mean(theirs.log_loss)
        records.append(
            {
                "task": task.name,
                "kind": task.kind,
                "rows": len(rows.rows),
                "metric": "mean squared error" if task.kind == "regression" else "log loss",
                "value": _mean(rows.log_loss),
                "base": base_value,
                "difference": estimate.value,
                "se": estimate.standard_error,
                "low": estimate.low,
                "high": estimate.high,
                "relative": estimate.value / base_value if base_value > 0.0 else np.nan,
                "error": _mean(rows.error),
                "base_error": _mean(theirs.error),
                "verdict": BETTER if estimate.high < 0.0 else NOT_SHOWN,
                "reason": estimate.reason,
            }
        )
    return pd.DataFrame(records)


def _difference(values: npt.NDArray[np.float64], codes: npt.NDArray[np.intp]) -> Estimate:
    if not len(values):
        return Estimate.missing("no row carries the label")
    mean, influence = mean_influence(values, np.ones(len(values)))
    error = clustered_standard_error(influence, codes)
    return Estimate.linear(mean, error, reason="fewer than two groups carry the label" if np.isnan(error) else None)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
