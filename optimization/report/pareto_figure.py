"""The cloud of all trials: what more of the objective costs each other head, and where the guardrails stand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from evaluation.svg import BLUE, INK, MUTED, ORANGE, PALE_BLUE, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMNS = 3


def pareto_figure(
    cloud: pd.DataFrame, required: Mapping[str, float], *, labels: tuple[str, str], name: str = "pareto"
) -> str:
    """One panel per head: the objective (up) against this head's metric (across), one dot per trial.

    Args:
        cloud: One row per trial and head: trial, head, value, objective, feasible, mark: "baseline", "best",
            "frontier" (a trial that no other beats on every searched objective), or None.
        required: Head -> what its guardrail asks for; drawn as a line, no line for a head without one.
        labels: What stands at the axes: the metric (the head is the panel's title) and the objective.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    heads = ", ".join(dict.fromkeys(str(head) for head in cloud["head"]))
    return svg_text(draw_pareto(cloud, required, labels=labels), name, f"{labels[1]} of all trials against {heads}")


def draw_pareto(cloud: pd.DataFrame, required: Mapping[str, float], *, labels: tuple[str, str]) -> Canvas:
    """`pareto_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    heads = list(dict.fromkeys(cloud["head"]))
    columns = min(COLUMNS, len(heads))
    lines = math.ceil(len(heads) / columns)
    with style():
        canvas = Canvas(figsize=(4.0 * columns + 0.4, 3.4 * lines + 0.5), layout="constrained")
        panels = canvas.subplots(lines, columns, sharey=True, squeeze=False)
        for number, axes in enumerate(panels.flat):
            if number >= len(heads):
                axes.set_visible(False)
                continue
            _panel(axes, cloud[cloud["head"] == heads[number]], required.get(str(heads[number])))
            axes.set_title(str(heads[number]), loc="left")
            axes.set_xlabel(f"{labels[0]} of {heads[number]}")
            if number % columns == 0:
                axes.set_ylabel(labels[1])
        found = {text: handle for axes in panels.flat for handle, text in zip(*axes.get_legend_handles_labels())}
        canvas.legend(list(found.values()), list(found), loc="outside upper center", ncols=len(found))
    return canvas


def _panel(axes: Axes, cloud: pd.DataFrame, required: float | None) -> None:
    from matplotlib.ticker import MaxNLocator

    if required is not None:
        axes.axvline(required, color=VERMILION, linewidth=1.2, linestyle=(0, (4, 3)), label="guardrail", zorder=1)
    inside, outside = cloud[cloud["feasible"]], cloud[~cloud["feasible"]]
    if len(outside):
        axes.plot(
            outside["value"], outside["objective"], "x", color=MUTED, markersize=4.0, alpha=0.55,
            label="breaks a guardrail", zorder=2,
        )  # fmt: skip
    frontier = cloud[cloud["mark"] == "frontier"]
    marked = [(cloud[cloud["mark"] == mark], mark) for mark in ("baseline", "best")]
    for rows, label, marker, colour, size in (
        (inside, "feasible", "o", PALE_BLUE, 4.5),
        (frontier, "Pareto frontier", "o", BLUE, 4.5),
        (*marked[0], "s", INK, 7.0),
        (*marked[1], "*", ORANGE, 14.0),
    ):
        if len(rows):
            axes.plot(
                rows["value"], rows["objective"], marker, color=colour, markersize=size, linestyle="none",
                markeredgecolor="white", markeredgewidth=0.6, label=label, zorder=4,
            )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
