"""Table 2's end-to-end arm: the encoder's own network trained on the held-out attribute itself, tuned on validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.checks import IntArray
from evaluation.gallery.label_training import LabelTraining
from evaluation.gallery.probe_arms import Trial
from evaluation.gallery.probe_heads import Fitted
from evaluation.gallery.task_scores import predictions_of
from multitask import Task

LEARNING_RATES = (3e-4, 1e-3, 3e-3)


class EndToEndArm:
    """An arm of `HoldoutProbe`: "a model of the same configuration, but trained end-to-end on one specific objective".

    Every fit tries each learning rate and keeps the network with the smallest cross entropy on the validation items,
    so the arm is tuned on the same items that stop the frozen arms' heads. Its epochs and patience are the training
    settings of the `EncoderConfig`: give it enough of both.

    Args:
        training: Photos and settings.
        item_rows: `(N,)` the row in the items table of each of the probe's labels.
        learning_rates: Those tried.

    Raises:
        ValueError: no learning rate, or rows outside the items table.
    """

    head = "two-layer"

    def __init__(
        self, training: LabelTraining, item_rows: npt.ArrayLike, *, learning_rates: Sequence[float] = LEARNING_RATES
    ) -> None:
        rows = np.asarray(item_rows, dtype=np.intp)
        if not learning_rates:
            raise ValueError("`learning_rates` must hold at least one, got none")
        if len(rows) and not 0 <= rows.min() <= rows.max() < training.index.items:
            raise ValueError(
                f"`item_rows` must lie within 0 .. {training.index.items - 1}, got {rows.min()} .. {rows.max()}"
            )
        self.training, self.item_rows, self.learning_rates = training, rows, tuple(learning_rates)

    def settings(self) -> dict[str, Any]:
        """As `Arm.settings`."""
        rows = hashlib.sha256(self.item_rows.tobytes()).hexdigest()
        return {**self.training.settings(), "rows": rows, "learning_rates": list(self.learning_rates)}

    def fit(self, trial: Trial) -> Fitted:
        """As `Arm.fit`; `details` name every learning rate's validation loss and the chosen one."""
        task = Task("held-out attribute", "multiclass", n_classes=trial.classes)
        seen = np.concatenate([trial.train, trial.validation])  # the test labels stay out of the network's reach
        labels = label_column(self.item_rows[seen], self.training.index.items, trial.labels[seen])
        found = [
            self.training.fit(
                [task],
                labels,
                self.item_rows[trial.train],
                self.item_rows[trial.validation],
                seed=trial.seed,
                learning_rate=rate,
                epochs=trial.epochs,
            )
            for rate in self.learning_rates
        ]
        chosen = int(np.argmin([trained.validation_loss for trained in found]))
        best = found[chosen]
        outputs = self.training.outputs(best.network, self.item_rows[trial.test])
        details = {
            "learning_rate": self.learning_rates[chosen],
            "passes": len(best.history.epochs),
            "kept": best.kept,
            "validation_losses": {
                f"{rate:g}": trained.validation_loss for rate, trained in zip(self.learning_rates, found)
            },
        }
        return Fitted(predictions_of([task], outputs)[task.name], details)


def label_column(rows: IntArray, items: int, labels: IntArray) -> npt.NDArray[np.float64]:
    """Labels of some items as a column `(items, 1)` over all of them, NaN elsewhere: for `training_step_times`.

    >>> label_column(np.array([2, 0]), 3, np.array([5, 7])).ravel().tolist()
    [7.0, nan, 5.0]
    """
    column = np.full((items, 1), np.nan)
    column[rows, 0] = labels
    return column
