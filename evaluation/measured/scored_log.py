"""The rows that are measured, read once, and what each system says of them: a fitted ranker, or a file of scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.checks import FloatArray
from evaluation.clusters import Clusters
from evaluation.measured.row_keys import RowKeys
from features import Dataset, InputError
from features.outcomes import Outcomes
from features.reading import time_seconds
from features.tables import Columns, one_chunk

FITTED_ON = "calibrate"
FLATTERED = (
    "Calibrate rows stopped the training of the models and fitted their calibration: the numbers flatter candidate and "
    "baseline alike. Judge on test rows."
)
EARLIEST_DATE = 1e8  # seconds: March 1973; no log counts that many steps, and none is that old

__all__ = ["ScoredLog", "Scores", "check_role", "data_fingerprint", "role_batches"]


@dataclass(frozen=True, eq=False)
class Scores:
    """What one system says of N rows, in the order of their `ScoredLog`.

    Attributes:
        name: For people: a run, a model, a file.
        heads: The names of its T' heads, in column order.
        probabilities: `(N, T')` calibrated; `(N,)` the one score of a system without heads, which is no probability.
        p_any: `(N,)` the chance of any engagement, where it has one.
        stages: Its earlier stages, name -> `(N, T')`.
        at_logged: `(N, T')` its probabilities at the logged positions, where `probabilities` are at the serving one.
        fingerprint: sha256 of the model or the file, where it is known.
        meta: What the report says of it.
        notes: Sentences for the end of the report.
    """

    name: str
    heads: tuple[str, ...]
    probabilities: npt.NDArray[Any]
    p_any: npt.NDArray[Any] | None = None
    stages: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    at_logged: npt.NDArray[Any] | None = None
    fingerprint: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of_heads(self, heads: tuple[str, ...]) -> npt.NDArray[Any]:
        """The probabilities `(N, len(heads))` of some of its heads.

        >>> Scores("v7", ("click", "save"), np.array([[0.2, 0.1]])).of_heads(("save",)).tolist()
        [[0.1]]
        """
        if heads == self.heads:
            return self.probabilities
        return self.probabilities[:, [self.heads.index(head) for head in heads]]


@dataclass(frozen=True, eq=False)
class ScoredLog:
    """The N rows of a role in the log's order, the ones that `encode_log` gives: what happened in each.

    Attributes:
        heads: The schema's T heads, in its order.
        labels: `(N, T)` float32, NaN where missing or not final at the log's end.
        requests: The request of each row; errors are clustered by it.
        keep_prob: `(N,)` float32, 1 where the log was not sampled.
        times: `(N,)` seconds; None where the log has no time, or a row lacks one.
        keys: Request and item of each row, to join scores by.
        implications: Head -> the head that it implies.
        immature: Head -> labels that were left out because the log ended before they were final.
        role: calibrate, tune or test.
        data: The name of the data set.

    >>> log = ScoredLog.read(Dataset.open("runs/demo/world"), "test")                          # doctest: +SKIP
    """

    heads: tuple[str, ...]
    labels: npt.NDArray[np.float32]
    requests: Clusters
    keep_prob: npt.NDArray[np.float32]
    times: FloatArray | None
    keys: RowKeys
    implications: Mapping[str, str]
    immature: Mapping[str, int]
    role: str
    data: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def moments(self) -> npt.NDArray[Any] | None:
        """`times` as dates `(N,)`, where they are seconds since 1970; other counts (days, steps) stay numbers."""
        if self.times is None or not len(self.times) or self.times.min() < EARLIEST_DATE:
            return self.times
        return self.times.astype(np.int64).astype("datetime64[s]")

    @classmethod
    def read(cls, dataset: Dataset, role: str) -> ScoredLog:
        """Read a role in one pass over the log.

        Args:
            dataset: The log with its outcomes.
            role: calibrate (without the rows that are too young for some head, as it is fitted to), tune or test.

        Raises:
            InputError: the train role, a role without rows, a request or item that is null, and whatever
                `Dataset.scan` refuses.
        """
        check_role(role)
        schema = dataset.schema
        ids, time = (schema.columns.request, schema.columns.item), schema.columns.time
        outcomes = Outcomes(dataset, role, dataset.count(role), drop_immature=True)
        wanted = [*ids, *outcomes.columns, *([] if time is None else [time])]
        chunks: tuple[list[pa.Array], list[pa.Array]] = ([], [])
        seconds = [np.empty(0)]
        rows = 0
        for table in _batches(dataset, outcomes, role, wanted):
            columns = Columns(table)
            for name, found in zip(ids, chunks, strict=True):
                found.append(one_chunk(columns.block(name, 0, len(columns))))
            if time is not None:
                seconds.append(time_seconds(table[time]))
            rows = outcomes.read(columns, rows)
        if not rows:
            raise InputError(f"role {role!r} has no rows: change [split] in dataset.toml")
        times = np.concatenate(seconds)
        keys = RowKeys(*chunks, names=ids)
        return cls(
            heads=tuple(schema.head_names),
            labels=outcomes.labels[:rows],
            requests=Clusters(keys.request, keys.requests),
            keep_prob=outcomes.keep_prob[:rows],
            times=times if len(times) == rows and bool(np.isfinite(times).all()) else None,
            keys=keys,
            implications={head: parent for head in schema.head_names if (parent := schema.parent(head)) is not None},
            immature=outcomes.immature,
            role=role,
            data=schema.name,
        )

    @property
    def name(self) -> str:
        """For people: "test rows of trivago"."""
        return f"{self.role} rows of {self.data}"

    @property
    def weights(self) -> FloatArray:
        """`(N,)` 1 / keep_prob: what each row counts for."""
        return np.asarray(1.0 / self.keep_prob.astype(np.float64))

    def labels_of(self, heads: tuple[str, ...]) -> npt.NDArray[np.float32]:
        """`(N, len(heads))` labels of some heads, in their order: a model may list them in another than the log."""
        return self.labels if heads == self.heads else self.labels[:, [self.heads.index(head) for head in heads]]

    def notes(self) -> list[str]:
        """What a reader of its numbers must know."""
        notes = []
        if self.immature:
            counts = ", ".join(f"{head} {n:,}" for head, n in self.immature.items())
            notes.append(f"Labels left out because the log ended before they were final: {counts}.")
        if self.role == FITTED_ON:
            notes.append(FLATTERED)
        return notes


def role_batches(dataset: Dataset, role: str, columns: list[str]) -> Iterator[pa.Table]:
    """The rows of `ScoredLog.read`, in its order, with `columns` in the place of what it reads."""
    outcomes = Outcomes(dataset, role, 0, drop_immature=True)  # of which only the age of rows is asked
    time = [] if outcomes.latest is None else [str(dataset.schema.columns.time)]
    for table in _batches(dataset, outcomes, role, [*columns, *time]):
        yield table.select(list(dict.fromkeys(columns)))


def _batches(dataset: Dataset, outcomes: Outcomes, role: str, columns: list[str]) -> Iterator[pa.Table]:
    for batch in dataset.scan(list(dict.fromkeys(columns)), role):
        mature = outcomes.mature(batch.table)
        yield batch.table if mature is None else batch.table.filter(pa.array(mature))


def check_role(role: str) -> None:
    """Refuse a role that may not be measured."""
    if role not in ("calibrate", "tune", "test"):
        raise InputError(f"`role` must be calibrate, tune or test (never train: the model has seen it), got {role!r}")


def data_fingerprint(dataset: Dataset, role: str) -> str:
    """sha256 over what decides the rows and their outcomes: log and side tables, their description, the role."""
    side = [file for table in dataset.side_tables.values() for file in table.files]
    described = dataset.schema.log_dict()
    content = [role, described, sorted(dataset.data_hash([*dataset.impression_files, *side]).items())]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
