"""Pictures of the finished runs: groups over the epochs, and how long the epochs took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from examples.studies.runs import Result, Results

from .arms import TITLES
from .summary import epoch_seconds, lock_epoch

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers too.
_COLOURS = {"single_task": "#5F6670", "unmerged": "#D55E00", "one_branch": "#009E73", "similarity": "#0072B2"}
_INK, _MUTED = "#222222", "#5F6670"
DPI = 150


def draw(out: Path, results: Results) -> list[Path]:
    """Writes `groups-ARM-SEED.png` of every run that groups, and `epochs.png`; returns their paths."""
    from multitask.sharing.figure import groups_figure

    paths = []
    for (arm, seed), run in results.items():
        if "sharing" not in run:
            continue
        figure = groups_figure(_history(run), f"{TITLES[arm]}, seed {seed}")
        paths.append(_saved(figure, out / f"groups-{arm}-{seed}.png"))
    if any(arm in _COLOURS for arm, _ in results):
        paths.append(_saved(durations_figure(results), out / "epochs.png"))
    return paths


def durations_figure(results: Results) -> Figure:
    """[Selective] figure 15: processor seconds of each epoch, pale by seed and full in the mean; points mark the locks.

    The sharing by similarity with the baselines: single task, a branch per task, one branch.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    ends: dict[str, float] = {}
    epochs = 0
    for arm, colour in _COLOURS.items():
        own = [run for (name, _), run in results.items() if name == arm]
        if not own:
            continue
        for run in own:
            seconds, lock = epoch_seconds(run), lock_epoch(run)
            axes.plot(range(1, len(seconds) + 1), seconds, color=colour, linewidth=0.9, alpha=0.35)
            if lock is not None:
                axes.plot(
                    [lock], [seconds[lock - 1]], "o", color=colour, markersize=5, markeredgecolor="white", zorder=3
                )
        mean = [sum(values) / len(values) for values in zip(*(epoch_seconds(run) for run in own))]
        axes.plot(range(1, len(mean) + 1), mean, color=colour, linewidth=2.2)
        epochs, ends[arm] = len(mean), mean[-1]
    _name_lines(axes, ends, epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("seconds of one core")
    axes.set_ylim(0, axes.get_ylim()[1])
    axes.set_xlim(1, max(2, epochs))
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    axes.set_title("Training steps of an epoch; the points: groups locked", loc="left", fontsize=11, color=_INK)
    return figure


def _name_lines(axes: Axes, ends: dict[str, float], epochs: int) -> None:
    """Each arm's name at the right end of its lines, moved apart where they would touch."""
    apart = axes.get_ylim()[1] * 0.06
    lowest = float("-inf")
    for arm in sorted(ends, key=lambda arm: ends[arm]):
        height = max(ends[arm], lowest + apart)
        lowest = height
        axes.annotate(TITLES[arm], (epochs, height), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9,
                      color=_COLOURS[arm], annotation_clip=False)  # fmt: skip


def _history(run: Result) -> pd.DataFrame:
    """`SelectiveSharing.history`, from the run's records."""
    import pandas as pd

    return pd.DataFrame(run["sharing"])


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    return path
