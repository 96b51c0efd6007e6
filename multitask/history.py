"""What happened in a training run, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Epoch:
    """One epoch: `number` from 0, mean training loss per step, the validation metrics, seconds of training alone."""

    number: int
    train_loss: float
    metrics: Mapping[str, float]
    seconds: float
    rows_per_second: float | None


@dataclass
class History:
    """The epochs of a run, the best of them, and whether it stopped early.

    `best_epoch` and `best_value` are None when nothing was validated; then the last epoch's weights were kept.

    >>> History([Epoch(0, 0.7, {"validation_loss": 0.6}, 1.5, 2000.0)]).table()["validation_loss"].tolist()
    [0.6]
    """

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    stopped_early: bool = False

    def table(self) -> pd.DataFrame:
        """One row per epoch: epoch, train_loss, one column per metric, seconds, rows_per_second."""
        import pandas as pd

        rows = [
            {
                "epoch": epoch.number,
                "train_loss": epoch.train_loss,
                **epoch.metrics,
                "seconds": epoch.seconds,
                "rows_per_second": epoch.rows_per_second,
            }
            for epoch in self.epochs
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{**state, "epochs": [Epoch(**epoch) for epoch in state["epochs"]]})
