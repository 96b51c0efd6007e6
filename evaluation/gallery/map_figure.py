"""The map of the embedding space as a picture, one panel per attribute [Booking, figure 4]."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evaluation.formatting import format_number
from evaluation.svg import MUTED, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Tol's muted scheme: nine colours that are told apart under every common colour blindness, and none is grey
CLASSES = ("#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499")
OTHER, MISSING = "#8A9099", "#D9DDE2"
MOST_CLASSES, COLUMNS = 9, 2
HEAD = 0.75  # inches above the panels, for the title and how to read them
KEYS: Any = {"markerscale": 2.2, "handletextpad": 0.2}
METHODS = {"tsne": "t-SNE", "pca": "principal components"}


def map_figure(
    points: pd.DataFrame,
    attributes: Sequence[str],
    *,
    method: str | None = None,
    units: Mapping[str, str] | None = None,
    ordered: Sequence[str] = (),
    title: str = "Map of gallery embeddings",
    dots: int = 150,
) -> bytes:
    """A PNG with one panel per attribute.

    Args:
        points: `embedding_map` with further columns: x, y and the attributes.
        attributes: Columns to colour by. Numbers with more than nine different values get a colour bar (from the 2nd
            to the 98th percentile, so that one palace does not make all others look alike); anything else gets the
            nine most frequent values as classes, the rest as "other".
        method: How the map was made, for the title; None reads `points.attrs["method"]`.
        units: Attribute -> unit, for the colour bar: {"price": "euro"}.
        ordered: Attributes whose few values are steps (stars, rooms): shades of one scale instead of colours.
        title: What stands above the panels.
        dots: Dots per inch.

    Returns:
        The PNG file.

    Raises:
        ValueError: no attribute, or columns that `points` does not have.

    >>> points = pd.DataFrame({"x": [0.0, 1.0], "y": [1.0, 0.0], "pool": [True, False]})
    >>> map_figure(points, ["pool"], method="pca")[:4]
    b'\\x89PNG'
    """
    canvas = draw_map(points, attributes, method=method, units=units, ordered=ordered, title=title)
    buffer = io.BytesIO()
    with style():
        canvas.savefig(buffer, format="png", dpi=dots, metadata={"Software": None})
    return buffer.getvalue()


def draw_map(
    points: pd.DataFrame,
    attributes: Sequence[str],
    *,
    method: str | None = None,
    units: Mapping[str, str] | None = None,
    ordered: Sequence[str] = (),
    title: str = "Map of gallery embeddings",
) -> Canvas:
    """`map_figure` as a matplotlib figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    absent = [name for name in ("x", "y", *attributes) if name not in points.columns]
    if absent or not attributes:
        raise ValueError(f"`points` must have x, y and at least one attribute, got none named {absent or 'at all'}")
    points = points.reset_index(drop=True)  # joined tables may repeat their labels
    made = method if method is not None else points.attrs.get("method")
    how = METHODS.get(str(made), str(made)) if made else "2-D map"
    columns = min(COLUMNS, len(attributes))
    lines = math.ceil(len(attributes) / columns)
    height = 4.9 * lines + HEAD
    layout = ConstrainedLayoutEngine(rect=(0.0, 0.0, 1.0, 1.0 - HEAD / height), h_pad=0.12, w_pad=0.12)
    with style():
        canvas = Canvas(figsize=(7.2 * columns, height), layout=layout)
        FigureCanvasAgg(canvas)
        head = f"{title}: {format_number(len(points))} items, {how}"
        canvas.text(0.015, 1.0 - 0.14 / height, head, fontsize=14, fontweight="bold", va="top")
        canvas.text(0.015, 1.0 - 0.5 / height, _how_to_read(how), color=MUTED, va="top")
        grid = canvas.subplots(lines, columns, squeeze=False).ravel()
        for axes, name in zip(grid, attributes):
            _panel(axes, points, name, (units or {}).get(name), name in ordered)
            _axes(axes, points, how)
        for axes in grid[len(attributes) :]:
            axes.set_axis_off()
    return canvas


