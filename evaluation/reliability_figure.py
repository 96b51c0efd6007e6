"""Reliability diagrams on log-log axes with the score distribution under them: figure 3 of [Pinterest 2020]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from evaluation.formatting import format_number
from evaluation.reliability import SMALLEST_SHOWN
from evaluation.svg import BLUE, INK, MUTED, PALE_BLUE, STAGE_COLOURS, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

Scale = Literal["log", "linear"]
COLUMNS = 3


def reliability_figure(
    bins: pd.DataFrame,
    histograms: pd.DataFrame,
    briers: Mapping[str, float | None],
    *,
    labels: tuple[str, str] = ("predicted probability", "observed rate"),
    scale: Scale = "log",
    name: str = "reliability",
) -> str:
    """One panel per head: what happened against what was predicted, and where the scores lie.

    On linear axes a head with a base rate of 1 % is a dot in the corner; on log-log axes a factor of two is the same
    distance everywhere, and the diagonal is calibration.

    Args:
        bins: `reliability_table` per head and stage, with the columns `head` and `stage` in front; the last stage of
            a head is the model's final answer and is drawn with its band.
        histograms: `score_histogram` per head, with the column `head` in front.
        briers: Head -> Brier score of the final stage, for the legend; a head without one (a utility) shows none.
        labels: What stands at the axes, x and y.
        scale: "linear" for a utility with negative weights.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    canvas = draw_reliability(bins, histograms, briers, labels=labels, scale=scale)
    heads = ", ".join(dict.fromkeys(str(head) for head in bins["head"]))
    return svg_text(canvas, name, f"Reliability diagrams with score histograms of {heads}")


def draw_reliability(
    bins: pd.DataFrame,
    histograms: pd.DataFrame,
    briers: Mapping[str, float | None],
    *,
    labels: tuple[str, str] = ("predicted probability", "observed rate"),
    scale: Scale = "log",
) -> Canvas:
    """`reliability_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    heads = list(dict.fromkeys(bins["head"]))
    columns = min(COLUMNS, len(heads))
    lines = math.ceil(len(heads) / columns)
    stages = list(dict.fromkeys(bins["stage"]))
    with style():
        canvas = Canvas(figsize=(4.0 * columns + 0.4, 4.6 * lines + 0.5), layout="constrained")
        grid = canvas.add_gridspec(2 * lines, columns, height_ratios=[3.4, 1.0] * lines, hspace=0.04, wspace=0.05)
        for number, head in enumerate(heads):
            line, column = divmod(number, columns)
            upper = canvas.add_subplot(grid[2 * line, column])
            lower = canvas.add_subplot(grid[2 * line + 1, column], sharex=upper)
            head_bins = bins[bins["head"] == head]
            histogram = histograms[histograms["head"] == head]
            _reliability(upper, head_bins, scale)
            if str(head) in briers:
                _note(upper, f"Brier {format_number(briers[str(head)])}")
            _histogram(lower, histogram)
            _limits(upper, head_bins, histogram, scale)
            upper.set_title(str(head), loc="left")
            upper.tick_params(labelbottom=False)
            lower.set_xlabel(labels[0])
            if column == 0:
                upper.set_ylabel(labels[1])
                lower.set_ylabel("share")
        if len(stages) > 1:
            handles, texts = canvas.axes[0].get_legend_handles_labels()
            canvas.legend(handles, texts, loc="outside upper center", ncols=len(texts))
    return canvas


def _reliability(axes: Axes, bins: pd.DataFrame, scale: Scale) -> None:
    stages = list(dict.fromkeys(bins["stage"]))
    axes.set_xscale(scale)
    axes.set_yscale(scale)
    axes.axline((1e-3, 1e-3), (1.0, 1.0), color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    for colour, stage in zip(STAGE_COLOURS, stages[:-1]):
        table = _visible(bins[bins["stage"] == stage], scale)
        axes.plot(table["predicted"], table["observed"], color=colour, linewidth=1.4, alpha=0.9, label=stage, zorder=2)
    final = bins[bins["stage"] == stages[-1]]
    if scale == "log":
        final = final[final["predicted"] > 0.0]
    seen = _visible(final, scale)
    # where nothing was observed the band reaches 0, which a log axis has not: let it run out of the picture
    low = np.maximum(final["observed_low"].to_numpy(float), SMALLEST_SHOWN if scale == "log" else -np.inf)
    axes.fill_between(final["predicted"], low, final["observed_high"], color=BLUE, alpha=0.16, linewidth=0, zorder=2)
    axes.plot(
        seen["predicted"], seen["observed"], color=BLUE, linewidth=1.8, marker="o", markersize=4.5,
        markeredgecolor="white", markeredgewidth=0.6, label=stages[-1], zorder=4,
    )  # fmt: skip


def _note(axes: Axes, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2.0}
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=10, color=INK, bbox=box, zorder=5)


def _histogram(axes: Axes, histogram: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = histogram["low"].to_numpy(float), histogram["high"].to_numpy(float)
    axes.bar(low, histogram["share"].to_numpy(float), width=high - low, align="edge", color=PALE_BLUE)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=2))
    axes.set_ylim(bottom=0.0)


def _limits(axes: Axes, bins: pd.DataFrame, histogram: pd.DataFrame, scale: Scale) -> None:
    """The same range on both axes, so that the diagonal is a diagonal."""
    held = histogram[histogram["share"] > 1e-3]
    seen = _visible(bins, scale)
    low = min(_range(table[column])[0] for table, column in _columns(held, seen))
    high = max(_range(table[column])[1] for table, column in _columns(held, seen))
    if scale == "linear":
        margin = 0.05 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(low - margin, high + margin)
        return
    low, high = max(low, SMALLEST_SHOWN) * 0.8, high * 1.25
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis, decades=math.log10(high / low))


def _columns(held: pd.DataFrame, seen: pd.DataFrame) -> list[tuple[pd.DataFrame, str]]:
    both = [(held, "low"), (held, "high"), (seen, "predicted"), (seen, "observed")]
    return [(table, column) for table, column in both if len(table)]


def _range(values: pd.Series) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _plain_ticks(axis: Axis, decades: float) -> None:
    """0.01 instead of 10 to the -2; less than two decades also carry 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.8 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10f}".rstrip("0").rstrip(".")))
    axis.set_minor_formatter(NullFormatter())


def _visible(table: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    return table if scale == "linear" else table[(table["predicted"] > 0.0) & (table["observed"] > 0.0)]
