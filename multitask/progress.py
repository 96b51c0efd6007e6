"""Showing how a training run goes: a bar on stderr, or a callable of the caller's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True)
class Event:
    """Where a run stands.

    Args:
        epoch: number of the epoch, from 0.
        epochs: number of epochs at most.
        step: steps done in this epoch.
        steps: steps per epoch.
        loss: mean training loss of this epoch's steps so far.
        rows_per_second: training speed in this epoch, None if the batches do not say their rows.
        metrics: the validation metrics, at the end of an epoch; None inside it.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rows_per_second: float | None
    metrics: Mapping[str, float] | None = None


Reporter = Callable[[Event], None]


@contextmanager
def reporter(progress: bool | Reporter | None) -> Iterator[Reporter]:
    """What to call with events: `progress` itself if callable; a bar for True, or for None on a terminal; else nothing.

    >>> with reporter(False) as report:
    ...     report(Event(0, 1, 1, 1, 0.5, None))
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and sys.stderr.isatty()):
        with _bar() as bar:
            task = bar.add_task("", total=None)

            def show(event: Event) -> None:
                words = [f"epoch {event.epoch + 1}/{event.epochs}", f"loss {event.loss:.5f}"]
                if event.rows_per_second is not None:
                    words.append(f"{event.rows_per_second:,.0f} rows/s")
                words += [f"{name} {value:.5f}" for name, value in (event.metrics or {}).items()]
                bar.update(task, description="  ".join(words), completed=event.step, total=event.steps)

            yield show
    else:
        yield lambda event: None


def _bar() -> Progress:
    from rich.console import Console  # loaded here: importing the scoring library must stay fast
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
