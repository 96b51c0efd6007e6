"""Output whose reader may go away: a closed pipe or a full disk must not change what a command found."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class UnfailingStream(io.TextIOBase):
    """Text that is written to `stream` for as long as that works, and dropped from then on.

    Remarks and tables go to stderr. Were its reader to leave (`2>&1 | head`), the libraries that write them would end
    the process with code 1, which says "regression" here.

    >>> with io.StringIO() as closed:
    ...     pass
    >>> UnfailingStream(closed).write("nobody reads this")
    17
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream if stream is not None else io.StringIO()
        self.gone = stream is None

    def write(self, text: str) -> int:
        """Write `text`, or drop it."""
        if not self.gone:
            try:
                return self.stream.write(text)
            except (OSError, ValueError):  # a broken pipe, a full disk; a closed stream
                self._drop()
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        if not self.gone:
            try:
                self.stream.flush()
            except (OSError, ValueError):
                self._drop()

    def isatty(self) -> bool:
        """Whether people read it as it is written."""
        return not self.gone and self.stream.isatty()

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """Of the stream itself."""
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute of the base class
        """Of the stream itself."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def _drop(self) -> None:
        self.gone = True
        redirect_to_nowhere(self.stream)


@contextlib.contextmanager
def unfailing_stderr() -> Iterator[None]:
    """`sys.stderr` as an `UnfailingStream`, also where there is none (`2>&-`)."""
    before = sys.stderr
    sys.stderr = UnfailingStream(before)
    try:
        yield
    finally:
        sys.stderr = before


def print_json(data: Any) -> None:
    """JSON on stdout, whatever its reader does: a closed pipe (`| head`) must not turn a regression into a pass."""
    try:
        print(json.dumps(data, indent=1, allow_nan=False), flush=True)
    except BrokenPipeError:
        redirect_to_nowhere(sys.stdout)


def redirect_to_nowhere(stream: TextIO) -> None:
    """Let what is left in the buffer go: it would fail again when Python ends, with an exit code of its own."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file beneath it has nothing to redirect
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
