"""The ablation drawn: what a vector is worth against what it costs to compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from evaluation.gallery.probe_figure import COLOURS
from evaluation.svg import INK, MUTED, style, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def ablation_figure(table: pd.DataFrame, *, name: str = "ablation") -> str:
    """Probe accuracy against milliseconds per gallery, a point per variant, a colour per backbone.

    Args:
        table: Of `ablation_table`, with the probe's columns.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element.
    """
    known = ", ".join(str(variant) for variant in _known(table)["variant"])
    return svg_text(draw_ablation_figure(table), name, f"Scatter: probe accuracy against latency for {known}")


def draw_ablation_figure(table: pd.DataFrame) -> Canvas:
    """`ablation_figure` as a matplotlib figure."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import ScalarFormatter

    rows = _known(table)
    with style():
        canvas = Canvas(figsize=(10.5, 4.8), layout="constrained")
        axes = canvas.subplots()
        for number, (backbone, found) in enumerate(rows.groupby("backbone", sort=False)):
            below, above = found["probe"] - found["probe_low"], found["probe_high"] - found["probe"]
            axes.errorbar(
                found["gallery_ms"], found["probe"], yerr=[below, above], fmt="o", markersize=6, elinewidth=0.9,
                color=COLOURS[number % len(COLOURS)], label=str(backbone),
            )  # fmt: skip
        for record in rows.to_dict(orient="records"):
            axes.annotate(
                str(record["variant"]), (record["gallery_ms"], record["probe"]), xytext=(7, 3),
                textcoords="offset points", fontsize=8, color=INK,
            )  # fmt: skip
        for value in rows["majority"].drop_duplicates():
            axes.axhline(value, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label="majority class")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(ScalarFormatter())
        axes.tick_params(axis="x", which="minor", labelsize=8)
        axes.margins(x=0.2)
        axes.set_xlabel("ms per gallery of 20 photos (log scale)")
        axes.set_ylabel("accuracy of the held-out attribute")
        handles, texts = axes.get_legend_handles_labels()
        canvas.legend(handles, texts, loc="outside upper center", ncols=min(len(texts), 6))
    return canvas


def _known(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["reason"].isna() & table["probe"].notna()].reset_index(drop=True)
