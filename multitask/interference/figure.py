"""Update Compliance Ratios as heat maps: where the tasks pull apart, at one look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Ratios = Tensor | npt.NDArray[np.floating] | Sequence[Sequence[float]]

# Okabe & Ito's vermilion and blue: told apart under every common colour blindness, about equally dark.
_OPPOSED, _AGREED, _UNKNOWN, _INK, _MUTED = "#D55E00", "#0072B2", "#E4E7EB", "#222222", "#5F6670"
_LONGEST = 18  # letters of a task's name that the margin has room for


def compliance_figure(ratios: Ratios | Mapping[str, Ratios], tasks: Sequence[str]) -> Figure:
    """A heat map of `(T, T)` Update Compliance Ratios, or several side by side on one scale.

    White is one half, where two tasks' gradients agree as often as not; the scale is 0 to 100 % in every figure, so
    that figures can be compared. Pairs without a minibatch (NaN) are grey, and so is the diagonal, which says nothing.
    A panel's title gives the mean over the pairs.

    Args:
        ratios: from `update_compliance`; or title -> ratios.
        tasks: the T names.

    Returns:
        A matplotlib figure that belongs to no global state: `figure.savefig("compliance.png")`.

    Raises:
        ValueError: if there is nothing to draw, or a shape does not fit the names.

    >>> figure = compliance_figure({"shared": [[1.0, 0.3], [0.3, 1.0]]}, ["shape", "colour"])
    >>> figure.axes[0].get_title(loc="left")
    'shared: 30.0 % on average'
    """
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    named = ratios if isinstance(ratios, Mapping) else {"": ratios}
    panels = {title: np.asarray(values, dtype=float) for title, values in named.items()}
    if not panels:
        raise ValueError("`ratios` must hold at least one table, got none")
    n = len(tasks)
    for title, values in panels.items():
        if values.shape != (n, n):
            raise ValueError(f"`ratios` {title!r} must have shape ({n}, {n}), got {values.shape}")
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in tasks]
    colours = LinearSegmentedColormap.from_list("compliance", [_OPPOSED, "#FFFFFF", _AGREED]).with_extremes(
        bad=_UNKNOWN
    )
    cell = 0.34 if n > 10 else 0.5  # inches
    side, margin = max(cell * n, 2.4), 0.085 * max(map(len, names)) + 0.2
    with rc_context({"font.family": ["DejaVu Sans", "sans-serif"], "font.size": 9.0, "text.color": _INK}):
        figure = Figure(figsize=((side + 0.3) * len(panels) + margin + 1.0, side + margin + 0.5), layout="compressed")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, (title, values) in zip(axes, panels.items(), strict=True):
            image = _panel(panel, values, names, colours, text=6.5 if n > 10 else 9.0)
            mean = f"{100 * np.nanmean(_pairs(values)):.1f} % on average" if np.isfinite(_pairs(values)).any() else ""
            panel.set_title(": ".join(filter(None, (title, mean))), loc="left", fontsize=10.5, fontweight="bold")
        bar = figure.colorbar(image, ax=list(axes), shrink=0.8, aspect=30, pad=0.02)
        bar.set_label("minibatches that agree (UCR)")
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25 %", "50 %", "75 %", "100 %"])
        bar.outline.set_visible(False)
    return figure


def _panel(axes: Axes, values: npt.NDArray[np.float64], names: list[str], colours: Any, text: float) -> Any:
    n = len(names)
    shown = np.where(np.eye(n, dtype=bool), np.nan, values)
    image = axes.imshow(shown, cmap=colours, vmin=0, vmax=1)
    for row, column in np.argwhere(~np.eye(n, dtype=bool)):
        value = shown[row, column]
        words = "–" if np.isnan(value) else f"{100 * value:.0f}"
        axes.text(column, row, words, ha="center", va="center", fontsize=text, color="white" if value > 0.9 else _INK)
    axes.set_xticks(
        range(n),
        names,
        rotation=90 if n > 10 else 45,
        ha="center" if n > 10 else "right",
        rotation_mode="default" if n > 10 else "anchor",
    )
    axes.set_yticks(range(n), names)
    axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="both", length=0, colors=_MUTED, labelcolor=_INK)
    axes.spines[:].set_visible(False)
    return image


def _pairs(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values[np.triu_indices(len(values), 1)]
