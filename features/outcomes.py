"""What happened to the rows of a role: labels, the protecting event, and how likely sampling was to keep each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.maturity import FITTED, mature_until, young
from features.protection import TOLERANCE, label_values, request_event, row_event
from features.sampling import negative_rates
from features.tables import Columns

if TYPE_CHECKING:
    from features.log import Log


class Outcomes:
    """Arrays allocated for the rows of a role and filled batch by batch.

    Parameters
    ----------
    dataset : Log
    role : str
    rows : int
        N, the most rows to come.
    drop_immature : bool
        Whether labels younger than their head's maturity are left out.
    """

    def __init__(self, dataset: Log, role: str, rows: int, *, drop_immature: bool) -> None:
        self.schema = schema = dataset.schema
        self.labels = np.empty((rows, len(schema.heads)), np.float32)
        self.event = np.empty(rows, np.float32)  # of the row itself, by its labels
        self.kept = np.ones(rows, bool)  # keep_prob is 1
        self.keep_prob = np.ones(rows, np.float32)
        self.sampling = schema.sampling if schema.sampling is not None and role in schema.sampling.roles else None
        # A rate by row is read in every role: it is the rate of training that the correction of any row must know.
        rate_column = schema.sampling.negative_rate_column if schema.sampling is not None else None
        self.rate_column = rate_column
        self.rates = None if rate_column is None else np.empty(rows, np.float64)
        until = mature_until(dataset) if drop_immature else {}
        self.latest = min(until.values()) if until and role in FITTED else None
        self.until = {} if role in FITTED else {schema.heads[name].column: time for name, time in until.items()}
        self.refused = 0
        self.immature: dict[str, int] = {}

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        optional = [self.schema.columns.keep_prob, self.rate_column]
        optional += [self.schema.columns.time] if self.latest is not None or self.until else []
        return [*self.schema.label_columns, *self.schema.protected_by, *(name for name in optional if name is not None)]

    def mature(self, table: pa.Table) -> np.ndarray | None:
        """Which rows `(n,)` bool of `table` stay, the others being counted as refused; None when all do."""
        if self.latest is None:
            return None
        refused = young(table[str(self.schema.columns.time)], self.latest)
        self.refused += int(refused.sum())
        return ~refused if refused.any() else None

    def read(self, columns: Columns, at: int) -> int:
        """Take in all rows of `columns` as rows `at`, `at` + 1, ...; returns the row after the last one."""
        stop = at + len(columns)
        names = dict.fromkeys([*self.schema.label_columns, *self.schema.protected_by])
        labels = {name: label_values(columns, name) for name in names}
        for column, until in self.until.items():
            labels[column] = self._without_immature(columns, column, labels[column], until)
        for j, name in enumerate(self.schema.label_columns):
            self.labels[at:stop, j] = labels[name]
        self.event[at:stop] = row_event([labels[name] for name in self.schema.protected_by])
        if self.schema.columns.keep_prob is not None:
            keep = label_values(columns, self.schema.columns.keep_prob)
            self.keep_prob[at:stop] = keep
            self.kept[at:stop] = np.abs(keep - 1.0) <= TOLERANCE
        if self.rates is not None and self.rate_column is not None:
            self.rates[at:stop] = negative_rates(columns, self.rate_column)
        return stop

    def _without_immature(self, columns: Columns, column: str, label: np.ndarray, until: float) -> np.ndarray:
        time = str(self.schema.columns.time)
        late = young(pa.chunked_array([columns.block(time, 0, len(columns))]), until) & ~np.isnan(label)
        if not late.any():
            return label
        head = next(name for name, head in self.schema.heads.items() if head.column == column)
        self.immature[head] = self.immature.get(head, 0) + int(late.sum())
        final = label.astype(np.float64)
        final[late] = np.nan
        return final

    def negative_rate(self, rows: int) -> float | np.ndarray:
        """The declared rate of the first `rows` rows, or one for all: 1 where that one does not apply to the role."""
        if self.rates is not None:
            return self.rates[:rows]
        return 1.0 if self.sampling is None or self.sampling.negative_rate is None else self.sampling.negative_rate

    def protected(self, requests: np.ndarray) -> np.ndarray:
        """The event `(N,)` float32 that protects from being dropped, for rows of the `requests` `(N,)` int64.

        1 exactly where keep_prob is 1 on rows that were sampled at a rate below 1; by the labels elsewhere.
        """
        rows = len(requests)
        event = self.event[:rows]
        if self.schema.sampling is not None and self.schema.sampling.unit == "request":
            event = request_event(event, requests)
        thinned = (self.sampling is not None) & (np.asarray(self.negative_rate(rows)) < 1.0 - TOLERANCE)
        return np.where(thinned, self.kept[:rows], event).astype(np.float32)


__all__ = ["Outcomes"]
