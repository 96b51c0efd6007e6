"""Every head's metric in every slice beside its value over all rows: where the model is weak, at one look."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evaluation.formatting import format_number
from evaluation.report.words import metric_words
from evaluation.svg import BLUE, GRID, INK, MUTED, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE = 0.24  # inches per slice
MOST_NAME = 26  # letters of a slice's name that the margin has room for


def sliced_figure(
    table: pd.DataFrame, overall: Mapping[str, Mapping[str, Any]], *, metric: str = "auc", name: str = "slices"
) -> str:
    """One panel per head: the metric with its 95 % interval in every slice, the head's own value as a line.

    Args:
        table: `slice_metrics`: head, column, slice, metric, value, low, high, rows.
        overall: Head -> its estimate over all rows, `value`, `low`, `high`.
        metric: Which of the table's metrics.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element, whose text alternative says each head's lowest and highest slice.
    """
    from matplotlib.figure import Figure as Canvas

    chosen = table[table["metric"] == metric]
    heads = list(dict.fromkeys(chosen["head"]))
    slices = list(dict.fromkeys(zip(chosen["column"], chosen["slice"])))
    columns = [column for column, _ in slices]
    # a gap between the columns of slices
    gaps = np.cumsum([0.0, *(0.7 if before != after else 0.0 for before, after in itertools.pairwise(columns))])
    place = dict(zip(slices, (np.arange(len(slices)) + gaps).tolist()))
    with style():
        canvas = Canvas(figsize=(12.4, LINE * (len(slices) + gaps[-1]) + 1.1), layout="constrained")
        panels = canvas.subplots(1, len(heads), sharey=True, squeeze=False)[0]
        for axes, head in zip(panels, heads):
            _panel(axes, chosen[chosen["head"] == head], place, overall.get(str(head), {}))
            axes.set_title(str(head), loc="left")
            axes.set_xlabel(metric_words(metric))
        names = [_short(str(part)) for _, part in slices]
        panels[0].set_yticks(list(place.values()), names)
        for column in dict.fromkeys(columns):
            first = next(key for key in slices if key[0] == column)
            panels[0].text(
                0.0, place[first] - 0.5, str(column), transform=panels[0].get_yaxis_transform(), va="bottom",
                ha="right", fontsize=9.0, fontweight="bold", color=INK,
            )  # fmt: skip
        panels[0].set_ylim(max(place.values()) + 0.6, -1.1)
    return svg_text(canvas, name, f"{metric_words(metric)} by slice. {_description(chosen, heads)}")


def _panel(axes: Axes, table: pd.DataFrame, place: Mapping[Any, float], overall: Mapping[str, Any]) -> None:
    if overall.get("value") is not None:
        if overall.get("low") is not None:
            axes.axvspan(overall["low"], overall["high"], color=GRID, zorder=0)
        axes.axvline(overall["value"], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    shown = table[table["value"].notna()]
    value = shown["value"].to_numpy(float)
    where = [place[key] for key in zip(shown["column"], shown["slice"])]
    below = np.nan_to_num(value - shown["low"].to_numpy(float))
    above = np.nan_to_num(shown["high"].to_numpy(float) - value)
    axes.errorbar(
        value, where, xerr=np.vstack([below, above]), fmt="o", color=BLUE, markersize=5.0, markeredgecolor="white",
        markeredgewidth=0.5, elinewidth=1.5, zorder=3,
    )  # fmt: skip
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _short(text: str) -> str:
    return text if len(text) <= MOST_NAME else f"{text[: MOST_NAME - 1]}…"


def _description(table: pd.DataFrame, heads: list[Any]) -> str:
    parts = []
    for head in heads:
        known = table[(table["head"] == head) & table["value"].notna()]
        if not len(known):
            parts.append(f"{head}: undefined in every slice")
            continue
        low, high = known.loc[known["value"].idxmin()], known.loc[known["value"].idxmax()]
        parts.append(
            f"{head}: from {format_number(float(low['value']))} in {low['column']} {low['slice']}"
            f" to {format_number(float(high['value']))} in {high['column']} {high['slice']}"
        )
    return "; ".join(parts)
