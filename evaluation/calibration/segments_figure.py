"""Predicted / observed of the worst segments, with intervals, on a log axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evaluation.formatting import format_number
from evaluation.svg import BLUE, GRID, INK, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MOST = 12
CLOSE = 0.05  # the grey band: within 5 %
WIDEST = 32.0  # a ratio further off is drawn at the edge
LETTERS = 34


def segments_figure(table: pd.DataFrame, *, most: int = MOST, name: str = "segments") -> str | None:
    """One line per segment: ratio and 95 % interval, flagged segments as filled red diamonds, p (Holm) at the right.

    Args:
        table: `worst_segments`; its first `most` tested segments are drawn, in the table's order.
        most: How many lines.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element; None where no segment was tested.
    """
    shown = table[table["p"].notna()].head(most) if len(table) else table
    if not len(shown):
        return None
    first, flagged = shown.iloc[0], int(table["flagged"].sum())
    description = (
        f"Predicted over observed in the {len(shown)} segments surest to be off; {flagged} are off beyond chance. "
        f"First: {first['head']}, {first['column']} {first['slice']}, {format_number(float(first['ratio']))}."
    )
    return svg_text(draw_segments(shown), name, description)


def draw_segments(table: pd.DataFrame) -> Canvas:
    """`segments_figure` as a matplotlib figure: every row of `table` is drawn."""
    from matplotlib.figure import Figure as Canvas

    with style():
        canvas = Canvas(figsize=(8.4, 0.3 * len(table) + 1.2), layout="constrained")
        axes = canvas.subplots()
        axes.set_xscale("log")
        axes.axvspan(1.0 / (1.0 + CLOSE), 1.0 + CLOSE, color=GRID, zorder=0)
        axes.axvline(1.0, color=INK, linewidth=0.9, zorder=1)
        _limits(axes, table)
        for place, (_, segment) in enumerate(table.iterrows()):
            _line(axes, place, segment)
        axes.set_yticks(range(len(table)), [_label(segment) for _, segment in table.iterrows()])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("predicted / observed (left of 1: predicted too little, right: too much)")
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(table)), [_chance(p) for p in table["p_adjusted"]])
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
    return canvas


def _line(axes: Axes, place: int, segment: pd.Series[Any]) -> None:
    flagged = bool(segment["flagged"])
    colour, marker = (VERMILION, "D") if flagged else (BLUE, "o")
    ratio = float(segment["ratio"])
    if np.isnan(ratio):  # something was predicted, nothing came
        axes.plot(0.985, place, ">", color=colour, markersize=7.0, transform=axes.get_yaxis_transform(), zorder=3)
        axes.text(
            0.965, place, f"none observed in {segment['rows']:,} rows", transform=axes.get_yaxis_transform(),
            ha="right", va="center", fontsize=8.5, color=INK, zorder=3,
        )  # fmt: skip
        return
    low, high = float(segment["low"]), float(segment["high"])
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [place, place], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
    inside = min(max(ratio, 1.0 / WIDEST), WIDEST)
    face = colour if flagged else "white"
    axes.plot(inside, place, marker, color=colour, markerfacecolor=face, markersize=6.5, zorder=3)


def _limits(axes: Axes, table: pd.DataFrame) -> None:
    """From the smallest to the largest end shown, both sides of 1, with plain numbers at the ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends = table[["ratio", "low", "high"]].to_numpy(float)
    ends = ends[np.isfinite(ends) & (ends > 0.0)]
    low = min(float(ends.min()) if len(ends) else 1.0, 0.8) / 1.08
    high = max(float(ends.max()) if len(ends) else 1.0, 1.25) * 1.08
    low, high = max(low, 1.0 / WIDEST), min(high, WIDEST)
    ticks = [0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 1.4, 2.0, 5.0, 10.0, 20.0]
    if high / low < 2.5:
        ticks = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8]
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _chance(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {format_number(float(p))}"


def _label(segment: pd.Series[Any]) -> str:
    text = " ".join(f"{segment['column']}: {segment['slice']}".split())
    text = text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
    return f"{segment['head']}, {text}".replace("$", r"\$")  # no formulas out of a user's names
