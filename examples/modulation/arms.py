"""The arms of the comparison, all of them `model(images, tasks=tasks) -> embeddings`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from multitask.modulation import (
    AttributeNetwork,
    FullyShared,
    IndependentBranches,
    Modulation,
    TaskConditioned,
    conditional_similarity,
)
from multitask.modulation.modulation import Kind

LAYERS = ("block2", "block3", "block4", "block5", "fc")
FROM = {"modulation": "block4", "regularised": "block4", "projection": "block4", "only_mask": "block4"}
FROM |= {name: name for name in ("block5", "block3", "block2")}
TITLES = {
    "modulation": "modulation (from block 4)",
    "independent": "independent networks",
    "ib_wide": "independent branches, wide (IB-256)",
    "ib_narrow": "independent branches, narrow (IB-25)",
    "only_mask": "only the masks",
    "csn": "conditional similarity (CSN)",
    "shared": "fully shared",
    "block5": "modulation from block 5",
    "block3": "modulation from block 3",
    "block2": "modulation from block 2",
    "projection": "projection from block 4",
    "regularised": "modulation and regulariser",
}


@dataclass(frozen=True)
class NetworkSizes:
    """The network of [Modulation, table 2]: pixels of a side, channels of conv1 and block2 to block5, embedding.

    The branches of IB-256 are as wide as the embedding, and those of IB-25 a tenth of it, at every size.
    """

    image: int = 150
    widths: tuple[int, ...] = (32, 64, 128, 128, 128)
    dim: int = 256

    @property
    def branch(self) -> dict[str, int]:
        return {"ib_wide": self.dim, "ib_narrow": max(1, self.dim // 10)}


def make_arm(arm: str, tasks: Sequence[str], sizes: NetworkSizes) -> TaskConditioned:
    """An untrained network of one arm, from torch's current random state: the shared part is the same in all arms.

    "independent" and a single task are the fully shared network; "only_mask" and "regularised" are modulated ones
    that differ in how they are trained.

    Raises:
        ValueError: if there is no such arm.

    >>> small = NetworkSizes(image=48, widths=(4, 8, 8, 8, 8), dim=16)
    >>> make_arm("modulation", ["type", "colour"], small).extra_parameters  # 2 x (8 + 8 + 16)
    64
    """
    if arm not in TITLES:
        raise ValueError(f"`arm` must be one of {', '.join(TITLES)}, got {arm!r}")
    network = AttributeNetwork(size=sizes.image, widths=sizes.widths, dim=sizes.dim)
    if arm in ("shared", "independent"):
        return FullyShared(network, tasks)
    example = torch.zeros(1, 3, sizes.image, sizes.image)
    if arm == "csn":
        return conditional_similarity(network, tasks, example=example)
    if arm in sizes.branch:
        return IndependentBranches(network, tasks, sizes.dim, width=sizes.branch[arm])
    layers = LAYERS[LAYERS.index(FROM[arm]) :]
    kind: Kind = "projection" if arm == "projection" else "scaling"
    return Modulation(network, tasks, layers, example=example, kind=kind)
