"""An append-only journal: what was once written is never lost, never repeated, and never silently changed.

One JSON object a line. The first says what the journal is of and under which settings; every further line is a record.
Each line carries a checksum of itself and of the line before, so that a changed, missing or moved line is noticed.
A process may be killed at any moment: the only damage that it can leave is a last line without its end, which is cut
off at the next opening. Records hold no paths, so a journal goes on on another machine.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from features import Fault, InputError
from optimization.journal_lines import (
    Lines,
    begins_a_journal,
    check_settings,
    header_line,
    plain,
    read_header,
    read_records,
    sealed,
)

__all__ = ["Journal"]


class Journal:
    """A journal that is open for writing, by this process alone; use `Journal.open`.

    Attributes:
        path: The file.
        settings: What the header says.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "journal.jsonl"
    >>> with Journal.open(path, "study", {"seed": 0}) as journal:
    ...     journal.append({"trial": 0, "value": float("nan")})
    ({'trial': 0, 'value': None},)
    >>> with Journal.open(path, "study", {"seed": 0}) as journal:
    ...     journal.records
    ({'trial': 0, 'value': None},)
    >>> Journal.open(path, "study", {"seed": 1})
    Traceback (most recent call last):
    features.errors.InputError: /...journal.jsonl: line 1: the journal was begun with other settings: `seed` was 0, is
    now 1. Go on with the old settings, or begin another journal.
    >>> folder.cleanup()
    """

    def __init__(self, path: Path, descriptor: int, settings: dict[str, Any], lines: Lines) -> None:
        self.path = path
        self.settings = settings
        self._descriptor: int | None = descriptor
        self._records = lines.records
        self._last = lines.last
        self._end = lines.end

    @classmethod
    def open(cls, path: str | Path, kind: str, settings: Mapping[str, Any] | None = None) -> Journal:
        """Open a journal, or begin one.

        Args:
            path: The file; its folder is made if need be.
            kind: What it is a journal of, "study" or "rounds".
            settings: Everything that a record's meaning depends on, JSON-able. None = those of an existing journal.

        Raises:
            InputError: another process has it open; the file is no journal, or of another kind; `settings` differ from
                the header's (each difference is named); a line is damaged; there is none and `settings` is None.
        """
        path = Path(path)
        if settings is None and not path.is_file():
            raise InputError(Fault("there is no such journal", path))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(Fault(f"the journal cannot be opened: {error.strerror}", path)) from None
        try:
            return cls._opened(path, descriptor, kind, settings)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def _opened(cls, path: Path, descriptor: int, kind: str, settings: Mapping[str, Any] | None) -> Journal:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system frees it when the process ends
        except BlockingIOError:
            raise InputError(Fault("another process has this journal open", path)) from None
        content = path.read_bytes()
        head, newline, _ = content.partition(b"\n")
        if not newline:  # new, or its first process was killed while it wrote the header
            if settings is None or not begins_a_journal(head):
                raise InputError(Fault("this is not a journal", path))
            line, checksum = header_line(kind, plain(settings))
            os.ftruncate(descriptor, 0)
            _write(descriptor, line, 0)
            _persist_name(path)
            return cls(path, descriptor, plain(settings), Lines((), checksum, len(line)))
        header = read_header(path, head, kind)
        if settings is not None:
            check_settings(path, header["settings"], plain(settings))
        lines = read_records(path, content, header["checksum"], len(head) + 1)
        os.ftruncate(descriptor, lines.end)  # the torn last line of a process that was killed while it wrote
        return cls(path, descriptor, header["settings"], lines)

    @property
    def records(self) -> tuple[dict[str, Any], ...]:
        """All records, oldest first, as JSON gives them back."""
        return self._records

    def append(self, *records: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Write records, one write and one fsync for all of them; when this returns they survive a kill.

        Args:
            records: JSON-able; NaN and infinities become None, which JSON has.

        Returns:
            The records as JSON gives them back: what a later opening will find.

        Raises:
            ValueError: the journal is closed.
            OSError: the disk is full or gone; the file is as it was before.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path}: the journal is closed")
        kept = tuple(plain(record) for record in records)
        block, last = b"", self._last
        for number, record in enumerate(kept, start=len(self._records) + 1):
            line, last = sealed({"number": number, "record": record}, last)
            block += line
        _write(self._descriptor, block, self._end)
        self._records, self._last, self._end = (*self._records, *kept), last, self._end + len(block)
        return kept

    def close(self) -> None:
        """Free the lock; closing twice does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _write(descriptor: int, block: bytes, position: int) -> None:
    """All of `block` at `position`, on the disk when this returns; the file is as before if it fails."""
    try:
        written = 0
        while written < len(block):  # a single call for anything but a full disk
            written += os.pwrite(descriptor, block[written:], position + written)
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, position)
        raise


def _persist_name(path: Path) -> None:
    """The folder's entry of a new file, which the file's own fsync does not write."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
