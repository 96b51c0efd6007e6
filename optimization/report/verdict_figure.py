"""Every candidate against the reference, head by head, with its interval and the guardrail that it must not cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from evaluation.comparison.paired import BETTER, WORSE
from evaluation.formatting import format_number
from evaluation.svg import BLUE, INK, MUTED, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMNS = 3
COLOURS = {BETTER: BLUE, WORSE: VERMILION}


def verdict_figure(
    values: pd.DataFrame, guardrails: pd.DataFrame, *, reference: str, close: Sequence[str], name: str = "verdict"
) -> str:
    """One panel per head: each candidate's difference to the reference with its 95 % interval.

    Args:
        values: `Verdict.values`.
        guardrails: `Verdict.guardrails`; a line is drawn where a head has one.
        reference: The candidate at 0.
        close: The candidates that set the range of a panel. Weights of a single head lie far off and would press the
            others into one point: what leaves the picture is an arrow with its number.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    heads = ", ".join(dict.fromkeys(str(head) for head in values["head"]))
    canvas = draw_verdict(values, guardrails, reference=reference, close=close)
    return svg_text(canvas, name, f"Differences to {reference} weights with intervals for {heads}")


def draw_verdict(values: pd.DataFrame, guardrails: pd.DataFrame, *, reference: str, close: Sequence[str]) -> Canvas:
    """`verdict_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    heads = list(dict.fromkeys(values["head"]))
    names = [name for name in dict.fromkeys(values["candidate"]) if name != reference]
    columns = min(COLUMNS, len(heads))
    lines = math.ceil(len(heads) / columns)
    with style():
        canvas = Canvas(figsize=(3.7 * columns + 1.2, (0.31 * len(names) + 1.15) * lines), layout="constrained")
        panels = canvas.subplots(lines, columns, sharey=True, squeeze=False)
        for number, axes in enumerate(panels.flat):
            if number >= len(heads):
                axes.set_visible(False)
                continue
            table = values[values["head"] == heads[number]].set_index("candidate")
            rails = guardrails[guardrails["head"] == heads[number]] if len(guardrails) else guardrails
            line, sign = None, 1.0
            if len(rails):
                line = float(rails["required"].iloc[0]) - float(table.loc[reference, "value"])
                sign = float(rails["sign"].iloc[0])
            _panel(axes, table, names, [c for c in close if c in names], line, sign)
            axes.set_title(str(heads[number]), loc="left")
            if number + columns >= len(heads):
                axes.set_xlabel(f"difference to {reference}")
        panels[0, 0].set_yticks(range(len(names)), names)
        panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return canvas


def _panel(
    axes: Axes, table: pd.DataFrame, names: list[str], close: list[str], guardrail: float | None, sign: float
) -> None:
    from matplotlib.ticker import MaxNLocator

    shown = table.loc[close or names]
    edges = [0.0, *shown["difference"], *shown["difference_low"].dropna(), *shown["difference_high"].dropna()]
    edges += [] if guardrail is None else [guardrail]
    width = (max(edges) - min(edges)) or 1e-6
    low, high = min(edges) - 0.15 * width, max(edges) + 0.15 * width
    axes.axvline(0.0, color=INK, linewidth=0.9, zorder=1)
    if guardrail is not None:
        axes.axvline(guardrail, color=VERMILION, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        beyond = low - width if sign > 0 else high + width  # where it is broken
        axes.axvspan(*sorted((beyond, guardrail)), color=VERMILION, alpha=0.06, linewidth=0, zorder=0)
    rows: dict[Any, dict[Any, Any]] = table.to_dict("index")
    for place, name in enumerate(names):
        row = rows[name]
        value, colour = float(row["difference"]), COLOURS.get(row["verdict"], MUTED)
        if abs(value - (low + high) / 2) <= 0.48 * (high - low):
            axes.plot([row["difference_low"], row["difference_high"]], [place, place], color=colour, linewidth=1.8)
            axes.plot(value, place, "o", color=colour, markersize=6.0, markeredgecolor="white", zorder=3)
        elif math.isfinite(value):
            left = value < low
            axes.plot(
                low + 0.02 * (high - low) if left else high - 0.02 * (high - low), place, "<" if left else ">",
                color=colour, markersize=5.0, zorder=3,
            )  # fmt: skip
            text = format_number(value, signed=True)
            axes.annotate(
                text, (0.05 if left else 0.95, place), xycoords=("axes fraction", "data"), va="center",
                ha="left" if left else "right", fontsize=8.5, color=colour,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}, zorder=4,
            )  # fmt: skip
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
