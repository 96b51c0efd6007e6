"""A progress bar on stderr for work that is counted in photos."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int], None]  # photos done, photos in all


@contextmanager
def photo_bar(what: str, progress: object) -> Iterator[Advance | None]:
    """What to call with the photos done and the photos in all; None where nothing is to be shown.

    Parameters
    ----------
    what : str
        In front of the bar: "decoding".
    progress : bool, None or anything else
        True = a bar, None = a bar if stderr is a terminal, anything else (False, a callable) = silence.

    Examples
    --------
    >>> with photo_bar("decoding", False) as advance:
    ...     print(advance)
    None
    """
    if not (progress is True or (progress is None and sys.stderr.isatty())):
        yield None
        return
    from rich.console import Console  # loaded here: importing the library must stay fast
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
