"""Figure 6 of [Booking] drawn: class balance across, the cost of multi-task learning up, one point per binary task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.formatting import format_interval, format_number
from evaluation.gallery.class_balance import ClassBalance
from evaluation.gallery.task_figure import LOSSES, WORDS
from evaluation.gallery.task_optima import METRICS
from evaluation.svg import INK, MUTED, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


def balance_figure(balance: ClassBalance, *, name: str = "balance") -> str:
    """The scatter with its fitted lines, one panel per metric.

    Args:
        balance: From `class_balance`.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    parts = [
        f"{record['metric']}, {record['loss']}: r = {format_number(record['r'])}"
        for record in balance.correlations.to_dict(orient="records")
    ]
    description = "Scatter: share of the minority class against the relative error increase. " + "; ".join(parts)
    return svg_text(draw_balance_figure(balance), name, description)


def draw_balance_figure(balance: ClassBalance) -> Canvas:
    """`balance_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    metrics = [metric for metric in METRICS if (balance.points["metric"] == metric).any()]
    with style():
        canvas = Canvas(figsize=(11.4, 4.6) if len(metrics) > 1 else (6.4, 4.6), layout="constrained")
        panels = canvas.subplots(1, max(len(metrics), 1), squeeze=False)[0]
        for axes, metric in zip(panels, metrics):
            points = balance.points[balance.points["metric"] == metric]
            lines = balance.correlations[balance.correlations["metric"] == metric]
            _panel(axes, points, lines)
            axes.set_title(WORDS[metric].split(":")[0].split(" (")[0], loc="left")
    return canvas


def _panel(axes: Axes, points: pd.DataFrame, lines: pd.DataFrame) -> None:
    from matplotlib.ticker import PercentFormatter

    for record in lines.to_dict(orient="records"):
        words, colour = LOSSES[record["loss"]]
        rows = points[points["loss"] == record["loss"]]
        x, y = rows["minority"].to_numpy(dtype=np.float64), rows["relative"].to_numpy(dtype=np.float64)
        if record["reason"] is None:
            text = f"{words}: r = {format_number(record['r'])} {format_interval(record['low'], record['high'])}"
            ends = np.array([x.min(), x.max()])
            axes.plot(ends, record["intercept"] + record["slope"] * ends, color=colour, linewidth=1.5, zorder=2)
        else:
            text = f"{words}: {record['reason']}"
        axes.scatter(x, y, s=26, color=colour, edgecolors="white", linewidths=0.6, label=text, zorder=3)
    _names(axes, points)
    axes.axhline(0.0, color=INK, linewidth=1.0, zorder=1)
    axes.set_xlabel("share of the minority class")
    axes.set_ylabel("error increase over the single-task network")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.margins(x=0.1, y=0.15)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _names(axes: Axes, points: pd.DataFrame) -> None:
    """Each task once, at its highest point."""
    highest = points.sort_values("relative").drop_duplicates("task", keep="last")
    for record in highest.to_dict(orient="records"):
        axes.annotate(
            str(record["task"]).replace("_", " "),
            (record["minority"], record["relative"]),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=MUTED,
        )
