"""Scores from any production system: a Parquet file joined to the rows of a role by request and item."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from features import Dataset, Fault, InputError, raise_faults, read_batches, resolve_files, schema_of
from features.findings import SHOWN, Findings
from features.ids import IdIndex, is_id_type, plain_type
from features.outcomes import Outcomes
from features.reading import as_type
from features.tables import Columns, one_chunk, primitive

__all__ = ["ScoredRows", "read_scores"]

BATCH_ROWS = 131072
RANGE = "a score must be a number within [0, 1]"


class _Null:
    """What stands for a missing value in a fault, whose None says nothing of what was found."""

    def __str__(self) -> str:
        return "null"


NULL = _Null()


class ScoredRows(NamedTuple):
    """The N rows of a role, in the log's order.

    Attributes:
        probabilities: `(N, T)` float32, in the order of the schema's heads.
        labels: `(N, T)` float32, NaN where missing or not final at the log's end.
        requests: `(N,)` codes of the requests.
        keep_prob: `(N,)` float32, 1 where the log was not sampled.
    """

    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    requests: npt.NDArray[np.int64]
    keep_prob: npt.NDArray[np.float32]


class _Role:
    """The rows of a role: what happened to them, and their (request, item) as sorted distinct numbers.

    Ids become consecutive codes, so that a pair is one int64 and the join compares exactly: no hash can be shared.
    """

    def __init__(self, dataset: Dataset, role: str) -> None:
        ids = [dataset.schema.columns.request, dataset.schema.columns.item]
        self.outcomes = Outcomes(dataset, role, dataset.count(role), drop_immature=True)
        chunks: list[list[pa.Array]] = [[], []]
        self.rows = 0
        for batch in dataset.scan(list(dict.fromkeys([*ids, *self.outcomes.columns])), role):
            mature = self.outcomes.mature(batch.table)
            columns = Columns(batch.table if mature is None else batch.table.filter(pa.array(mature)))
            for name, found in zip(ids, chunks):
                found.append(one_chunk(columns.block(name, 0, len(columns))))
            self.rows = self.outcomes.read(columns, self.rows)
        if not self.rows:
            raise InputError(f"role {role!r} has no rows: change [split] in dataset.toml")
        (self.request, requests), (self.item, items) = (_coded(found, name) for name, found in zip(ids, chunks))
        self.ids = requests, items
        self._indices = IdIndex(requests), IdIndex(items)
        self.pairs, self.pair_of_row = np.unique(self.request * len(items) + self.item, return_inverse=True)

    def places(self, request: pa.Array, item: pa.Array) -> npt.NDArray[np.int64]:
        """Where each `(n,)` pair stands in `pairs`; -1 for a pair that no row of the role has."""
        r, i = (index.rows(found) for index, found in zip(self._indices, (request, item)))
        pair = r * len(self.ids[1]) + i
        place = np.minimum(np.searchsorted(self.pairs, pair), len(self.pairs) - 1)
        return np.where((r >= 0) & (i >= 0) & (self.pairs[place] == pair), place, -1)

    def key(self, row: int) -> str:
        """Request and item of a row, for people."""
        request, item = self.ids[0][int(self.request[row])].as_py(), self.ids[1][int(self.item[row])].as_py()
        return f"request {request!r}, item {item!r}"


def read_scores(path: Path | str, dataset: Dataset, role: str) -> ScoredRows:
    """The scores of every row of `role`, read in a stream; arguments and errors as in `ScoreTable.from_scores`.

    Memory: the rows of the role and one batch of the file, however many other rows the file has.
    """
    files = resolve_files(Path(), [str(path)])
    rows = _Role(dataset, role)
    heads = dataset.schema.head_names
    _check_columns(files, dataset)
    scores = np.zeros((len(rows.pairs), len(heads)), np.float32)
    scored = np.zeros(len(rows.pairs), bool)
    findings = Findings()
    for file in files:
        first = 0
        for batch in read_batches(file, _columns(dataset), BATCH_ROWS):
            _take_in(batch, rows, dataset, scores, scored, findings, (file, first))
            first += batch.num_rows
    without = np.flatnonzero(~scored[rows.pair_of_row])
    if len(without):
        message = f"every {role} row of {dataset.schema.name} must have a score; there is none for"
        findings.add(Fault(f"{message} {rows.key(int(without[0]))}", path, count=len(without)))
    raise_faults(findings.faults())
    outcomes = rows.outcomes
    return ScoredRows(
        scores[rows.pair_of_row], outcomes.labels[: rows.rows], rows.request, outcomes.keep_prob[: rows.rows]
    )


def _columns(dataset: Dataset) -> list[str]:
    return [dataset.schema.columns.request, dataset.schema.columns.item, *dataset.schema.head_names]


def _check_columns(files: list[Path], dataset: Dataset) -> None:
    """Refuse files without a column, or with columns that cannot be ids of this log or numbers."""
    faults = []
    ids = _columns(dataset)[:2]
    for file in files:
        types: dict[str, Any] = {field.name: field.type for field in schema_of(file)}
        for name in _columns(dataset):
            if name not in types:
                what = "the id that joins it to the log" if name in ids else "the scores of this head"
                faults.append(Fault(f"is missing ({what})", file, name))
            elif name in ids:
                expected = dataset.type_of(name)
                if not is_id_type(types[name]) or pt.is_integer(types[name]) != pt.is_integer(expected):
                    faults.append(Fault(f"must be an id of the log's type {expected}", file, name, value=types[name]))
            elif not (pt.is_floating(types[name]) or pt.is_integer(types[name])):
                faults.append(Fault("must hold numbers", file, name, value=types[name]))
    raise_faults(faults)


def _take_in(
    batch: pa.RecordBatch,
    rows: _Role,
    dataset: Dataset,
    scores: npt.NDArray[np.float32],
    scored: npt.NDArray[np.bool_],
    findings: Findings,
    origin: tuple[Path, int],
) -> None:
    """Write the scores of one batch into `scores` (pairs, T) and say in `scored` which pairs have one by now."""
    file, start = origin
    request, item, *heads = _columns(dataset)
    place = rows.places(batch.column(request), batch.column(item))
    here = np.flatnonzero(place >= 0)  # rows of the batch that are of the role: nothing is asked of the others
    place = place[here]
    first = np.zeros(len(place), bool)
    first[np.unique(place, return_index=True)[1]] = True
    twice = here[~first | scored[place]]
    if len(twice):
        ids = [batch.column(name) for name in (request, item)]
        shown = [(start + int(row), tuple(column[int(row)].as_py() for column in ids)) for row in twice[:SHOWN]]
        message = "a request and item must be scored once, and these are there already"
        findings.counted(len(twice), list(shown), message, file, f"{request}, {item}")
    scored[place] = True
    for column, head in enumerate(heads):
        values, missing = primitive(as_type(batch.column(head), plain_type(batch.column(head).type)))
        p = values[here].astype(np.float32)
        bad = ~((p >= 0.0) & (p <= 1.0))
        if missing is not None:
            bad |= missing[here]
        at = here[bad]
        if len(at):
            values_at = [(int(row), batch.column(head)[int(row)].as_py()) for row in at[:SHOWN]]
            found = [(start + row, NULL if value is None else value) for row, value in values_at]
            findings.counted(len(at), found, RANGE, file, head)
        scores[place, column] = p


def _coded(chunks: list[pa.Array], name: str) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Codes `(N,)` of ids and the distinct ids that they number."""
    encoded = pa.chunked_array([chunk.dictionary_encode() for chunk in chunks]).unify_dictionaries()
    if any(chunk.indices.null_count for chunk in encoded.chunks):
        raise InputError(Fault("an id must not be null", column=name))
    codes = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks])
    return codes.astype(np.int64), encoded.chunk(0).dictionary
