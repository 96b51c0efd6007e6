"""The papers' networks: trunk, hard-shared layer, and what stands on it [Selective section 4.2]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multitask.sharing.branches import Branches

# VGG-16's thirteen convolutions; "M" halves the image.
VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


@dataclass(frozen=True)
class Architecture:
    """What is shared by all tasks, and one task's branch.

    Attributes:
        shared: units of the hard-shared layer, the branches' input.
        hidden: the units of a branch's hidden layers.
        dropout: inside the branches.
    """

    shared: int
    hidden: tuple[int, ...]
    dropout: float = 0.0


ARCHITECTURES = {
    "mnist": Architecture(640, (100, 50)),
    "cifar10": Architecture(1024, (100, 100)),
    "omniglot": Architecture(300, (100, 100), dropout=0.2),
}


class TaskNetwork(nn.Module):
    """A trunk ending in the hard-shared layer, and branches on it: images `(B, C, H, W)` to logits `(B, T)`."""

    def __init__(self, trunk: nn.Module, branches: Branches) -> None:
        super().__init__()
        self.trunk, self.branches = trunk, branches

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.branches(self.trunk(images))
        return outputs


def _block(inputs: int, outputs: int, kernel: int, padding: int = 0) -> list[nn.Module]:
    """Convolution, batch norm, pool, ReLU: a maximum and a ReLU commute, and after the pool it costs a quarter."""
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=padding),
        nn.BatchNorm2d(outputs),
        nn.MaxPool2d(2),
        nn.ReLU(),
    ]


def _finished(layers: Sequence[nn.Module], features: int, shared: int) -> nn.Sequential:
    """Channels last: 8.4 against 12.9 s per epoch of MNIST were measured on one thread in bfloat16."""
    trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, shared), nn.ReLU())
    return trunk.to(memory_format=torch.channels_last)


def mnist_trunk(width: float = 1.0) -> nn.Sequential:
    """conv 20 of 5 x 5, conv 40 of 5 x 5, each batch-normalised and pooled, then 640 units."""
    a, b = _scaled(20, width), _scaled(40, width)
    return _finished([*_block(1, a, 5), *_block(a, b, 5)], b * 4 * 4, ARCHITECTURES["mnist"].shared)


def omniglot_trunk(width: float = 1.0) -> nn.Sequential:
    """Three convolutions and 300 units.

    The paper takes "the same three layer CNN from [49]" at another image size and gives no widths: 3 x 3 with 16, 32
    and 64 filters, batch-normalised and pooled as in its MNIST net, are ours.
    """
    a, b, c = (_scaled(filters, width) for filters in (16, 32, 64))
    layers = [*_block(1, a, 3, 1), *_block(a, b, 3, 1), *_block(b, c, 3, 1)]
    return _finished(layers, c * 3 * 3, ARCHITECTURES["omniglot"].shared)


def cifar10_trunk(width: float = 1.0) -> nn.Sequential:
    """VGG-16's convolutions with an average pool at the end, then 1,024 units; 32 x 32 px images.

    Batch-normalised: the paper does not say, and without it the net does not begin to learn at its learning rate.
    `width` scales the number of filters; a quarter costs a sixteenth.
    """
    layers: list[nn.Module] = []
    channels = 3
    for filters in VGG16:
        if filters == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        wide = _scaled(int(filters), width)
        layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
        channels = wide
    return _finished([*layers, nn.AdaptiveAvgPool2d(1)], channels, ARCHITECTURES["cifar10"].shared)


def _scaled(filters: int, width: float) -> int:
    if width <= 0:
        raise ValueError(f"`width` must be positive, got {width}")
    return max(1, round(filters * width))


TRUNKS = {"mnist": mnist_trunk, "cifar10": cifar10_trunk, "omniglot": omniglot_trunk}
