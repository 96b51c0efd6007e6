"""The optimum of figure 5: one network per task, of the same architecture, trained on that task alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.checks import IntArray, float_array
from evaluation.gallery.label_training import LabelTraining
from evaluation.gallery.resumable import KeptResults
from evaluation.gallery.task_scores import TaskRows, predictions_of, task_rows
from multitask import Task


def train_single_tasks(
    training: LabelTraining,
    tasks: Sequence[Task],
    labels: npt.ArrayLike,
    train_rows: IntArray,
    validation_rows: IntArray,
    test_rows: IntArray,
    *,
    learning_rates: Sequence[float] = (3e-4, 1e-3),
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, TaskRows]:
    """Train one network per task and score it on the test rows.

    Each learning rate is tried; the network with the smallest validation loss counts.

    Args:
        training: Photos and settings; its weighting plays no part with one task.
        tasks: The T tasks.
        labels: `(V, T)` one row per item of the data set, NaN = missing.
        train_rows, validation_rows, test_rows: Rows of the items table; a task uses those that carry its label.
        learning_rates: Those tried.
        seed: Of every training.
        folder: One JSON file per task lies there, so that a run that was killed goes on with the next task.
        progress: Called with a line before each task.

    Returns:
        Task -> the losses on the test rows, numbered 0 .. len(test_rows) - 1, as `task_optima_table` takes them. A
        task without a label in one of the three parts is left out.
    """
    y, kept = float_array("labels", labels, ndim=2), KeptResults(folder)
    digest = hashlib.sha256(y.tobytes())
    for rows in (train_rows, validation_rows, test_rows):
        digest.update(np.asarray(rows, dtype=np.int64).tobytes())
    settings = {**training.settings(), "labels": digest.hexdigest(), "rates": list(learning_rates), "seed": seed}
    found: dict[str, TaskRows] = {}
    for t, task in enumerate(tasks):
        train, validation = (rows[~np.isnan(y[rows, t])] for rows in (train_rows, validation_rows))
        if not len(train) or not len(validation) or np.isnan(y[test_rows, t]).all():
            continue
        if progress is not None:
            progress(f"task {t + 1} of {len(tasks)}: {task.name}")

        def compute(
            t: int = t, task: Task = task, train: IntArray = train, validation: IntArray = validation
        ) -> dict[str, Any]:
            column = y[:, [t]]
            trials = [
                training.fit([task], column, train, validation, seed=seed, learning_rate=rate)
                for rate in learning_rates
            ]
            best = int(np.argmin([trial.validation_loss for trial in trials]))
            outputs = training.outputs(trials[best].network, test_rows)
            rows = task_rows([task], predictions_of([task], outputs), column[test_rows])[task.name]
            return {
                "rows": rows.rows,
                "log_loss": rows.log_loss,
                "error": rows.error,
                "learning_rate": learning_rates[best],
                "passes": len(trials[best].history.epochs),
            }

        result = kept.of(task.name, {**settings, "task": t}, compute)
        found[task.name] = TaskRows(
            np.asarray(result["rows"], dtype=np.intp),
            np.asarray(result["log_loss"], dtype=np.float64),
            np.asarray(result["error"], dtype=np.float64),
        )
    return found
