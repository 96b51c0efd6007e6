"""A role of a log, encoded once and held column by column: what training, calibration and evaluation work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from features.inputs import Inputs
from features.protection import label_values, request_codes, request_protection, row_protection
from features.reading import time_seconds
from features.tables import Columns, one_chunk

if TYPE_CHECKING:
    from features.dataset import Dataset
    from features.encoders import Encoders
    from features.schema import Schema

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
        `(N,)` float32, 1 where the event that saves a row from being dropped took place (any of the schema's
        `protected_by` columns is 1; of the row, or of any row of its request when requests were sampled). A missing
        label protects nothing.
    keep_prob : Tensor
        `(N,)` float32, the probability that sampling kept the row: weights are 1 / keep_prob.
    negative_rate : Tensor or float
        The rate at which unprotected rows (or requests) were kept: one number, or `(N,)` float64. 1.0 = none dropped.
    requests : Tensor
        `(N,)` int64, 0, 1, 2, ... in the order in which requests first appear.
    row : Tensor
        `(N,)` int64 row numbers in the whole log, its files one after another.
    refused : int
        Rows left out because the log ended before their labels were final.
    """

    inputs: Inputs
    labels: Tensor
    protected: Tensor
    keep_prob: Tensor
    negative_rate: Tensor | float
    requests: Tensor
    row: Tensor
    refused: int = 0

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, index: Tensor) -> EncodedLog:
        """Rows by `(B,)` int64 index (a copy)."""
        rate = self.negative_rate
        return EncodedLog(
            self.inputs.select(index),
            self.labels.index_select(0, index),
            self.protected.index_select(0, index),
            self.keep_prob.index_select(0, index),
            rate.index_select(0, index) if isinstance(rate, Tensor) else rate,
            self.requests.index_select(0, index),
            self.row.index_select(0, index),
            self.refused,
        )

    def slice(self, start: int, stop: int) -> EncodedLog:
        """Rows `start` to `stop` as views: nothing is copied."""
        rate = self.negative_rate
        return EncodedLog(
            self.inputs.slice(start, stop),
            self.labels[start:stop],
            self.protected[start:stop],
            self.keep_prob[start:stop],
            rate[start:stop] if isinstance(rate, Tensor) else rate,
            self.requests[start:stop],
            self.row[start:stop],
            self.refused,
        )

    def to(self, device: torch.device | str) -> EncodedLog:
        """The same rows on `device`."""
        rate = self.negative_rate
        return EncodedLog(
            self.inputs.to(device),
            self.labels.to(device),
            self.protected.to(device),
            self.keep_prob.to(device),
            rate.to(device) if isinstance(rate, Tensor) else rate,
            self.requests.to(device),
            self.row.to(device),
            self.refused,
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
        Leave out rows of the role "train" that are younger, at the end of the log, than the longest maturity of a head:
        a click that a long click may still follow is not yet a negative. They are counted in `refused`.

    Raises
    ------
    InputError
        What `Dataset.scan` and `Encoders.encode` raise.
    """
    schema = dataset.schema
    rows = dataset.count(role)
    inputs = encoders.allocate(rows)
    labels = np.empty((rows, len(schema.heads)), np.float32)
    protected, keep_prob = np.empty(rows, np.float32), np.ones(rows, np.float32)
    row = np.empty(rows, np.int64)
    rate_column = schema.sampling.negative_rate_column if schema.sampling is not None else None
    sampled = schema.sampling is not None and role in schema.sampling.roles
    rates = np.empty(rows, np.float64) if sampled and rate_column is not None else None
    latest = _latest_mature_time(dataset) if role == "train" and drop_immature else None
    request, time = schema.columns.request, schema.columns.time
    keep_column = schema.columns.keep_prob
    features = {f"{OWN}{name}": name for name in encoders.own_columns(serving_position=serving_position)}
    joined = [name for side in encoders.sides for name in side.required()]
    wanted = [*features, *joined, *encoders.vector_columns, *schema.label_columns, *schema.protected_by, request]
    wanted += [rate_column] if rates is not None and rate_column is not None else []
    wanted += [keep_column] if keep_column is not None else []
    wanted += [time] if latest is not None and time is not None else []
    request_chunks: list[pa.Array] = []
    at = refused = 0
    for batch in dataset.scan(list(dict.fromkeys(wanted)), role):
        table, numbers_of_rows = batch.table, batch.rows
        if latest is not None and time is not None:
            mature = time_seconds(table[time]) <= latest
            refused += int(len(mature) - mature.sum())
            if not mature.all():
                table, numbers_of_rows = table.filter(pa.array(mature)), numbers_of_rows[mature]
        columns = Columns(without_table_name(table))
        stop = encoders.encode_into(columns, inputs, at, serving_position=serving_position)
        for j, column in enumerate(schema.label_columns):
            labels[at:stop, j] = label_values(columns, column)
        protected[at:stop] = row_protection(columns, schema.protected_by)
        if keep_column is not None:
            keep_prob[at:stop] = label_values(columns, keep_column)
        if rates is not None and rate_column is not None:
            rates[at:stop] = label_values(columns, rate_column)
        row[at:stop] = numbers_of_rows
        request_chunks.append(one_chunk(columns.block(request, 0, len(columns))).dictionary_encode())
        at = stop
    codes = request_codes(request_chunks)
    if schema.sampling is not None and schema.sampling.unit == "request":
        protected[:at] = request_protection(dataset)[row[:at]]
    rate: Tensor | float = 1.0
    if rates is not None:
        rate = torch.from_numpy(rates[:at])
    elif sampled and schema.sampling is not None and schema.sampling.negative_rate is not None:
        rate = float(schema.sampling.negative_rate)
    return EncodedLog(
        inputs.slice(0, at),
        torch.from_numpy(labels[:at]),
        torch.from_numpy(protected[:at]),
        torch.from_numpy(keep_prob[:at]),
        rate,
        torch.from_numpy(codes),
        torch.from_numpy(row[:at]),
        refused,
    )


def maturity_seconds(schema: Schema) -> int:
    """The longest maturity of any head, in seconds; 0 when every label is final at once."""
    return max(head.maturity_seconds or 0 for head in schema.heads.values())


def without_table_name(table: pa.Table) -> pa.Table:
    """Columns read as "impressions.device" (there may be another in a side table) under their own names."""
    names = {name: name.removeprefix(OWN) for name in table.schema.names}
    twice = [name for name, short in names.items() if name != short and short in names]
    return table.drop_columns(twice).rename_columns([short for name, short in names.items() if name not in twice])


def _latest_mature_time(dataset: Dataset) -> float | None:
    """The time (seconds) up to which every label is final at the end of the log; None = all rows' are."""
    seconds = maturity_seconds(dataset.schema)
    return dataset.last_time - seconds if seconds and dataset.last_time is not None else None


__all__ = ["OWN", "EncodedLog", "encode_log", "maturity_seconds", "without_table_name"]
