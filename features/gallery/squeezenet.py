"""SqueezeNet 1.1: a network of 0.7 million convolution parameters, small enough to ship its ImageNet weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from features.gallery.preprocessing import GlobalAverage, NetworkParts, Preprocessing
from features.gallery.weights import load_weights, read_weights

# The Caffe convention in RGB order: ImageNet's mean colour is taken off, nothing is divided.
PREPROCESSING = Preprocessing(227, (122.68, 116.67, 104.01), (1.0, 1.0, 1.0))


class Fire(nn.Module):
    """A fire module [SqueezeNet, 3.1]: 1 x 1 "squeeze", then 1 x 1 and 3 x 3 "expand" side by side.

    Parameters
    ----------
    in_channels, squeeze, expand : int
        Channels in, in between, and out of each of the two expanding convolutions.

    Examples
    --------
    >>> Fire(64, 16, 64)(torch.zeros(1, 64, 8, 8)).shape
    torch.Size([1, 128, 8, 8])
    """

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, in_channels, H, W)` to `(n, 2 * expand, H, W)`."""
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


def squeezenet1_1(weights: Path | str | None = None) -> NetworkParts:
    """SqueezeNet 1.1 [Iandola 2016] up to its last fire module, then the mean over positions: 512 numbers.

    The pooling layers round sizes up, as in Caffe, where its weights were trained; so were photos without a division
    by their standard deviation.

    Parameters
    ----------
    weights : Path, optional
        A file of tensors named as in torchvision ("features.0.weight", "features.3.squeeze.weight", ...); those of
        the classifier are left out. None = random ones.

    Returns
    -------
    NetworkParts
        The `back` part are the four fire modules behind the last pooling.

    Raises
    ------
    InputError
        The weights do not fit.

    Examples
    --------
    >>> parts = squeezenet1_1()
    >>> parts.back(parts.front(torch.zeros(1, 3, 64, 64))).shape
    torch.Size([1, 512])
    >>> sum(p.numel() for part in (parts.front, parts.back) for p in part.parameters())
    722496
    """
    layers = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )
    for module in layers.modules():
        if isinstance(module, nn.Conv2d):  # as in torchvision: uniform with ReLU's gain [He 2015], no bias at first
            nn.init.kaiming_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if weights is not None:
        tensors = read_weights(weights)
        kept = {name.removeprefix("features."): tensor for name, tensor in tensors.items() if "classifier." not in name}
        load_weights(layers, kept, weights)
    return NetworkParts(layers[:9], nn.Sequential(*list(layers)[9:], GlobalAverage()), 512, PREPROCESSING)
