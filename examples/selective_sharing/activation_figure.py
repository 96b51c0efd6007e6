"""Class activation maps of the same images in several nets: one branch before and after merging [Selective fig. 6]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from examples.studies.runs import Results

from .activation_maps import activation_maps, examples, span
from .arms import Arm
from .data import Images, Splits
from .measures import predict
from .training import load_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The rows: arm, which of its saved nets, what the margin says.
NETS = (
    ("single_task", "", "single task"),
    ("unmerged", "", "MTL, a branch\nper task"),
    ("similarity", ".before", "similarity,\nbefore merging"),
    ("similarity", "", "similarity,\nmerged"),
)
SPAN_IMAGES = 500
_COLOUR = (0.84, 0.37, 0.0)  # Okabe and Ito's vermilion; how opaque it is tells the map's value
_GAP = 0.35  # between groups, in columns


def draw_activation_maps(
    out: Path, results: Results, build: Callable[[str, int], Arm], splits: Callable[[int], Splits]
) -> dict[str, float]:
    """Writes `activation.png`, of the first seed whose sharing by similarity is finished; nothing if there is none.

    Args:
        out: of the study; `runs/` holds the saved nets.
        results: by arm and seed.
        build: `(arm, seed)` to an untrained net.
        splits: the images by seed; the test ones are drawn.

    Returns:
        For each net its `span` over the first test images.
    """
    seed = next((seed for arm, seed in results if arm == "similarity"), None)
    if seed is None:
        return {}
    nets = {}
    for arm, which, title in NETS:
        path = out / "runs" / f"{arm}-{seed}{which}.safetensors"
        if (arm, seed) in results and path.exists():
            nets[title] = build(arm, seed)
            load_model(nets[title].model, path)
    if not nets:  # the nets were not kept, the tables still are
        return {}
    own = splits(seed)
    groups = [[own.names.index(task) for task in group] for group in results["similarity", seed]["tested_groups"]]
    order = [number for group in groups for number in group]
    predicted = [predict(net.model, own.test, net.probabilities).argmax(1) for net in nets.values()]
    chosen = torch.tensor(examples(own.test.labels, predicted, order))
    images, labels = own.test.select(chosen)
    maps = {title: activation_maps(net.model, images, labels) for title, net in nets.items()}
    figure = activation_figure(_ink(own.test, chosen), maps, [[own.names[n] for n in group] for group in groups])
    figure.savefig(out / "activation.png", dpi=150)
    some, classes = own.test.part(0, SPAN_IMAGES)
    return {title.replace("\n", " "): span(activation_maps(net.model, some, classes)) for title, net in nets.items()}


def activation_figure(images: Tensor, maps: dict[str, Tensor], groups: Sequence[Sequence[str]]) -> Figure:
    """A column per image, a row per net; the images of tasks that share a branch stand together.

    Args:
        images: `(T, H, W)` 0 black to 1 white.
        maps: by net, `(T, H, W)` in 0..1.
        groups: the T tasks' names by branch, in the order of the images.
    """
    from matplotlib.figure import Figure

    widths: list[float] = []
    for group in groups:
        widths += [*[1.0] * len(group), _GAP]
    shown = [column for column, width in enumerate(widths) if width == 1]  # the others are gaps
    figure = Figure(figsize=(1.3 + 0.85 * sum(widths), 0.5 + 0.9 * (len(maps) + 1)), layout="constrained")
    axes = figure.subplots(len(maps) + 1, len(widths) - 1, width_ratios=widths[:-1], squeeze=False)
    for one in axes.flat:
        one.axis("off")
    names = [name for group in groups for name in group]
    for i, column in enumerate(shown):
        axes[0, column].imshow(images[i].numpy(), cmap="gray", vmin=0, vmax=1)
        axes[0, column].set_title(names[i].replace("_", "\n"), fontsize=9)
        for row, found in enumerate(maps.values(), start=1):
            axes[row, column].imshow(images[i].numpy(), cmap="gray", vmin=0, vmax=1)
            axes[row, column].imshow(_overlay(found[i]))
    for row, title in enumerate(["image", *maps]):
        _margin(axes[row, 0], title)
    return figure


def _overlay(one: Tensor) -> np.ndarray:
    """`(H, W, 4)` colour, opaque where the map is high: squared, as most of a map is neither high nor low."""
    colour = np.ones((*one.shape, 4), dtype=np.float32) * (*_COLOUR, 0.0)
    colour[..., 3] = 0.9 * np.square(one.numpy())
    return colour


def _ink(images: Images, chosen: Tensor) -> Tensor:
    """`(B, H, W)` in grey; drawings, which are kept light on dark, as ink on paper."""
    grey = images.pixels[chosen].float().mean(-1) / 255
    return 1 - grey if images.pixels.shape[-1] == 1 else grey


def _margin(axes: Axes, text: str) -> None:
    axes.annotate(text, (0, 0.5), xycoords="axes fraction", xytext=(-8, 0), textcoords="offset points", ha="right",
                  va="center", fontsize=9)  # fmt: skip
