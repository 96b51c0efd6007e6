"""Rounds drawn: what the weights after each round are truly worth, between what was there before and the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from evaluation.svg import BLUE, GREEN, MUTED, ORANGE, PURPLE, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def policies_figure(table: pd.DataFrame, *, name: str = "rounds") -> str:
    """True expected utility relative to the control, against the number of rounds.

    Args:
        table: Columns policy, round (0: weights that no round found), lift, low, high (percent over the control).
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    names = ", ".join(table["policy"].drop_duplicates())
    return svg_text(draw_policies_figure(table), name, f"True utility over the control after each round, for {names}")


def draw_policies_figure(table: pd.DataFrame) -> Canvas:
    """`policies_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    with style():
        canvas = Canvas(figsize=(8.6, 4.2), layout="constrained")
        axes = canvas.subplots()
        still = table[table["round"] == 0]
        for record, colour in zip(still.to_dict("records"), (MUTED, ORANGE, GREEN, PURPLE, VERMILION), strict=False):
            axes.axhline(record["lift"], color=colour, linewidth=1.5, linestyle=(0, (4, 3)), label=record["policy"])
        for policy, rows in table[table["round"] > 0].groupby("policy", sort=False):
            axes.errorbar(
                rows["round"], rows["lift"], yerr=[rows["lift"] - rows["low"], rows["high"] - rows["lift"]],
                color=BLUE, marker="o", markersize=6, linewidth=2, elinewidth=1.2, label=str(policy),
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("rounds")
        axes.set_ylabel("true utility over the control, %")
        canvas.legend(loc="outside upper center", ncols=3)
    return canvas
