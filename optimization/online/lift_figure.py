"""Every treatment group against the control of its own round, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.svg import BLUE, INK, MUTED, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

BEST, HOLDS, BROKEN, INCOMPLETE = "best", "holds", "broken", "incomplete"
GREY = "#A3AAB3"
# mark -> colour, shape, fill, size, legend
LOOKS = {
    BEST: (VERMILION, "*", VERMILION, 14.0, "best"),
    HOLDS: (BLUE, "o", BLUE, 6.5, "measured"),
    BROKEN: (GREY, "X", GREY, 9.0, "breaks a constraint"),
    INCOMPLETE: (BLUE, "o", "white", 6.5, "not all numbers in, counts for nothing yet"),
}


def lift_figure(table: pd.DataFrame, *, metric: str, maximise: bool = True, name: str = "lifts") -> str:
    """Forest plot: a line per group, the rounds below each other, 0 being the control of each round.

    Args:
        table: Columns group, round, lift, low, high (in the unit of the metric, NaN without numbers) and mark: "best",
            "holds" (every constraint), "broken" (one of them) or "incomplete" (numbers are missing).
        metric: What the lifts are of.
        maximise: Whether more of it is better.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.

    Raises:
        ValueError: no group has a lift.
    """
    rounds = table["round"].nunique()
    canvas = draw_lift_figure(table, metric=metric, maximise=maximise)
    groups = ", ".join(table["group"])
    return svg_text(canvas, name, f"Lifts of {metric} with 95 % intervals in {rounds} rounds, for {groups}")


def draw_lift_figure(table: pd.DataFrame, *, metric: str, maximise: bool = True) -> Canvas:
    """`lift_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    if not table["lift"].notna().any():
        raise ValueError("`table` must hold at least one lift, got none")
    order = table["round"].rank(method="dense").to_numpy() - 1
    places = np.arange(len(table)) + 0.9 * order  # a gap before every round but the first
    with style():
        canvas = Canvas(figsize=(9.0, 1.25 + 0.27 * (places[-1] + 1.8)), layout="constrained")
        axes = canvas.subplots()
        axes.axvline(0.0, color=INK, linewidth=0.9, zorder=1)
        for mark, (colour, shape, fill, size, label) in LOOKS.items():
            own = (table["mark"] == mark).to_numpy() & table["lift"].notna().to_numpy()
            if own.any():
                rows = table[own]
                axes.errorbar(
                    rows["lift"], places[own], xerr=[rows["lift"] - rows["low"], rows["high"] - rows["lift"]],
                    fmt=shape, markersize=size, color=colour, markerfacecolor=fill, elinewidth=1.6, label=label,
                    markeredgecolor=colour if fill == "white" else "white", zorder=3,
                )  # fmt: skip
        for place in places[table["lift"].isna().to_numpy()]:
            axes.annotate(
                "no lift yet", (0.0, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5,
                color=MUTED,
            )  # fmt: skip
        for number, own in enumerate(np.unique(order)):
            inside = places[order == own]
            if number % 2 == 0:
                axes.axhspan(inside[0] - 0.75, inside[-1] + 0.75, color="#F6F8FA", linewidth=0, zorder=0)
            axes.annotate(
                f"round {table['round'].to_numpy()[order == own][0]}", (1.0, inside.mean()), rotation=0,
                xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points", va="center",
                color=MUTED, fontsize=9.0,
            )  # fmt: skip
        axes.set_yticks(places, list(table["group"]))
        axes.set_ylim(places[-1] + 0.9, places[0] - 0.9)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.04)
        way = "more is better" if maximise else "less is better"
        axes.set_xlabel(f"{metric}: difference to the round's control ({way})", parse_math=False)
        canvas.legend(loc="outside upper center", ncols=4)
    return canvas
