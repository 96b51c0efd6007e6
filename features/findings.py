"""Faults gathered from a stream of batches: one per kind, file and column, with its first rows and its count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from features.errors import Fault

SHOWN = 3  # rows of a kind that are listed: enough to look at, and a broken log stays readable


class Findings:
    """Collects faults; rows of the same kind in the same column of the same file become one.

    Examples
    --------
    >>> findings = Findings()
    >>> for first_row in (0, 2):
    ...     bad = np.array([False, True])
    ...     findings.rows(bad, "must be 0 or 1", Path("log.parquet"), "click", first_row, pa.array([0, 7]))
    >>> print(findings.faults()[0])
    log.parquet: column `click`, row 1: must be 0 or 1, got 7 (2 rows; then row 3: 7)
    """

    def __init__(self, *faults: Fault) -> None:
        self._plain: list[Fault] = list(faults)
        self._rows: dict[tuple[str, Path, str], tuple[int, list[tuple[int, object]]]] = {}

    def add(self, *faults: Fault) -> None:
        """Take in faults that belong to no row, or are whole already."""
        self._plain += [fault for fault in dict.fromkeys(faults) if fault not in self._plain]

    def rows(
        self,
        bad: np.ndarray,
        message: str,
        file: Path,
        column: str,
        first_row: int = 0,
        values: pa.Array | pa.ChunkedArray | None = None,
    ) -> None:
        """Take in the rows of a batch that are `bad` (n,) bool; `first_row` is the batch's start within `file`."""
        found = np.flatnonzero(bad)
        if len(found):
            shown = [(first_row + int(i), None if values is None else values[int(i)].as_py()) for i in found[:SHOWN]]
            self.counted(len(found), shown, message, file, column)

    def counted(self, count: int, shown: list[tuple[int, object]], message: str, file: Path, column: str) -> None:
        """Take in `count` rows of a kind, of which the first ones are `shown` as (row in `file`, value)."""
        before, listed = self._rows.get((message, file, column), (0, []))
        self._rows[message, file, column] = before + count, (listed + shown)[:SHOWN]

    def faults(self) -> tuple[Fault, ...]:
        """Everything found: files and columns first, then rows by file and row."""
        by_row = [
            Fault(message, file, column, listed[0][0], listed[0][1], count, tuple(listed[1:]))
            for (message, file, column), (count, listed) in self._rows.items()
        ]
        files = {file: i for i, file in enumerate(dict.fromkeys(str(fault.file) for fault in by_row))}
        return (*self._plain, *sorted(by_row, key=lambda fault: (files[str(fault.file)], fault.row or 0)))
