"""Bad input as one exception that lists every fault: file, column, row, value and how often."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a file, said so that it can be found and repaired.

    Parameters
    ----------
    message : str
        What was expected, e.g. "label must be 0, 1 or null". A `value` is appended as ", got 2"
        and a `count` above 1 as " (3 rows)": neither belongs in the message.
    file : Path or str, optional
        The file at fault.
    column : str, optional
        The column of that file.
    row : int, optional
        The first row at fault, counted from 0 within `file`.
    value : object, optional
        What was found in that row; None shows nothing.
    count : int
        How many rows of this file have this fault in this column.
    more : tuple of (int, object)
        The next rows of the same kind and what was found in them (the first three rows are enough to look at).
    key : str, optional
        For a configuration file the place in it, e.g. "[heads.click].sign".

    Examples
    --------
    >>> print(Fault("label must be 0, 1 or null", "log.parquet", "click", row=17, value=2, count=3))
    log.parquet: column `click`, row 17: label must be 0, 1 or null, got 2 (3 rows)
    """

    message: str
    file: Path | str | None = None
    column: str | None = None
    row: int | None = None
    value: object = None
    count: int = 1
    more: tuple[tuple[int, object], ...] = ()
    key: str | None = None

    def __str__(self) -> str:
        place = [f"column `{self.column}`"] if self.column is not None else []
        place += [f"row {self.row}"] if self.row is not None else []
        parts = [str(self.file)] if self.file is not None else []
        parts += [self.key] if self.key is not None else []
        parts += [", ".join(place)] if place else []
        text = ": ".join([*parts, self.message])
        if self.value is not None:
            text += f", got {self.value!r}" if isinstance(self.value, str) else f", got {self.value}"
        if self.count > 1:
            following = "; then " + ", ".join(_row_text(row, value) for row, value in self.more) if self.more else ""
            text += f" ({self.count} rows{following})"
        return text


def _row_text(row: int, value: object) -> str:
    if value is None:
        return f"row {row}"
    return f"row {row}: {value!r}" if isinstance(value, str) else f"row {row}: {value}"


class InputError(ValueError):
    """What a user gave cannot be used; `faults` says everything that is wrong with it, not only the first thing.

    Parameters
    ----------
    faults : str, Fault or iterable of Fault
        A plain message counts as one fault without a place.

    Examples
    --------
    >>> error = InputError([Fault("cannot be read", "a.parquet"), Fault("is missing", "b.parquet", "click")])
    >>> print(error)
    a.parquet: cannot be read
    b.parquet: column `click`: is missing
    >>> len(error.faults)
    2
    """

    def __init__(self, faults: str | Fault | Iterable[Fault]) -> None:
        if isinstance(faults, str):
            faults = Fault(faults)
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        if not self.faults:
            raise ValueError("`faults` must hold at least one fault, got none")
        super().__init__(self.faults)

    def __str__(self) -> str:
        lines = [str(fault) for fault in self.faults]
        if any(fault.row is not None for fault in self.faults):
            lines.append("(rows are counted from 0 within their file)")
        return "\n".join(lines)


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raise one `InputError` with all `faults`; do nothing when there are none.

    Examples
    --------
    >>> raise_faults([])
    """
    faults = tuple(faults)
    if faults:
        raise InputError(faults)
