"""The loss of every row and task: what base rates, figure 5 and figure 6 are all made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, float_array
from evaluation.proper_scores import row_log_losses
from multitask.tasks import Task, output_slices

Predictions = Mapping[str, npt.ArrayLike]

_LEAST = 1e-7  # probabilities are clipped here: they come from a float32 network
_KIND_ORDER = {"multiclass": 0, "binary": 1, "regression": 2}  # C, B, R: table 1 of [Booking]


@dataclass(frozen=True)
class TaskRows:
    """The losses of one task on the rows that carry its label.

    Attributes:
        rows: `(n,)` the rows.
        log_loss: `(n,)` -log of the probability given to what was seen; of a regression the squared error.
        error: `(n,)` 1 where the likeliest class was not what was seen, else 0; of a regression the squared error.
    """

    rows: npt.NDArray[np.intp]
    log_loss: FloatArray
    error: FloatArray

    def metric(self, name: str) -> FloatArray:
        """ "error" or "log_loss"."""
        return self.error if name == "error" else self.log_loss


def predictions_of(tasks: Sequence[Task], outputs: npt.ArrayLike) -> dict[str, FloatArray]:
    """A network's outputs as predictions.

    Args:
        tasks: The T tasks in the order of the columns.
        outputs: `(N, sum of widths)` logits, or values of a regression.

    Returns:
        Task -> `(N,)` probabilities of 1 (binary), `(N, K)` probabilities (multiclass), `(N,)` values (regression).

    >>> predictions_of([Task("pool"), Task("price", "regression")], [[0.0, 3.0]])
    {'pool': array([0.5]), 'price': array([3.])}
    """
    z = float_array("outputs", outputs, ndim=2)
    width = sum(task.width for task in tasks)
    if z.shape[1] != width:
        raise ValueError(f"`outputs` must have {width} columns, got {z.shape[1]}")
    found = {}
    for task, columns in zip(tasks, output_slices(tasks)):
        part = z[:, columns]
        if task.kind == "binary":
            found[task.name] = _sigmoid(part[:, 0])
        elif task.kind == "multiclass":
            powers = np.exp(part - part.max(axis=1, keepdims=True))
            found[task.name] = powers / powers.sum(axis=1, keepdims=True)
        else:
            found[task.name] = part[:, 0]
    return found


def base_predictions(tasks: Sequence[Task], train_labels: npt.ArrayLike, rows: int) -> dict[str, FloatArray]:
    """What the training labels alone predict for every one of `rows` rows: frequencies, or the mean.

    A class that training never saw gets the chance of half a label, so that its log loss is finite.

    Args:
        tasks: The T tasks.
        train_labels: `(M, T)` with NaN = missing.
        rows: N.

    Raises:
        ValueError: a task without a training label.

    >>> base_predictions([Task("pool")], [[1.0], [0.0], [0.0], [0.0]], rows=2)
    {'pool': array([0.25, 0.25])}
    """
    y = float_array("train_labels", train_labels, ndim=2)
    found = {}
    for t, task in enumerate(tasks):
        seen = y[~np.isnan(y[:, t]), t]
        if not len(seen):
            raise ValueError(f"`train_labels` must hold a label of task {task.name!r}, got none")
        if task.kind == "regression":
            found[task.name] = np.full(rows, seen.mean())
            continue
        counts = np.bincount(seen.astype(np.intp), minlength=task.n_classes).astype(float)
        counts = np.where(counts > 0, counts, 0.5)
        shares = counts / counts.sum()
        found[task.name] = np.full(rows, shares[1]) if task.kind == "binary" else np.tile(shares, (rows, 1))
    return found


def task_rows(tasks: Sequence[Task], predictions: Predictions, labels: npt.ArrayLike) -> dict[str, TaskRows]:
    """Row losses per task.

    Args:
        tasks: The T tasks.
        predictions: As `predictions_of` gives them, one entry per task.
        labels: `(N, T)` with NaN = missing; a regression's in the unit of its predictions.

    Raises:
        ValueError: a task without predictions, or predictions of another shape.

    >>> task_rows([Task("pool")], {"pool": [0.75, 0.75]}, [[1.0], [float("nan")]])["pool"].error.tolist()
    [0.0]
    """
    y = float_array("labels", labels, ndim=2)
    if y.shape[1] != len(tasks):
        raise ValueError(f"`labels` must have {len(tasks)} columns, one per task, got {y.shape[1]}")
    found = {}
    for t, task in enumerate(tasks):
        if task.name not in predictions:
            raise ValueError(f"`predictions` must hold task {task.name!r}, got {sorted(predictions)}")
        p = np.asarray(predictions[task.name], dtype=np.float64)
        wanted = (len(y), task.n_classes) if task.kind == "multiclass" else (len(y),)
        if p.shape != wanted:
            raise ValueError(f"`predictions` of task {task.name!r} must have shape {wanted}, got {p.shape}")
        rows = np.flatnonzero(~np.isnan(y[:, t]))
        if not np.isfinite(p[rows]).all():
            raise ValueError(f"`predictions` of task {task.name!r} must be finite, got NaN or infinities")
        found[task.name] = TaskRows(rows, *_losses(task, p[rows], y[rows, t]))
    return found


def by_kind(tasks: Sequence[Task]) -> list[Task]:
    """The tasks with the multiclass ones first, then binary, then regression, else in their order.

    >>> [task.name for task in by_kind([Task("pool"), Task("city", "multiclass", n_classes=3)])]
    ['city', 'pool']
    """
    return sorted(tasks, key=lambda task: _KIND_ORDER[task.kind])


def _losses(task: Task, p: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    if task.kind == "regression":
        squares = (p - y) ** 2
        return squares, squares
    if task.kind == "binary":
        return row_log_losses(y, p, _LEAST), np.asarray((p > 0.5) != (y > 0.5), dtype=np.float64)
    codes = y.astype(np.intp)
    given = np.clip(p[np.arange(len(p)), codes], _LEAST, 1.0)
    return -np.log(given), np.asarray(p.argmax(axis=1) != codes, dtype=np.float64)


def _sigmoid(z: FloatArray) -> FloatArray:
    small = np.exp(-np.abs(z))  # never overflows
    return np.asarray(np.where(z >= 0, 1.0, small) / (1.0 + small))
