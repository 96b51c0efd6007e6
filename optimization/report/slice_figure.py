"""Figure 4 of [Pinterest 2020] for each weight: the Gaussian process along a line through the best weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from evaluation.svg import BLUE, GREEN, MUTED, ORANGE, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMNS = 2
BAND = 2.0  # standard deviations, as in the article's figure


def slice_figure(slices: pd.DataFrame, observations: pd.DataFrame, *, objective: str, name: str = "slice") -> str:
    """One panel per head: posterior mean and two-standard-deviation band along its share, the acquisition below.

    The article's figure 4 shows a function of one weight; with several, each panel moves one head's share while the
    others keep their proportions. Observed trials differ in the other weights too, so they do not lie on the line.

    Args:
        slices: head, share, mean, sd, acquisition (>= 0; where it is high the search would look next).
        observations: head, share, value, best: the trials that the process was fitted to, and whether it is the best.
        objective: The words of the vertical axis.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    heads = ", ".join(dict.fromkeys(str(head) for head in slices["head"]))
    canvas = draw_slices(slices, observations, objective=objective)
    return svg_text(canvas, name, f"Posterior of {objective} along the share of {heads}")


def draw_slices(slices: pd.DataFrame, observations: pd.DataFrame, *, objective: str) -> Canvas:
    """`slice_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    heads = list(dict.fromkeys(slices["head"]))
    columns = min(COLUMNS, len(heads))
    lines = math.ceil(len(heads) / columns)
    with style():
        canvas = Canvas(figsize=(5.6 * columns + 0.4, 3.9 * lines + 0.5), layout="constrained")
        grid = canvas.add_gridspec(2 * lines, columns, height_ratios=[3.4, 1.0] * lines, hspace=0.04, wspace=0.05)
        for number, head in enumerate(heads):
            line, column = divmod(number, columns)
            upper = canvas.add_subplot(grid[2 * line, column])
            lower = canvas.add_subplot(grid[2 * line + 1, column], sharex=upper)
            _posterior(upper, slices[slices["head"] == head], observations[observations["head"] == head])
            _acquisition(lower, slices[slices["head"] == head])
            upper.set_title(str(head), loc="left")
            upper.tick_params(labelbottom=False)
            lower.set_xlabel(f"share of {head}")
            if column == 0:
                upper.set_ylabel(objective)
                lower.set_ylabel("acquisition")
        _same_range(canvas.axes[::2], slices, observations)
        highest = float(slices["acquisition"].max()) or 1.0
        for axes in canvas.axes[1::2]:
            axes.set_ylim(0.0, 1.1 * highest)
        handles, texts = canvas.axes[0].get_legend_handles_labels()
        more, words = canvas.axes[1].get_legend_handles_labels()
        canvas.legend([*handles, *more], [*texts, *words], loc="outside upper center", ncols=len(texts) + len(words))
    return canvas


def _posterior(axes: Axes, slices: pd.DataFrame, observations: pd.DataFrame) -> None:
    share, mean, sd = (slices[name].to_numpy(float) for name in ("share", "mean", "sd"))
    axes.fill_between(
        share, mean - BAND * sd, mean + BAND * sd, color=BLUE, alpha=0.16, linewidth=0, label="two standard deviations"
    )
    axes.plot(share, mean, color=BLUE, linewidth=1.8, label="posterior mean")
    rest, best = observations[~observations["best"]], observations[observations["best"]]
    axes.plot(rest["share"], rest["value"], "o", color=MUTED, markersize=4.0, alpha=0.6, label="observed trials")
    if len(best):  # another search may have found it
        axes.plot(
            best["share"], best["value"], "*", color=ORANGE, markersize=14.0, markeredgecolor="white",
            linestyle="none", label="best", zorder=5,
        )  # fmt: skip


def _acquisition(axes: Axes, slices: pd.DataFrame) -> None:
    share, value = slices["share"].to_numpy(float), slices["acquisition"].to_numpy(float)
    axes.plot(share, value, color=GREEN, linewidth=1.5, label="acquisition: where to look next")
    axes.fill_between(share, value, 0.0, color=GREEN, alpha=0.12, linewidth=0)
    axes.set_yticks([])


def _same_range(panels: list[Axes], slices: pd.DataFrame, observations: pd.DataFrame) -> None:
    """One vertical range: that of the bands and all above, so that a trial far below does not flatten them."""
    low = float((slices["mean"] - BAND * slices["sd"]).min())
    high = max(float((slices["mean"] + BAND * slices["sd"]).max()), float(observations["value"].max()))
    margin = 0.05 * (high - low) or 0.01
    for axes in panels:
        axes.set_ylim(low - margin, high + margin)
