"""The cumulative difference of outcomes and predictions, with the band in which chance alone would keep it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from evaluation.formatting import chance, format_number
from evaluation.svg import BLUE, GRID, INK, MUTED, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMNS = 3


def cumulative_figure(tests: pd.DataFrame, curves: pd.DataFrame, *, name: str = "cumulative") -> str | None:
    """One panel per head: where the curve climbs the model predicts too little, where it falls too much.

    Both axes are shares of what was predicted in all, so the slope is observed / predicted - 1 at those scores. The
    grey band is as high as 95 % of calibrated models' curves are, from the curve's low or high point on: the curve
    leaves it exactly where the head's own p <= .05. The words, and the part drawn in red, go by p_adjusted: with many
    heads a curve may leave the band by chance.

    Args:
        tests: One row per head of `calibration_tests`.
        curves: Its curves.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element; None where no head has a curve.
    """
    shown = [head for head in tests["head"] if (curves["head"] == head).any()] if len(curves) else []
    if not shown:
        return None
    canvas = draw_cumulative(tests[tests["head"].isin(shown)], curves)
    found = "; ".join(f"{test['head']}: {test['sentence']}" for _, test in tests.iterrows())
    return svg_text(canvas, name, f"Cumulative difference of observed and predicted, by score. {found}")


def draw_cumulative(tests: pd.DataFrame, curves: pd.DataFrame) -> Canvas:
    """`cumulative_figure` as a matplotlib figure; every test's head has a curve."""
    from matplotlib.figure import Figure as Canvas

    columns = min(COLUMNS, len(tests))
    lines = math.ceil(len(tests) / columns)
    with style():
        canvas = Canvas(figsize=(4.0 * columns + 0.4, 3.0 * lines + 0.3), layout="constrained")
        panels = canvas.subplots(lines, columns, squeeze=False)
        for number, axes in enumerate(panels.flat):
            if number >= len(tests):
                axes.set_visible(False)
                continue
            test = tests.iloc[number]
            _panel(axes, test, curves[curves["head"] == test["head"]])
            if number % columns == 0:
                axes.set_ylabel("observed - predicted so far,\n% of all predicted")
            if number + columns >= len(tests):
                axes.set_xlabel("% of all predicted, lowest scores first")
    return canvas


def _panel(axes: Axes, test: pd.Series[Any], curve: pd.DataFrame) -> None:
    total = float(curve["predicted"].iloc[-1])
    unit = 100.0 / total if total > 0.0 else 100.0
    along = curve["predicted"].to_numpy(float) * unit
    height = curve["difference"].to_numpy(float) * unit
    critical = float(test["critical"]) * unit
    if math.isfinite(critical):
        climbs = height.max() > -height.min()
        foot = height.min() if climbs else height.max() - critical
        axes.axhspan(foot, foot + critical, color=GRID, zorder=0)
    axes.axhline(0.0, color=MUTED, linewidth=0.9, zorder=1)
    axes.plot(along, height, color=BLUE, linewidth=1.6, zorder=3)
    if test["rejected"]:
        first, last = sorted((int(height.argmin()), int(height.argmax())))
        inside = slice(first, last + 1)
        axes.plot(along[inside], height[inside], color=VERMILION, linewidth=2.6, zorder=4)
    axes.set_title(str(test["head"]).replace("$", r"\$"), loc="left", pad=19.0)  # no formulas out of a user's names
    axes.text(0.0, 1.03, _finding(test), transform=axes.transAxes, fontsize=9.0, color=INK)
    axes.margins(y=0.08)


def _finding(test: pd.Series[Any]) -> str:
    if test["reason"] is not None and pd.notna(test["reason"]):
        return str(test["reason"])
    p = f"{chance(float(test['p_adjusted']))} (Holm)"
    if not test["rejected"]:
        return f"not shown to be off, {p}"
    much = "too much" if test["predicted"] > test["observed"] else "too little"
    low, high = format_number(float(test["low"])), format_number(float(test["high"]))
    return f"{much} from {low} to {high}, {p}"
