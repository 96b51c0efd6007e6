"""A study while it runs: the latest trials and the best so far, redrawn in place on a terminal, in lines elsewhere."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from evaluation.formatting import format_number
from galleryrank.console import Log
from optimization.report.tuning_words import PHASES
from optimization.trials import AX, BASELINE, SWEEP, Trial

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

SHOWN = 12  # trials at a time
PER_SECOND = 8


class LiveTrials:
    """Takes every trial of `tune(progress=...)`; use it as a context.

    Args:
        say: Where it writes; nothing when that is quiet.
        objective: What is maximised, in words.
        planned: Phase -> trials that are planned, for the counts.
    """

    def __init__(self, say: Log, objective: str, planned: dict[str, int]) -> None:
        self._say, self._objective, self._planned = say, objective, planned
        self._latest: deque[Trial] = deque(maxlen=SHOWN)
        self._counts: dict[str, int] = {}
        self._best: Trial | None = None
        self._live: Live | None = None

    def __enter__(self) -> LiveTrials:
        if not self._say.quiet and self._say.console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._say.console, refresh_per_second=PER_SECOND, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def __call__(self, trial: Trial) -> None:
        """Show one more trial."""
        self._latest.append(trial)
        count = self._counts[trial.phase] = self._counts.get(trial.phase, 0) + 1
        better = trial.feasible and (self._best is None or trial.objective > self._best.objective)
        if better:
            self._best = trial
        if self._live is not None:
            if trial.phase != SWEEP or better or count == self._planned.get(SWEEP):  # a sweep is too fast to be read
                self._live.update(self._table())
        elif trial.phase in (BASELINE, AX) or count == self._planned.get(trial.phase):
            best = "no feasible trial yet" if self._best is None else f"best {format_number(self._best.objective)}"
            self._say(f"{self._progress(trial.phase)}: {format_number(trial.objective)}, {_state(trial)}; {best}")

    def _progress(self, phase: str) -> str:
        planned = self._planned.get(phase)
        return f"{PHASES[phase]} {self._counts[phase]}" + (f"/{planned}" if planned else "")

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table

        done = " · ".join(self._progress(phase) for phase in self._counts)
        best = "no feasible trial yet" if self._best is None else f"best {format_number(self._best.objective)}"
        table = Table(title=f"{self._objective}: {best}", caption=done, box=box.SIMPLE_HEAD, title_justify="left")
        table.add_column("search")
        for name in (*self._latest[0].weights, "objective", "guardrails"):
            table.add_column(name, justify="right")
        for trial in self._latest:
            row = [PHASES[trial.phase], *map(format_number, trial.weights.values()), format_number(trial.objective)]
            table.add_row(*row, _state(trial), style="bold" if trial is self._best else None)
        return table


def _state(trial: Trial) -> str:
    """Whether it is feasible, else the guardrails that it breaks."""
    if trial.feasible:
        return "kept"
    broken = [head for head, slack in trial.slacks.items() if slack < 0.0]
    return f"breaks {', '.join(broken)}" if broken else "breaks the bounds"
