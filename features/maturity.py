"""Labels that are not final yet: how young a row may be, at the end of the log, for each head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from features.reading import time_seconds

if TYPE_CHECKING:
    import numpy as np

    from features.log import Log

FITTED = ("train", "calibrate")  # roles whose rows a model is fitted to: a row stays with all its labels or not at all


def mature_until(dataset: Log) -> dict[str, float]:
    """Head -> the time in seconds up to which its labels are final; heads that are final at once are not in it."""
    heads = {name: head.maturity_seconds for name, head in dataset.schema.heads.items() if head.maturity_seconds}
    last = dataset.last_time if heads else None
    return {} if last is None else {name: last - seconds for name, seconds in heads.items()}


def young(times: pa.Array | pa.ChunkedArray, until: float) -> np.ndarray:
    """Rows `(n,)` bool after `until` (seconds).

    Examples
    --------
    >>> young(pa.array([5, 6, None]), 5.0).tolist()
    [False, True, False]
    """
    after: np.ndarray = time_seconds(times) > until
    return after


__all__ = ["FITTED", "mature_until", "young"]
