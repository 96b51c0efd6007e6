"""The position a candidate was shown at, as a bucket and as a number; scoring sets it to one value for all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from features.errors import InputError
from features.scaling import RobustScaler, examined_numbers, infinite_faults
from features.tables import Block

MAX_BUCKETS = 64  # positions further down share the last bucket; the number still tells them apart


@dataclass(frozen=True)
class PositionEncoder:
    """A position becomes one of `buckets` + 1 categories (0 = missing) and the scaled number log(1 + position).

    Parameters
    ----------
    column : str
        The column of the log.
    buckets : int
        The largest position seen in training, at most 64.
    serving_value : int
        The position of every row at scoring, so that the log's own order is not replayed.
    offset : int
        Where the field begins in the fused embedding table.
    scaler : RobustScaler
        Of log(1 + position).
    """

    column: str
    buckets: int
    serving_value: int
    offset: int
    scaler: RobustScaler

    @property
    def numeric_name(self) -> str:
        """What the number is called among the numeric features."""
        return f"log1p({self.column})"

    def encode(self, column: Block, ids: np.ndarray, numeric: np.ndarray) -> None:
        """Write the bucket into `ids` `(n,)` int32 and the number into `numeric` `(n,)` float32; refuse infinity."""
        values, missing, infinite = examined_numbers(column, self.column)
        if infinite:
            raise InputError(infinite_faults(self.column, values))
        if missing is not None:
            values = np.where(missing, 1, values)
        values = np.maximum(values, 0)
        ids[...] = np.clip(values, 0, self.buckets).astype(np.int32) + self.offset
        self.scaler.transform(np.log1p(values, dtype=np.float64), numeric)
        if missing is not None:
            ids[missing] = self.offset
            numeric[missing] = 0.0

    def encode_serving(self, ids: np.ndarray, numeric: np.ndarray) -> None:
        """Write `serving_value` for every row."""
        one_id, one_number = np.empty(1, np.int32), np.empty(1, np.float32)
        self.encode(np.array([self.serving_value]), one_id, one_number)
        ids[...] = one_id
        numeric[...] = one_number

    def state(self) -> dict[str, Any]:
        """JSON-able, for `from_state`."""
        return asdict(self)

    @classmethod
    def from_state(cls, meta: dict[str, Any]) -> PositionEncoder:
        """The encoder that `state` described."""
        return cls(**{**meta, "scaler": RobustScaler(**meta["scaler"])})


__all__ = ["MAX_BUCKETS", "PositionEncoder"]
