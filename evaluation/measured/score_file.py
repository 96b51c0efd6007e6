"""Scores from any production system: a Parquet file joined to the rows of a role by request and item."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from evaluation.measured.scored_log import ScoredLog, Scores
from features import Dataset, Fault, raise_faults, read_batches, resolve_files, schema_of
from features.duplicates import pair_hashes
from features.findings import SHOWN, Findings
from features.ids import is_id_type, plain_type
from features.reading import as_type
from features.tables import primitive

__all__ = ["read_scores"]

BATCH_ROWS = 131072
RANGE = "a score must be a number within [0, 1]"
NULL_ID = "an id must not be null: its scores belong to no row"


class _Null:
    """What stands for a missing value in a fault, whose None says nothing of what was found."""

    def __str__(self) -> str:
        return "null"


NULL = _Null()


def read_scores(path: Path | str, dataset: Dataset, log: ScoredLog, *, some_heads: bool = False) -> Scores:
    """The scores of every row of a role, read in a stream.

    Memory: the rows of the role, one batch of the file, and 8 bytes for each other row of the file and of the log.

    Args:
        path: A Parquet file (or a folder or glob of them) with the data set's request and item columns and one column
            of calibrated probabilities per head, named as the head. Its order does not matter; rows that are not of
            the role are passed over, and those that are of no row of the log at all are counted in a note.
        dataset: The log that `log` is of.
        log: The rows of the role.
        some_heads: Whether the file may lack heads of the log, one at least being there: a system in production need
            not have all of them.

    Returns:
        The scores, in the rows' order; `fingerprint` is the sha256 of the file, or of the files' in turn.

    Raises:
        InputError: every fault at once: a missing file or column, a null id, a (request, item) scored twice, rows of
            the role without a score (counted), scores that are no numbers within [0, 1].

    >>> scores = read_scores("production.parquet", dataset, ScoredLog.read(dataset, "test"))   # doctest: +SKIP
    """
    files = resolve_files(Path(), [str(path)])
    ids = (dataset.schema.columns.request, dataset.schema.columns.item)
    heads = _heads(path, files, dataset, some_heads)
    _check_columns(files, dataset, [*ids, *heads])
    reading = _Reading(log, ids, heads)
    for file in files:
        first = 0
        for batch in read_batches(file, [*ids, *heads], BATCH_ROWS):
            reading.take_in(batch, file, first)
            first += batch.num_rows
    foreign = _foreign(reading.others, dataset)
    without = np.flatnonzero(~reading.scored[log.keys.pair_of_row])
    if len(without):
        message = (
            f"must score every one of the {len(log):,} {log.name}: {len(without):,} of them have no score, the first "
            f"being {log.keys.text(int(without[0]))}"
        )
        more = f"; {foreign:,} rows of the file are not in the log at all" if foreign else ""
        reading.findings.add(Fault(message + more, path))
    raise_faults(reading.findings.faults())
    notes = []
    if foreign:
        notes.append(f"{foreign:,} rows of {path} are not in the log; their scores were not used.")
    absent = [head for head in log.heads if head not in heads]
    if absent:
        notes.append(f"{path} has no scores of {', '.join(absent)}.")
    return Scores(
        str(path), heads, reading.scores[log.keys.pair_of_row], fingerprint=_fingerprint(files), notes=tuple(notes)
    )


@dataclass
class _Reading:
    """The scores of a role's P pairs while the file is read.

    Attributes:
        log: The rows.
        ids: The names of the request and item columns.
        heads: The columns of scores.
    """

    log: ScoredLog
    ids: tuple[str, str]
    heads: tuple[str, ...]

    def __post_init__(self) -> None:
        pairs = len(self.log.keys.pairs)
        self.scores = np.zeros((pairs, len(self.heads)), np.float32)
        self.scored = np.zeros(pairs, bool)
        self.findings = Findings()
        self.others: list[npt.NDArray[np.uint64]] = []  # hashes of the pairs that are not of the role

    def take_in(self, batch: pa.RecordBatch, file: Path, start: int) -> None:
        """One batch, whose first row is row `start` of its `file`."""
        request, item = (batch.column(name) for name in self.ids)
        place = self.log.keys.places(request, item)
        known = np.ones(len(place), bool)
        for name, column in zip(self.ids, (request, item), strict=True):
            null = column.is_null().to_numpy(zero_copy_only=False)
            shown = [(start + int(row), NULL) for row in np.flatnonzero(null)[:SHOWN]]
            if shown:
                self.findings.counted(int(null.sum()), list(shown), NULL_ID, file, name)
            known &= ~null
        elsewhere = pa.array((place < 0) & known)
        self.others.append(pair_hashes(request.filter(elsewhere), item.filter(elsewhere)))
        here = np.flatnonzero(place >= 0)  # rows of the batch that are of the role: nothing is asked of the others
        place = place[here]
        self._refuse_repeated(request, item, here, place, (file, start))
        self.scored[place] = True
        for column, head in enumerate(self.heads):
            self.scores[place, column] = self._numbers(batch.column(head), here, head, (file, start))

    def _refuse_repeated(
        self,
        request: pa.Array,
        item: pa.Array,
        here: npt.NDArray[np.intp],
        place: npt.NDArray[np.int64],
        origin: tuple[Path, int],
    ) -> None:
        """A pair must be scored once: not twice in the batch, nor in an earlier one."""
        first = np.zeros(len(place), bool)
        first[np.unique(place, return_index=True)[1]] = True
        twice = here[~first | self.scored[place]]
        if len(twice):
            file, start = origin
            shown = [(start + int(row), (request[int(row)].as_py(), item[int(row)].as_py())) for row in twice[:SHOWN]]
            message = "a request and item must be scored once, and these are there already"
            self.findings.counted(len(twice), list(shown), message, file, ", ".join(self.ids))

    def _numbers(
        self, column: pa.Array, here: npt.NDArray[np.intp], head: str, origin: tuple[Path, int]
    ) -> npt.NDArray[np.float32]:
        """The scores `(n,)` of the rows `here`."""
        values, missing = primitive(as_type(column, plain_type(column.type)))
        p = values[here].astype(np.float32)
        bad = ~((p >= 0.0) & (p <= 1.0))
        if missing is not None:
            bad |= missing[here]
        at = here[bad]
        if len(at):
            file, start = origin
            values_at = [(int(row), column[int(row)].as_py()) for row in at[:SHOWN]]
            found = [(start + row, NULL if value is None else value) for row, value in values_at]
            self.findings.counted(len(at), found, RANGE, file, head)
        return p


def _heads(path: Path | str, files: Sequence[Path], dataset: Dataset, some_heads: bool) -> tuple[str, ...]:
    """The heads to read: all of the log's, or those that some file has a column of."""
    heads = tuple(dataset.schema.head_names)
    if not some_heads:
        return heads
    found = {name for file in files for name in schema_of(file).names}
    there = tuple(head for head in heads if head in found)
    spelt = {_spelling(name): name for name in found}
    raise_faults(
        Fault(f"is missing, but there is `{spelt[_spelling(head)]}`: heads are found by their exact names", path, head)
        for head in heads
        if there and head not in found and _spelling(head) in spelt
    )
    return there or heads  # none: every one of them is missed


def _spelling(name: str) -> str:
    """What is left of a name without capitals and marks: "Long-Click" and "long_click" are one."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _check_columns(files: Sequence[Path], dataset: Dataset, columns: Sequence[str]) -> None:
    """Refuse files without a column, or with columns that cannot be ids of this log or numbers."""
    faults = []
    ids = columns[:2]
    for file in files:
        types: dict[str, Any] = {field.name: field.type for field in schema_of(file)}
        for name in columns:
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


def _foreign(others: Sequence[npt.NDArray[np.uint64]], dataset: Dataset) -> int:
    """How many of the scored pairs are of no row of the log, whatever its role."""
    scored = np.concatenate([np.empty(0, np.uint64), *others])
    if not len(scored):
        return 0
    request, item = dataset.schema.columns.request, dataset.schema.columns.item
    # raw, not scan: a row without a role, such as a duplicate that policy drops, is a row of the log too
    logged = [pair_hashes(batch.table[request], batch.table[item]) for batch in dataset.raw([request, item])]
    return int(np.count_nonzero(~np.isin(scored, np.concatenate(logged))))


def _fingerprint(files: Sequence[Path]) -> str:
    hashes = []
    for file in files:
        with file.open("rb") as stream:
            hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
