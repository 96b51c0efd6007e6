"""Lifts drawn: a line per engagement, a mark per measure with its interval, and where the truth lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.marketplace.lifts import MEASURES
from evaluation.svg import BLUE, INK, MUTED, ORANGE, style, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def lift_figure(table: pd.DataFrame, *, name: str = "lifts") -> str:
    """Forest plot of lifts in percent.

    Args:
        table: Columns head, measure, lift, low, high (percent) and true_lift.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    heads = ", ".join(table["head"].drop_duplicates())
    return svg_text(draw_lift_figure(table), name, f"Lift in percent with 95 % intervals for {heads}")


def draw_lift_figure(table: pd.DataFrame) -> Canvas:
    """`lift_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    heads = list(table["head"].drop_duplicates())
    with style():
        canvas = Canvas(figsize=(8.6, 0.9 + 0.62 * len(heads)), layout="constrained")
        axes = canvas.subplots()
        axes.axvline(0.0, color=INK, linewidth=0.9)
        for measure, colour, shift in zip(MEASURES, (ORANGE, BLUE), (-0.16, 0.16), strict=True):
            rows = table[table["measure"] == measure].set_index("head").loc[heads]
            places = np.arange(len(heads)) + shift
            axes.errorbar(
                rows["lift"], places, xerr=[rows["lift"] - rows["low"], rows["high"] - rows["lift"]], fmt="o",
                markersize=5.5, color=colour, elinewidth=1.4, label=f"{measure}, measured",
            )  # fmt: skip
            label = "the truth" if measure == MEASURES[-1] else None
            axes.plot(rows["true_lift"], places, "|", markersize=13, color=MUTED, markeredgewidth=2, label=label)
        axes.set_yticks(range(len(heads)), [head.replace("_", " ") for head in heads])
        axes.set_ylim(len(heads) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("lift, %")
        canvas.legend(loc="outside upper center", ncols=3)
    return canvas