def _how_to_read(how: str) -> str:
    distant = "; how far apart groups lie means nothing" if how == METHODS["tsne"] else ""
    return f"Each dot is one gallery; dots close together look alike to the encoder{distant}."


def _panel(axes: Axes, points: pd.DataFrame, name: str, unit: str | None, steps: bool) -> None:
    values = points[name]
    axes.set_title(f"Coloured by {name}", loc="left")
    known = values.notna().to_numpy(bool)
    if _is_numeric(values):
        numbers = values.astype(float)
        known = known & np.isfinite(numbers.to_numpy())
        _dots(axes, points[~known], MISSING, f"missing ({format_number(int((~known).sum()))})")
        low, high = np.quantile(numbers[known], (0.02, 0.98))
        drawn = axes.scatter(
            points["x"][known], points["y"][known], c=numbers[known], cmap="viridis", vmin=low, vmax=high,
            s=_size(points), linewidths=0, alpha=0.9, rasterized=True,
        )  # fmt: skip
        label = f"{name} ({unit})" if unit else name
        axes.figure.colorbar(drawn, ax=axes, extend="both", label=label)
        if not known.all():
            axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.0), borderaxespad=0.3, **KEYS)
    else:
        _classes(axes, points, values, known, steps)


def _classes(axes: Axes, points: pd.DataFrame, values: pd.Series, known: np.ndarray, steps: bool) -> None:
    words = values[known].map(_word)
    counts = words.value_counts()
    shown = list(counts.index[:MOST_CLASSES])
    if pd.api.types.is_numeric_dtype(values):
        shown.sort(key=list(dict.fromkeys(words[values[known].sort_values().index])).index)
    rest = int(counts.iloc[MOST_CLASSES:].sum())
    text = pd.Series(np.full(len(points), "", object), index=points.index)
    text[known] = words
    _dots(axes, points[~known], MISSING, f"missing ({format_number(int((~known).sum()))})")
    other = known & ~text.isin(shown).to_numpy(bool)
    _dots(axes, points[other], OTHER, f"{len(counts) - len(shown)} other values ({format_number(rest)})")
    greys = axes.get_legend_handles_labels()
    for colour, word in zip(_shades(len(shown)) if steps else CLASSES, shown):
        inside = (text == word).to_numpy(bool)
        _dots(axes, points[inside], colour, f"{_short(word)} ({format_number(int(counts[word]))})", size=_size(points))
    drawn = axes.get_legend_handles_labels()
    first = len(greys[0])  # drawn under the classes, named after them
    handles, labels = (every[first:] + every[:first][::-1] for every in drawn)
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.3, **KEYS)


def _shades(count: int) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](at)) for at in np.linspace(0.0, 0.95, count)]


def _dots(axes: Axes, points: pd.DataFrame, colour: str, label: str, size: float | None = None) -> None:
    if len(points):
        axes.scatter(
            points["x"], points["y"], color=colour, s=size or 8.0, linewidths=0, alpha=0.9, label=label, rasterized=True
        )


def _axes(axes: Axes, points: pd.DataFrame, how: str) -> None:
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    shares = points.attrs.get("variance")
    if shares and how == METHODS["pca"]:
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel(f"first component: {100 * shares[0]:.0f} % of the variance")
        axes.set_ylabel(f"second component: {100 * shares[1]:.0f} %")


def _size(points: pd.DataFrame) -> float:
    """Dots that fill the panel without hiding each other: area in square points."""
    return float(np.clip(12000.0 / max(1, len(points)), 6.0, 36.0))


def _is_numeric(values: pd.Series) -> bool:
    return (
        pd.api.types.is_numeric_dtype(values)
        and not pd.api.types.is_bool_dtype(values)
        and values.nunique() > MOST_CLASSES
    )


def _word(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _short(word: str, most: int = 24) -> str:
    return word if len(word) <= most else f"{word[: most - 1]}…"
