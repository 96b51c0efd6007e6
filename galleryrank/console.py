"""Where people read: tables, progress and remarks on stderr; stdout is for data."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console


def console() -> Console:
    """A console on stderr; plain text where stderr is no terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


class Log:
    """One line per step of a command, with the seconds since it began."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = console()
        self.began = time.perf_counter()

    def __call__(self, text: str) -> None:
        if not self.quiet:
            seconds = time.perf_counter() - self.began
            self.console.print(f"[dim]{seconds:6.1f} s[/dim]  {_escaped(text)}", soft_wrap=True)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; the first column is left-aligned, numbers right-aligned."""
        from rich import box
        from rich.table import Table

        if self.quiet:
            return
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
        for j, name in enumerate(header):
            table.add_column(name, justify="left" if j == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    @contextmanager
    def rows_bar(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar over rows; gives a function that takes the number of rows just done."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=self.console,
            disable=self.quiet or not self.console.is_terminal, transient=True,
        )  # fmt: skip
        with bar:
            task = bar.add_task(text, total=total)
            yield lambda rows: bar.advance(task, rows)


def _escaped(text: str) -> str:
    """The text with `[bold]` as the only mark-up: "[files]", or a bracket of the user's data, is text.

    >>> _escaped("[bold]fit[/bold] of [files]")
    '[bold]fit[/bold] of \\\\[files]'
    """
    from rich.markup import escape

    return escape(text).replace(r"\[bold]", "[bold]").replace(r"\[/bold]", "[/bold]")
