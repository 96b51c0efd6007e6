"""One photo, looked up under each task: what the masks change in what is found [Modulation, figure 4]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from examples.modulation.images import UNKNOWN, Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOUND = 6
_WRONG, _RIGHT, _MUTED = "#D55E00", "#9AA0A6", "#5F6670"


def nearest(embeddings: Tensor, query: int, count: int) -> list[int]:
    """The `count` rows of `(M, d)` nearest to row `query`, without itself."""
    distances = (embeddings - embeddings[query]).square().sum(1)
    distances[query] = float("inf")
    return distances.topk(count, largest=False).indices.tolist()


def retrieval_sheet(images: Images, embedded: Mapping[str, Tensor], query: int, count: int = FOUND) -> Figure:
    """The query, and for each task and arm the nearest test images; those of another class have a thick frame.

    Args:
        images: whose test images are searched.
        embedded: arm -> `(M, T, d)` embeddings of the test images.
        query: number among the M test images.
        count: images in a row.
    """
    from matplotlib.figure import Figure

    tasks, arms = images.tasks, list(embedded)
    rows = [(t, arm) for t in range(len(tasks)) for arm in arms]
    figure = Figure(figsize=(1.05 * (count + 1) + 1.9, 1.22 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), count + 1, squeeze=False)
    asked = int(images.test[query])
    for line, (t, arm) in zip(grid, rows):
        _show(line[0], images, asked, t, None)
        line[0].set_ylabel(f"{tasks[t]}\n{arm}", rotation=0, ha="right", va="center", fontsize=9)
        for axes, found in zip(line[1:], nearest(embedded[arm][:, t], query, count)):
            _show(axes, images, int(images.test[found]), t, int(images.labels[asked, t]))
    figure.suptitle("The query, then the nearest photos; a thick frame: of another class", fontsize=10)
    return figure


def _show(axes: Axes, images: Images, row: int, task: int, expected: int | None) -> None:
    """One photo with its class under it; a thick frame if that is known and not the expected one."""
    axes.imshow(images.pixels[row].numpy(), interpolation="bilinear")
    axes.set_xticks([])
    axes.set_yticks([])
    label = int(images.labels[row, task])
    wrong = expected is not None and UNKNOWN not in (label, expected) and label != expected
    for spine in axes.spines.values():
        spine.set_color(_WRONG if wrong else _RIGHT)
        spine.set_linewidth(3 if wrong else 0.6)
    axes.set_xlabel(images.class_name(row, task), fontsize=7, color=_WRONG if wrong else _MUTED, labelpad=2)
