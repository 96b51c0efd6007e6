"""What a probe fits: a head on frozen vectors, or anything else that answers a trial."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from evaluation.checks import IntArray, float_array
from evaluation.gallery.probe_heads import STRENGTHS, Fitted, HeadConfig, fit_linear, fit_two_layer

Head = Literal["two-layer", "linear"]


@dataclass(frozen=True)
class Trial:
    """One fit that an arm is asked for; rows are numbers into the probe's `labels`.

    Attributes:
        labels: `(N,)` class numbers; an arm may look at those of `train` and `validation` only.
        classes: K.
        train, validation, test: Rows.
        inner: `(n + m,)` fold numbers of the training and then the validation rows, or None; see `fit_linear`.
        epochs: Passes over the training rows, exactly; None = until the validation loss stops improving.
        seed: Of everything random in the fit.
    """

    labels: IntArray
    classes: int
    train: IntArray
    validation: IntArray
    test: IntArray
    inner: IntArray | None
    epochs: int | None
    seed: int


@runtime_checkable
class Arm(Protocol):
    """A way to predict the held-out attribute: a head on frozen vectors, or a network trained end to end."""

    @property
    def head(self) -> str:
        """Which head's table it stands in."""

    def settings(self) -> Mapping[str, Any]:
        """Everything that the arm's results depend on beside the trial, JSON-able."""

    def fit(self, trial: Trial) -> Fitted:
        """Probabilities `(k, K)` for the trial's test rows."""


class FrozenArm:
    """A head on frozen vectors.

    Args:
        matrix: `(N, D)` one vector per label.
        head: "two-layer" or "linear".
        config: Settings of the two-layer head.
    """

    def __init__(self, matrix: npt.ArrayLike, head: Head, config: HeadConfig | None = None) -> None:
        self.matrix, self.head, self.config = float_array("matrix", matrix, ndim=2), head, config or HeadConfig()
        if not np.isfinite(self.matrix).all():
            raise ValueError("`matrix` must hold finite numbers, got NaN or infinities")

    def settings(self) -> dict[str, Any]:
        """The vectors' hash and the head's settings."""
        digest = hashlib.sha256(np.ascontiguousarray(self.matrix).data).hexdigest()
        head = self.config.model_dump() if self.head == "two-layer" else {"strengths": list(STRENGTHS)}
        return {"vectors": digest, "head": head}

    def fit(self, trial: Trial) -> Fitted:
        """As `Arm.fit`."""
        train = (self.matrix[trial.train], trial.labels[trial.train])
        validation = (self.matrix[trial.validation], trial.labels[trial.validation])
        test = self.matrix[trial.test]
        if self.head == "linear":
            return fit_linear(train, validation, test, trial.classes, inner=trial.inner)
        return fit_two_layer(train, validation, test, trial.classes, self.config, epochs=trial.epochs, seed=trial.seed)
