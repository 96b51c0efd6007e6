"""The embedding network of the modulation paper: four blocks of convolution, pooling and a residual block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_POOLINGS = 4


class AttributeNetwork(nn.Sequential):
    """Photos to normalised embeddings, [Modulation] table 2, about 3 million parameters.

    The children, by the paper's names, with their output for 150 pixels: conv1 32 x 148 x 148, block2 64 x 73 x 73,
    block3 128 x 35 x 35, block4 128 x 16 x 16, block5 128 x 7 x 7, fc 256, and `normalise`, apart so that a mask on fc
    acts before it. A block is a valid 3 x 3 convolution, max pooling by 2 and a residual block of two padded 3 x 3
    convolutions. The table names neither normalisation nor activation: here each convolution is followed by
    BatchNorm and a ReLU, as in residual networks.

    Args:
        size: height and width of the photos, pixels; at least 48, below which no pixel is left for block5 (54 leave
            one, 64 leave 2 x 2).
        widths: channels of conv1 and the four blocks.
        dim: size of the embedding.

    Raises:
        ValueError: naming the argument at fault.

    >>> network = AttributeNetwork(size=48, widths=(4, 8, 8, 8, 8), dim=16)
    >>> network(torch.zeros(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    >>> sum(p.numel() for p in AttributeNetwork().parameters())
    2955040
    """

    def __init__(self, size: int = 150, widths: Sequence[int] = (32, 64, 128, 128, 128), dim: int = 256) -> None:
        if len(widths) != _POOLINGS + 1 or min(widths) < 1:
            raise ValueError(f"`widths` must hold {_POOLINGS + 1} positive numbers, got {tuple(widths)}")
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1, got {dim}")
        side = size - 2
        for _ in range(_POOLINGS):
            side = (side - 2) // 2
        if side < 1:
            raise ValueError(f"`size` must be at least 48 pixels, got {size}")
        blocks = {f"block{i + 2}": Block(widths[i], widths[i + 1]) for i in range(_POOLINGS)}
        fc = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * side * side, dim))
        super().__init__(OrderedDict(conv1=_convolution(3, widths[0]), **blocks, fc=fc, normalise=Normalise()))


class Block(nn.Sequential):
    """Conv-Pool-ResnetBlock: `(B, a, H, W)` to `(B, b, (H - 2) // 2, (W - 2) // 2)`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(_convolution(in_channels, out_channels), nn.MaxPool2d(2), ResidualBlock(out_channels))


class ResidualBlock(nn.Module):
    """ReLU(x + BN(conv(ReLU(BN(conv(x)))))), padded 3 x 3 convolutions: shape in = shape out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, channels, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm2(self.conv2(self.conv1(x))))


class Normalise(nn.Module):
    """`(B, d)` to length 1, in float32 also under bf16 autocast: distances of embeddings are small differences."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1)


def _convolution(in_channels: int, out_channels: int, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
