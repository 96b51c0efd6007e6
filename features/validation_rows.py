"""What must hold in each row by itself: ids, labels, implications, positions, probabilities, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from features.findings import Findings
from features.ids import plain_type
from features.maturity import FITTED
from features.reading import time_seconds
from features.schema import ROLES
from features.splits import NO_ROLE, roles_by_name

if TYPE_CHECKING:
    from features.log import Log, RawBatch


@dataclass
class HeadCounts:
    """Of one head: rows with a label, and with label 1; too young for its maturity are `refused` rows of the roles
    train and calibrate (left out as a whole) and `immature` labels of tune and test (their rows stay)."""

    labelled: int = 0
    positives: int = 0
    refused: int = 0
    immature: int = 0


class RowChecks:
    """Checks the rows of one batch after the other; columns that are not usable are passed over.

    Parameters
    ----------
    dataset : Log
    findings : Findings
        Where the faults go.
    usable : set of str
        Columns that exist with the right type.
    roles : ndarray (num_rows,) int8 or None
        Roles of the rows; None when the split is faulty, then no row is counted as too young.
    """

    def __init__(self, dataset: Log, findings: Findings, usable: set[str], roles: np.ndarray | None) -> None:
        self.dataset, self.schema, self.findings, self.usable = dataset, dataset.schema, findings, usable
        self.roles = roles
        self.heads = {name: HeadCounts() for name in self.schema.heads}
        c, schema = self.schema.columns, self.schema
        self.numeric = [name for name in c.numeric if name in usable and dataset.place(name)[0] == "impressions"]
        named = [c.request, c.item, c.time, c.propensity, c.keep_prob, schema.split.column, *self.numeric]
        named += [schema.position.column if schema.position else None]
        self.labels = [name for name in dict.fromkeys([*schema.label_columns, *schema.protected_by]) if name in usable]
        self.columns = [name for name in dict.fromkeys([*named, *self.labels]) if name in usable]
        self.needs_time = schema.split.by == "time" or any(head.maturity for head in schema.heads.values())

    def check(self, batch: RawBatch, last_time: float | None) -> None:
        """Check one batch; `last_time` (seconds) is the log's end, from which maturity counts."""
        labels = {name: self._label(batch, name) for name in self.labels}
        self._ids_and_time(batch)
        self._implications(batch, labels)
        self._position(batch)
        self._probabilities(batch)
        self._count(batch, labels, last_time)
        for name in self.numeric:
            infinite = is_infinite(batch.table.column(name))
            self._rows(batch, name, infinite, "must be finite (null or NaN for a missing number)")

    def _rows(self, batch: RawBatch, column: str, bad: np.ndarray, message: str, *, values: bool = True) -> None:
        found = batch.table.column(column) if values else None
        self.findings.rows(bad, message, batch.file, self.dataset.place(column)[1], batch.first_row, found)

    def _label(self, batch: RawBatch, name: str) -> np.ndarray:
        """(n,) float64 with NaN for a missing label, after its faults are noted; a faulty label counts as missing."""
        label = as_floats(batch.table.column(name))
        null = is_null(batch.table.column(name))
        nan = np.isnan(label) & ~null
        if self.schema.policy.missing == "null":
            self._rows(batch, name, nan, 'label must be 0, 1 or null ([policy].missing = "nan" reads NaN as missing)')
        wrong = ~np.isnan(label) & (label != 0) & (label != 1)
        self._rows(batch, name, wrong, "label must be 0, 1 or null")
        return np.where(wrong, np.nan, label)

    def _ids_and_time(self, batch: RawBatch) -> None:
        c, split = self.schema.columns, self.schema.split
        for name in (c.request, c.item, *([c.time] if c.time and self.needs_time else [])):
            if name in self.usable:
                self._rows(batch, name, is_null(batch.table.column(name)), "must not be null", values=False)
        if split.column in self.usable and split.column is not None:
            unknown = roles_by_name(batch.table.column(split.column)) == NO_ROLE
            self._rows(batch, split.column, unknown, "must name a role: train, calibrate, tune or test")

    def _implications(self, batch: RawBatch, labels: dict[str, np.ndarray]) -> None:
        for name, head in self.schema.heads.items():
            for implied in head.implies:
                parent = self.schema.heads[implied].column
                if head.column in labels and parent in labels:
                    broken = (labels[head.column] == 1) & (labels[parent] == 0)
                    message = f"must be 0 where `{parent}` is 0, because `{name}` implies `{implied}`"
                    self._rows(batch, head.column, broken, message)

    def _position(self, batch: RawBatch) -> None:
        if self.schema.position is None or self.schema.position.column not in self.usable:
            return
        name = self.schema.position.column
        position = as_floats(batch.table.column(name))  # null -> NaN
        with np.errstate(invalid="ignore"):
            bad = ~(position >= 1) | (position != np.floor(position)) | np.isinf(position)
        self._rows(batch, name, bad & ~is_null(batch.table.column(name)), "position must be an integer of at least 1")
        self._rows(batch, name, is_null(batch.table.column(name)), "must not be null", values=False)

    def _probabilities(self, batch: RawBatch) -> None:
        c = self.schema.columns
        for name in (c.keep_prob, c.propensity):
            if name is None or name not in self.usable:
                continue
            null = is_null(batch.table.column(name))
            self._rows(batch, name, ~is_probability(batch.table.column(name)) & ~null, "must be in (0, 1]")
            self._rows(batch, name, null, "must not be null", values=False)

    def _count(self, batch: RawBatch, labels: dict[str, np.ndarray], last_time: float | None) -> None:
        time = self.schema.columns.time
        seconds = time_seconds(batch.table.column(time)) if last_time is not None and time in self.usable else None
        role = np.full(batch.table.num_rows, NO_ROLE, np.int8)
        if self.roles is not None:
            role = self.roles[batch.start : batch.start + len(role)]
        fitted = np.isin(role, [ROLES.index(name) for name in FITTED])
        for name, head in self.schema.heads.items():
            if head.column not in labels:
                continue
            label, counts = labels[head.column], self.heads[name]
            counts.labelled += int((~np.isnan(label)).sum())
            counts.positives += int((label == 1).sum())
            if head.maturity_seconds is not None and seconds is not None and last_time is not None:
                young = seconds > last_time - head.maturity_seconds
                counts.refused += int((young & fitted).sum())
                counts.immature += int((young & ~fitted & (role != NO_ROLE) & ~np.isnan(label)).sum())


def is_null(values: pa.ChunkedArray) -> np.ndarray:
    """(n,) bool."""
    return np.asarray(values.is_null().to_numpy(), dtype=bool)


def as_floats(values: pa.ChunkedArray) -> np.ndarray:
    """Numbers or booleans (n,) as float64, null -> NaN."""
    if pt.is_boolean(plain_type(values.type)):
        values = values.cast(pa.int8())
    floats = values.cast(pa.float64(), safe=False)
    return np.asarray(pc.fill_null(floats, float("nan")).to_numpy(), dtype=np.float64)


def is_probability(values: pa.ChunkedArray) -> np.ndarray:
    """(n,) bool: in (0, 1]; False for null and NaN."""
    numbers = as_floats(values)
    with np.errstate(invalid="ignore"):
        return (numbers > 0) & (numbers <= 1)


def is_infinite(values: pa.ChunkedArray) -> np.ndarray:
    """(n,) bool: plus or minus infinity; only floats can be."""
    if not pt.is_floating(values.type):
        return np.zeros(len(values), bool)
    return np.isinf(as_floats(values))
