"""How many evaluations each search needs: the best feasible objective so far, Ax beside its cheap controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from evaluation.svg import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

LONG = 60  # evaluations: beyond, a log axis keeps the first ones apart


def convergence_figure(
    convergence: pd.DataFrame,
    baseline: float,
    *,
    labels: Mapping[str, str],
    objective: str,
    name: str = "convergence",
) -> str:
    """Best-so-far curves, one step line per search, over the number of evaluated weight vectors.

    Args:
        convergence: phase, evaluations (1, 2, ...), best: the best feasible objective so far, NaN before the first.
        baseline: The objective of the weights in production.
        labels: Phase -> its name for people, in the order of the lines; the first is drawn strongest.
        objective: The words of the vertical axis.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    canvas = draw_convergence(convergence, baseline, labels=labels, objective=objective)
    return svg_text(canvas, name, f"Best feasible {objective} against evaluations for {', '.join(labels.values())}")


def draw_convergence(
    convergence: pd.DataFrame, baseline: float, *, labels: Mapping[str, str], objective: str
) -> Canvas:
    """`convergence_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    colours = (BLUE, ORANGE, GREEN, PURPLE, VERMILION)
    with style():
        canvas = Canvas(figsize=(8.6, 3.9), layout="constrained")
        axes = canvas.subplots()
        last = float(convergence["evaluations"].max())
        axes.axhline(baseline, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="baseline")
        for order, (colour, (phase, text)) in enumerate(zip(colours, labels.items())):
            rows = convergence[convergence["phase"] == phase].dropna(subset="best")
            if not len(rows):
                continue
            axes.step(
                rows["evaluations"], rows["best"], where="post", color=colour, linewidth=2.6 if order == 0 else 1.5,
                label=text, zorder=4 - 0.1 * order,
            )  # fmt: skip
            end = rows.iloc[-1]
            axes.plot(end["evaluations"], end["best"], "o", color=colour, markersize=5.0, zorder=5)
        axes.set_xlabel("evaluated weight vectors")
        axes.set_ylabel(f"best feasible {objective} so far")
        axes.grid(visible=False, axis="x")
        if last > LONG:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xticks([t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if t <= last])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(right=last * 1.05)
        _limits(axes, convergence, baseline)
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return canvas


def _limits(axes: Axes, convergence: pd.DataFrame, baseline: float) -> None:
    """From the baseline up: a search that has not yet reached it has found nothing, and would flatten the rest."""
    seen = convergence["best"].dropna().to_numpy(float)
    high = max(float(seen.max()), baseline) if len(seen) else baseline
    ends = convergence.dropna(subset="best").groupby("phase")["best"].last().to_numpy(float)
    low = min([baseline, *ends])
    margin = 0.08 * (high - low) or 0.02 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
