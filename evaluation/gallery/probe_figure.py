"""Table 2 drawn: accuracy against the number of labels, a line per arm, the majority class underneath."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.gallery.probe_result import MAJORITY
from evaluation.svg import BLUE, GREEN, MUTED, ORANGE, PURPLE, SKY, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
WORDS = {"two-layer": "Two-layer head", "linear": "Linear head"}


def probe_figure(accuracy: pd.DataFrame, *, name: str = "probe") -> str:
    """Accuracy against labels, one panel per head; budgets of exact passes are left to the table.

    Args:
        accuracy: `ProbeResult.accuracy()`.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    arms = ", ".join(dict.fromkeys(accuracy["arm"]))
    return svg_text(draw_probe_figure(accuracy), name, f"Lines: accuracy against the number of labels for {arms}")


def draw_probe_figure(accuracy: pd.DataFrame) -> Canvas:
    """`probe_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas

    heads = [head for head in WORDS if (accuracy["head"] == head).any()]
    arms = [arm for arm in dict.fromkeys(accuracy["arm"]) if arm != MAJORITY]
    chance = accuracy[accuracy["arm"] == MAJORITY]["accuracy"].tolist()
    with style():
        canvas = Canvas(figsize=(5.6 * len(heads) + 0.4, 4.4), layout="constrained")
        panels = canvas.subplots(1, len(heads), sharey=True, squeeze=False)[0]
        for axes, head in zip(panels, heads):
            for number, arm in enumerate(arms):
                rows = accuracy[(accuracy["head"] == head) & (accuracy["arm"] == arm)]
                rows = rows[rows["budget"].str.endswith("%")].sort_values("labels")
                shift = (number - (len(arms) - 1) / 2) * 0.006  # intervals side by side, not on top of one another
                _line(axes, rows, arm, COLOURS[number % len(COLOURS)], shift)
            for value in chance:
                axes.axhline(value, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=MAJORITY)
            axes.set_title(WORDS[head], loc="left")
            axes.set_xlabel("labels the probe was trained on")
        panels[0].set_ylabel("accuracy on items it has not seen")
        handles, texts = panels[0].get_legend_handles_labels()
        canvas.legend(handles, texts, loc="outside upper center", ncols=min(len(texts), 6))
    return canvas


def _line(axes: Axes, rows: pd.DataFrame, arm: str, colour: str, shift: float) -> None:
    values = rows["accuracy"].to_numpy(dtype=np.float64)
    labels = rows["labels"].to_numpy(dtype=np.float64) * (1.0 + 4 * shift)
    low, high = rows["low"].to_numpy(dtype=np.float64), rows["high"].to_numpy(dtype=np.float64)
    reach = np.array([values - low, high - values])
    axes.errorbar(
        labels, values, yerr=reach, color=colour, linewidth=1.8, elinewidth=0.9, marker="o", markersize=5, label=arm
    )
