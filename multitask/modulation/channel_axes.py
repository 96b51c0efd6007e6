"""Which axis of a layer's output the channels are: told by the layer's own modules, or given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm,
          nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)  # fmt: skip
_POOLINGS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
             nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
             nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)  # fmt: skip
_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.TransformerEncoderLayer, nn.TransformerEncoder,
         nn.TransformerDecoderLayer, nn.TransformerDecoder)  # fmt: skip


def told_axis(module: nn.Module) -> int | None:
    """1 or -1, the axis of the channels in the module's output, by its type; None if the type does not say.

    A subclass of a layer on the last axis says nothing if its forward pass is its own: it may have moved the axes
    before (a LayerNorm over the channels of images).

    >>> told_axis(nn.Conv1d(2, 3, 1)), told_axis(nn.Linear(2, 3)), told_axis(nn.ReLU())
    (1, -1, None)
    """
    if isinstance(module, _CONVOLUTIONS + _NORMS + _POOLINGS):
        return 1
    return -1 if any(type(module).forward is kind.forward for kind in _LAST) else None


def channel_axes(
    shapes: Mapping[str, torch.Size], told: Mapping[str, int | None], given: int | Mapping[str, int] | None
) -> dict[str, int]:
    """The axis for every layer: the given one, else the told one; `(B, C)` has no other than 1.

    Args:
        shapes: of each layer's output.
        told: for each layer, from `output_shapes`' pass.
        given: `channel_axis` of `Modulation`.

    Raises:
        ValueError: naming the layer, if nothing says where its channels are, or what is given is no such axis.

    >>> channel_axes({"fc": torch.Size([1, 8]), "mixed": torch.Size([1, 9, 4])}, {"fc": None, "mixed": -1}, None)
    {'fc': 1, 'mixed': -1}
    """
    if isinstance(given, Mapping):
        unknown = [layer for layer in given if layer not in shapes]
        if unknown:
            raise ValueError(f"`channel_axis` must name modulated layers, {list(shapes)}, got {unknown}")
        of_layers = dict(given)
    else:
        of_layers = {} if given is None else dict.fromkeys(shapes, given)
    return {layer: _axis(layer, shape, of_layers.get(layer), told[layer]) for layer, shape in shapes.items()}


def _axis(layer: str, shape: Sequence[int], given: int | None, told: int | None) -> int:
    n = len(shape)
    if n < 2:
        raise ValueError(f"`layers` must have channels, got output of shape {tuple(shape)} from {layer!r}")
    if given is not None:
        if not -n < given < n or given == 0:
            raise ValueError(
                f"`channel_axis` must be an axis behind the rows', 1..{n - 1} or -1..-{n - 1}, got {given} for "
                f"{layer!r}, whose output has shape {tuple(shape)}"
            )
        return given
    axis = 1 if n == 2 else told
    if axis is None:
        raise ValueError(
            f"`channel_axis` must be given for {layer!r}: of its output {tuple(shape)} no module in it tells where the "
            f"channels are (channel_axis={{{layer!r}: 1}} or -1)"
        )
    return axis
