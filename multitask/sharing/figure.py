"""The groups over the epochs of a run, as lines that join."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Numbers = NDArray[np.int64]
    Places = NDArray[np.float64]

# Okabe and Ito's palette: told apart by colour-blind readers too; tasks that stay alone are grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#7A6A00")
_ALONE, _INK, _MUTED = "#8F959D", "#222222", "#5F6670"
_BUNDLE = 0.17  # distance of the lines inside a group, in places
_LONGEST = 34  # letters that the right margin has room for
_AFTER_LOCK = 2  # epochs shown after the lock: nothing changes any more


def groups_figure(history: pd.DataFrame, title: str | None = None) -> Figure:
    """A line per task, from left (before training) to right; where tasks form a group their lines run together.

    Tasks that join early are neighbours, so that no lines cross. A dotted line marks the epoch after which the groups
    were locked; two epochs later the picture ends. The right margin names each final group.

    Args:
        history: `SelectiveSharing.history`, at least one row.
        title: above the picture.

    Returns:
        A matplotlib figure that belongs to no global state: `figure.savefig("groups.png")`.

    Raises:
        ValueError: if the history is empty.

    >>> import pandas as pd
    >>> history = pd.DataFrame({"epoch": [0, 1], "members": ["a | b | c", "a c | b"], "locked": [False, True]})
    >>> [label.get_text() for label in groups_figure(history).axes[0].get_yticklabels()]
    ['a', 'c', 'b']
    """
    from matplotlib.figure import Figure

    if len(history) == 0:
        raise ValueError("`history` must hold at least one epoch, got none")
    locked = np.flatnonzero(np.asarray(history["locked"], dtype=bool))
    lock = int(locked[0]) + 1 if len(locked) else None  # epochs done
    shown = history if lock is None else history.iloc[: lock + _AFTER_LOCK]
    names, groups = _numbers(list(shown["members"]))  # T names, (E + 1, T)
    order = np.lexsort([np.arange(len(names)), *groups])  # by the last epoch's group, then the one before, ...
    place = np.argsort(order)
    heights = np.stack([_heights(place, row) for row in groups])  # (E + 1, T)
    colours = _colours(groups[-1])

    figure = Figure(figsize=(8.5, max(2.4, 1.0 + 0.2 * len(names))), layout="constrained")
    axes = figure.add_subplot()
    done = np.arange(len(groups))
    x = np.linspace(0, done[-1], 60 * done[-1] + 1)
    for t in order:
        axes.plot(x, _line(x, heights[:, t]), color=colours[t], linewidth=1.3, solid_capstyle="butt")
    if lock is not None:
        axes.axvline(lock, color=_MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
        axes.annotate("locked", (lock, -0.9), xytext=(3, 0), textcoords="offset points", color=_MUTED, fontsize=8)
    _label(axes, [names[t] for t in order], [colours[t] == _ALONE for t in order])
    for group in np.unique(groups[-1]):
        members = sorted(np.flatnonzero(groups[-1] == group), key=lambda t: place[t])
        if len(members) > 1:
            point = (done[-1], heights[-1, members].mean())
            text = _shortened([names[t] for t in members])
            axes.annotate(text, point, xytext=(6, 0), textcoords="offset points", va="center", fontsize=8, color=_INK)
    axes.set_xticks(done[:: max(1, len(done) // 12)])
    axes.set_xlabel("epochs done")
    axes.set_xlim(0, done[-1])
    axes.set_ylim(len(names) - 0.4, -1.1)
    if title:
        axes.set_title(title, loc="left", fontsize=11, color=_INK)
    return figure


def _numbers(members: list[str]) -> tuple[list[str], Numbers]:
    """The T task names, and their group's number `(E + 1, T)` before training and after each epoch."""
    groups = [[group.split() for group in epoch.split(" | ")] for epoch in members]
    names = [name for group in groups[0] for name in group]
    own = [{name: number for number, group in enumerate(epoch) for name in group} for epoch in groups]
    rows = [list(range(len(names))), *([epoch[name] for name in names] for epoch in own)]
    return names, np.array(rows)


def _heights(place: Numbers, groups: Numbers) -> Places:
    """Where each task's line runs, `(T,)`: in the middle of its group, the members side by side."""
    heights = np.empty(len(place))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        middle = place[members].mean()
        heights[members] = middle + _BUNDLE * (place[members] - middle)
    return heights


def _line(x: Places, heights: Places) -> Places:
    """The heights `(E + 1,)` after each epoch, joined smoothly over the second half of the epoch before."""
    before = np.minimum(x.astype(int), len(heights) - 2)
    share = np.clip((x - before - 0.4) / 0.6, 0, 1)
    smooth = share * share * (3 - 2 * share)
    return heights[before] * (1 - smooth) + heights[before + 1] * smooth


def _colours(groups: Numbers) -> list[str]:
    """Each task's colour by its final group."""
    joined = [group for group in np.unique(groups) if (groups == group).sum() > 1]
    by_group = {group: _COLOURS[i % len(_COLOURS)] for i, group in enumerate(joined)}
    return [by_group.get(group, _ALONE) for group in groups]


def _label(axes: Axes, names: list[str], alone: list[bool]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for label, own in zip(axes.get_yticklabels(), alone, strict=True):
        label.set_color(_MUTED if own else _INK)
    axes.tick_params(axis="y", length=0)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)


def _shortened(names: list[str]) -> str:
    """All names in one line, or as many as fit and the number of the others.

    >>> _shortened(["a", "b"]), _shortened(["a" * 12, "b" * 12, "c" * 12])
    ('a, b', 'aaaaaaaaaaaa and 2 more')
    """
    lines = [", ".join(names)]
    lines += [f"{', '.join(names[:n])} and {len(names) - n} more" for n in range(len(names) - 1, 0, -1)]
    return next((line for line in lines if len(line) <= _LONGEST), lines[-1])
