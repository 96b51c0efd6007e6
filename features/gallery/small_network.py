"""The built-in network for photos of 64 to 128 pixels: no download, no extra package, fast without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from torch import nn

from features.gallery.preprocessing import GlobalAverage, NetworkParts, Preprocessing
from features.gallery.weights import load_weights, read_weights

WIDTHS = (24, 48, 96, 192)
PREPROCESSING = Preprocessing(64, (127.5, 127.5, 127.5), (64.0, 64.0, 64.0))


def small_network(widths: Sequence[int] = WIDTHS, weights: Path | str | None = None) -> NetworkParts:
    """Stages of convolution 3 x 3 with stride 2, BatchNorm and ReLU, then the mean over positions.

    Every stage halves height and width. A stride in the convolution is cheaper than pooling behind it, and plain
    convolutions are faster on CPUs than depthwise ones with as many operations.

    Parameters
    ----------
    widths : sequence of int
        Channels of the stages; the last is the width of the feature vector. The last stage is the `back` part.
    weights : Path, optional
        A file of the stages' tensors, named "0.0.weight", "0.1.bias", ...; None = random ones.

    Raises
    ------
    ValueError
        Fewer than two stages, or a width below 1.
    InputError
        The weights do not fit.

    Examples
    --------
    >>> import torch
    >>> parts = small_network((8, 16))
    >>> parts.width, parts.back(parts.front(torch.zeros(2, 3, 64, 64))).shape
    (16, torch.Size([2, 16]))
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"`widths` must hold at least two numbers above 0, got {tuple(widths)}")
    stages = nn.Sequential(*(_stage(into, out) for into, out in pairwise((3, *widths))))
    if weights is not None:
        load_weights(stages, read_weights(weights), weights)
    return NetworkParts(stages[:-1], nn.Sequential(stages[-1], GlobalAverage()), widths[-1], PREPROCESSING)


def _stage(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    # [He 2015]: the scale at which ReLU keeps the signal's variance. torch's default is smaller, and the untrained
    # network, which is an arm of the comparison, would fade from stage to stage.
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
