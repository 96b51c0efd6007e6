"""Predicted / observed in slices of p_any, stage by stage: the picture of what the correction achieved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.svg import BLUE, GRID, INK, STAGE_COLOURS, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMNS = 3
MARKERS = ("v", "s", "D", "^", "P")  # shape as well as colour: the stages are told apart in print
CLOSE = 0.05  # the grey band: within 5 %


def calibration_figure(table: pd.DataFrame, *, name: str = "calibration") -> str:
    """One panel per head: the ratio with its 95 % interval, overall and per slice of p_any, one mark per stage.

    Args:
        table: `calibration_of_stages`; the last stage is the model's final answer.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    heads = ", ".join(dict.fromkeys(str(head) for head in table["head"]))
    return svg_text(draw_calibration(table), name, f"Predicted over observed in slices of p_any for {heads}")


def draw_calibration(table: pd.DataFrame) -> Canvas:
    """`calibration_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    heads = list(dict.fromkeys(table["head"]))
    stages = list(dict.fromkeys(table["stage"]))
    columns = min(COLUMNS, len(heads))
    lines = math.ceil(len(heads) / columns)
    with style():
        canvas = Canvas(figsize=(4.0 * columns + 0.4, 2.7 * lines + 0.5), layout="constrained")
        panels = canvas.subplots(lines, columns, sharey=True, squeeze=False)
        for number, axes in enumerate(panels.flat):
            if number >= len(heads):
                axes.set_visible(False)
                continue
            _panel(axes, table[table["head"] == heads[number]], stages)
            axes.set_title(str(heads[number]), loc="left")
            if number % columns == 0:
                axes.set_ylabel("predicted / observed")
            if number + columns >= len(heads):
                axes.set_xlabel("slice of p_any")
        _ratio_axis(panels[0, 0], table)
        handles, texts = panels[0, 0].get_legend_handles_labels()
        canvas.legend(handles, texts, loc="outside upper center", ncols=len(texts))
    return canvas


def _panel(axes: Axes, table: pd.DataFrame, stages: list[str]) -> None:
    slices = list(dict.fromkeys(table["slice"]))
    axes.axhspan(1.0 / (1.0 + CLOSE), 1.0 + CLOSE, color=GRID, zorder=0)
    axes.axhline(1.0, color=INK, linewidth=0.9, zorder=1)
    colours = [*STAGE_COLOURS[: len(stages) - 1], BLUE]
    markers = [*MARKERS[: len(stages) - 1], "o"]
    offsets = np.linspace(-0.26, 0.26, len(stages)) if len(stages) > 1 else np.zeros(1)
    for stage, colour, marker, offset in zip(stages, colours, markers, offsets):
        rows = table[(table["stage"] == stage) & (table["ratio"] > 0.0)]
        place = np.array([slices.index(part) for part in rows["slice"]]) + offset
        ratio = rows["ratio"].to_numpy(float)
        # no interval (a single request): the mark alone
        below = np.nan_to_num(ratio - rows["ratio_low"].to_numpy(float))
        above = np.nan_to_num(rows["ratio_high"].to_numpy(float) - ratio)
        axes.errorbar(
            place, ratio, yerr=np.vstack([below, above]), fmt=marker, color=colour, markersize=6.0,
            markeredgecolor="white", markeredgewidth=0.5, elinewidth=1.5, label=stage, zorder=3,
        )  # fmt: skip
    axes.set_xticks(range(len(slices)), slices)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    if len(slices) > 1:
        axes.axvline(0.5, color=GRID, linewidth=1.0)


def _ratio_axis(axes: Axes, table: pd.DataFrame) -> None:
    """A log axis from the smallest to the largest ratio shown, with plain numbers at its ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    shown = table.loc[table["ratio"] > 0.0, "ratio"].to_numpy(float)
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (1.0, 1.0)
    low, high = min(low * 0.85, 0.8), max(high * 1.18, 1.25)  # an interval may leave the picture, no mark does
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 1.4, 2.0, 5.0, 10.0, 20.0, 50.0]
    if high / low < 2.5:
        ticks = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8]
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
