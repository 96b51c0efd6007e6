"""Figure 5 of [Booking] drawn: a pair of bars per task, the optimum at 0, the benchmark as a mark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.gallery.task_optima import KENDALL, METRICS, PSEUDO
from evaluation.svg import BLUE, INK, MUTED, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WORDS = {
    "error": "By error: share of wrong classes, mean squared error",
    "log_loss": "By log loss (regression: mean squared error)",
}
LOSSES = {PSEUDO: ("pseudo-uniform", BLUE), KENDALL: ("Kendall", VERMILION)}
KINDS = {"multiclass": "classes", "binary": "yes / no", "regression": "numbers"}
_WIDTH = 0.38


def task_figure(table: pd.DataFrame, *, name: str = "optima") -> str:
    """Relative error increase of multi-task against single-task networks, one panel per metric.

    Args:
        table: From `task_optima_table`.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    tasks = ", ".join(dict.fromkeys(table["task"]))
    description = f"Bars: relative increase of the error of multi-task learning over single-task networks for {tasks}"
    return svg_text(draw_task_figure(table), name, description)


def draw_task_figure(table: pd.DataFrame) -> Canvas:
    """`task_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    metrics = [metric for metric in METRICS if (table["metric"] == metric).any()]
    tasks = list(dict.fromkeys(table["task"]))
    with style():
        canvas = Canvas(figsize=(max(6.0, 0.42 * len(tasks) + 1.5), 3.6 * len(metrics) + 0.9), layout="constrained")
        panels = canvas.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics):
            _panel(axes, table[table["metric"] == metric].reset_index(drop=True))
            axes.set_title(WORDS[metric], loc="left")
        _kinds(panels[0], table.drop_duplicates("task")["kind"].tolist())
        panels[-1].set_xticks(range(len(tasks)), [task.replace("_", " ") for task in tasks], rotation=60, ha="right")
        handles, texts = panels[0].get_legend_handles_labels()
        canvas.legend(handles, texts, loc="outside upper center", ncols=len(texts))
    return canvas


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import PercentFormatter

    losses = [loss for loss in LOSSES if f"relative_{loss}" in rows]
    width = _WIDTH if len(losses) > 1 else 2 * _WIDTH
    places = np.arange(len(rows))
    tops = []
    for number, loss in enumerate(losses):
        words, colour = LOSSES[loss]
        at = places + (number - (len(losses) - 1) / 2) * width
        values = rows[f"relative_{loss}"].to_numpy(dtype=np.float64)
        low, high = rows[f"low_{loss}"].to_numpy(dtype=np.float64), rows[f"high_{loss}"].to_numpy(dtype=np.float64)
        axes.bar(at, values, width=width, color=colour, label=f"{words} (with 95 % interval)")
        axes.vlines(at, low, high, color=INK, linewidth=0.9)
        tops += [values, low, high]
    benchmark = rows["relative_base"].to_numpy(dtype=np.float64)
    axes.scatter(
        places, benchmark, marker="_", s=110, linewidths=2.2, color=MUTED, label="majority / base rate / mean", zorder=3
    )
    axes.axhline(0.0, color=INK, linewidth=1.0)
    for border in _borders(rows["kind"]):
        axes.axvline(border, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    _limits(axes, np.concatenate(tops), benchmark, places)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("error increase over\nthe single-task network")
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.grid(axis="x", visible=False)


def _limits(axes: Axes, bars: np.ndarray, benchmark: np.ndarray, places: np.ndarray) -> None:
    """The bars decide the range; a benchmark far above them is written at the edge instead of flattening them."""
    finite = bars[np.isfinite(bars)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.1)
    low, high = min(low, 0.0), max(high, 0.0)
    spread = max(high - low, 0.02)
    known = benchmark[np.isfinite(benchmark)]
    low, edge = min([low, *known]), max(min(max([high, *known]), high + 1.5 * spread), high)
    room = edge - low
    axes.set_ylim(low - 0.05 * room, edge + 0.16 * room)
    for place in places[np.isfinite(benchmark) & (np.nan_to_num(benchmark) > edge)]:
        text = f"{benchmark[place]:+.0%} ↑"
        axes.text(place, edge + 0.08 * room, text, ha="center", va="top", fontsize=7.5, color=MUTED, rotation=90)


def _kinds(axes: Axes, kinds: list[str]) -> None:
    """What kind of task stands under which part of the axis."""
    for kind, words in KINDS.items():
        if kind in kinds:
            middle = kinds.index(kind) + (kinds.count(kind) - 1) / 2
            axes.text(middle, 0.99, words, transform=axes.get_xaxis_transform(), ha="center", va="top", color=MUTED)


def _borders(kinds: pd.Series) -> list[float]:
    """Between two kinds of task."""
    values = kinds.tolist()
    return [number - 0.5 for number in range(1, len(values)) if values[number] != values[number - 1]]
