"""A role of a log, encoded once and held column by column: what training, calibration and evaluation work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from features.errors import InputError
from features.inputs import Inputs
from features.outcomes import Outcomes
from features.protection import request_codes
from features.tables import Columns, one_chunk

if TYPE_CHECKING:
    from features.dataset import Dataset, LogBatch
    from features.encoders import Encoders

OWN = "impressions."  # names a column of the log where a side table has one of the same name


@dataclass(frozen=True, eq=False)
class EncodedLog:
    """N rows of a log, encoded.

    Parameters
    ----------
    inputs : Inputs
        Of N rows.
    labels : Tensor
        `(N, T)` float32 in the order of the schema's heads; NaN = not labelled.
    protected : Tensor
        `(N,)` float32, the any event, which saves a row (or its request) from being dropped: 1, 0, or NaN = unknown.
        On rows of a sampled role whose rate is below 1 the log itself tells, also where labels are missing: 1 exactly
        where keep_prob is 1 (within 1e-6). Elsewhere the labels tell: 1 if any of the schema's `protected_by` columns
        is 1, 0 if none is, and NaN wherever one of them is missing, also beside another that is 1: known positives
        beside unknown negatives would bias whatever is learned from them. When requests are the unit it is the event
        of all the request's rows in this log (so of the same role), NaN if one of them is unknown.
    keep_prob : Tensor
        `(N,)` float32, the probability that sampling kept the row: weights are 1 / keep_prob.
    negative_rate : Tensor or float
        The rate at which unprotected rows (or requests) were kept: one number, or `(N,)` float64. 1.0 = none dropped.
    requests : Tensor
        `(N,)` int64, 0, 1, 2, ... in the order in which requests first appear.
    row : Tensor
        `(N,)` int64 row numbers in the whole log, its files one after another.
    refused : int
        Rows left out because the log ended before their labels were final (roles train and calibrate).
    immature : mapping of head -> int
        Labels left out (NaN in `labels`) for the same reason in rows that stayed (roles tune and test); heads that
        lost none are not in it.
    """

    inputs: Inputs
    labels: Tensor
    protected: Tensor
    keep_prob: Tensor
    negative_rate: Tensor | float
    requests: Tensor
    row: Tensor
    refused: int = 0
    immature: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, index: Tensor) -> EncodedLog:
        """Rows by `(B,)` int64 index (a copy)."""
        return self._each(self.inputs.select(index), lambda rows: rows.index_select(0, index))

    def slice(self, start: int, stop: int) -> EncodedLog:
        """Rows `start` to `stop` as views: nothing is copied."""
        return self._each(self.inputs.slice(start, stop), lambda rows: rows[start:stop])

    def to(self, device: torch.device | str) -> EncodedLog:
        """The same rows on `device`."""
        return self._each(self.inputs.to(device), lambda rows: rows.to(device))

    def _each(self, inputs: Inputs, change: Callable[[Tensor], Tensor]) -> EncodedLog:
        """With `inputs` and every other part changed alike; the counts are of the whole log still."""
        rate = self.negative_rate
        return replace(
            self,
            inputs=inputs,
            labels=change(self.labels),
            protected=change(self.protected),
            keep_prob=change(self.keep_prob),
            negative_rate=change(rate) if isinstance(rate, Tensor) else rate,
            requests=change(self.requests),
            row=change(self.row),
        )


def encode_log(
    dataset: Dataset, encoders: Encoders, role: str, *, serving_position: bool, drop_immature: bool = True
) -> EncodedLog:
    """Encode all rows of a role in one streamed pass into tensors allocated beforehand.

    Parameters
    ----------
    dataset : Dataset
    encoders : Encoders
    role : str
        One of "train", "calibrate", "tune", "test".
    serving_position : bool
        Set every position to the schema's serving value instead of the logged one.
    drop_immature : bool
        Leave out what is not final at the end of the log: a click that a long click may still follow is not yet a
        negative. Roles train and calibrate lose the rows that are younger than the longest maturity of any head (a
        model is fitted to all heads of a row at once), counted in `refused`. Roles tune and test keep the rows, and a
        head's label becomes NaN where the row is younger than this head's own maturity, counted in `immature`.

    Raises
    ------
    InputError
        What `Dataset.scan` and `Encoders.encode` raise; a sampled row whose rate is missing or outside (0, 1].
    """
    schema = dataset.schema
    rows = dataset.count(role)
    inputs = encoders.allocate(rows)
    outcomes = Outcomes(dataset, role, rows, drop_immature=drop_immature)
    row = np.empty(rows, np.int64)
    request = schema.columns.request
    features = {f"{OWN}{name}": name for name in encoders.own_columns(serving_position=serving_position)}
    joined = [name for side in encoders.sides for name in side.required()]
    wanted = [*features, *joined, *encoders.vector_columns, *outcomes.columns, request]
    request_chunks: list[pa.Array] = []
    at = 0
    for batch in dataset.scan(list(dict.fromkeys(wanted)), role):
        table, numbers_of_rows = batch.table, batch.rows
        mature = outcomes.mature(table)
        if mature is not None:
            table, numbers_of_rows = table.filter(pa.array(mature)), numbers_of_rows[mature]
        columns = Columns(without_table_name(table))
        try:
            encoders.encode_into(columns, inputs, at, serving_position=serving_position)
            stop = outcomes.read(columns, at)
        except InputError as error:
            raise _located(error, dataset, batch, numbers_of_rows) from error
        row[at:stop] = numbers_of_rows
        request_chunks.append(one_chunk(columns.block(request, 0, len(columns))).dictionary_encode())
        at = stop
    codes = request_codes(request_chunks)
    rate = outcomes.negative_rate(at)
    return EncodedLog(
        inputs.slice(0, at),
        torch.from_numpy(outcomes.labels[:at]),
        torch.from_numpy(outcomes.protected(codes)),
        torch.from_numpy(outcomes.keep_prob[:at]),
        torch.from_numpy(rate) if isinstance(rate, np.ndarray) else rate,
        torch.from_numpy(codes),
        torch.from_numpy(row[:at]),
        outcomes.refused,
        outcomes.immature,
    )


def without_table_name(table: pa.Table) -> pa.Table:
    """Columns read as "impressions.device" (there may be another in a side table) under their own names."""
    names = {name: name.removeprefix(OWN) for name in table.schema.names}
    twice = [name for name, short in names.items() if name != short and short in names]
    return table.drop_columns(twice).rename_columns([short for name, short in names.items() if name not in twice])


def _located(error: InputError, dataset: Dataset, batch: LogBatch, rows: np.ndarray) -> InputError:
    """The same faults with their file, and rows counted within it; `rows` (n,) are the batch's rows in the log."""
    before = sum(dataset.file_rows[: dataset.impression_files.index(batch.file)])
    return InputError(
        replace(fault, file=fault.file or batch.file, row=None if fault.row is None else int(rows[fault.row]) - before)
        for fault in error.faults
    )


__all__ = ["OWN", "EncodedLog", "encode_log", "without_table_name"]
