"""Pictures of the studies: what more tasks cost each arm, and the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from examples.modulation.arms import TITLES
from examples.studies.seeds import over_seeds
from multitask.modulation import Modulation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart under every common colour blindness; the markers tell them apart in grey.
_LOOKS = {
    "modulation": ("#0072B2", "o"), "independent": ("#009E73", "s"), "ib_narrow": ("#CC79A7", "v"),
    "csn": ("#E69F00", "D"), "shared": ("#D55E00", "X"),
}  # fmt: skip


def gain_figure(found: Mapping[int, Mapping[str, Sequence[float]]]) -> Figure:
    """Accuracy against the number of tasks, one line per arm with intervals over the seeds.

    Args:
        found: number of tasks -> arm -> accuracy of each seed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    counts = sorted(found)
    for arm in next(iter(found.values())):
        colour, marker = _LOOKS[arm]
        mean, low, high = 100 * np.array([over_seeds(found[n][arm]) for n in counts]).T
        bars = np.nan_to_num(np.array([mean - low, high - mean]))
        axes.errorbar(counts, mean, bars, color=colour, marker=marker, capsize=3, label=TITLES[arm])
    axes.set_xticks(counts)
    axes.set_xlabel("tasks trained together")
    axes.set_ylabel("test triplets in the right order, %")
    axes.axhline(50, color="#9AA0A6", linewidth=0.8, linestyle=":")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def mask_figure(modulation: Modulation) -> Figure:
    """A network's masks: tasks down, channels across, a panel per layer; white is 1, where every factor began.

    The channels of a layer are in the order of their variance over the tasks, so that what tells tasks apart is left.
    """
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    masks = {layer: mask.cpu().numpy() for layer, mask in modulation.masks().items()}
    extent = max(0.01, max(float(np.quantile(np.abs(mask - 1), 0.99)) for mask in masks.values()))
    widths = [mask.shape[1] for mask in masks.values()]
    n = modulation.n_tasks
    figure = Figure(figsize=(2 + 0.07 * sum(widths), 1.1 + 0.2 * n), layout="constrained")
    panels = figure.subplots(1, len(masks), width_ratios=widths, squeeze=False)[0]
    for axes, (layer, mask) in zip(panels, masks.items()):
        order = np.argsort(-mask.var(axis=0))
        picture = axes.imshow(
            mask[:, order], cmap="PuOr_r", norm=TwoSlopeNorm(1, 1 - extent, 1 + extent), aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        axes.set_title(f"{layer}, {mask.shape[1]} channels", fontsize=9, loc="left")
        axes.set_xticks([])
        axes.set_yticks(range(n), modulation.task_names if axes is panels[0] else [], fontsize=8)
    figure.colorbar(picture, ax=list(panels), label="factor", shrink=0.8)
    return figure
