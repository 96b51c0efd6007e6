"""The network as it is used, not trained: normalisations folded into convolutions, photos in blocks, exact pooling."""

from __future__ import annotations

from copy import copy, deepcopy
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from features.gallery.backbones import Backbone, Frozen
from features.gallery.network import GalleryNetwork
from features.gallery.preprocessing import Normalise
from multitask.malloc import keep_freed_memory

Network = TypeVar("Network", bound=GalleryNetwork)
BLOCK = 64  # photos at once on a CPU: what the first layers hold of them then stays in the cache


def inference_network(network: Network, precision: Literal["float32", "bfloat16"] = "float32") -> Network:
    """A network with the same vectors, to rounding, in less time; for `embed` and `embed_stored` only.

    - A convolution and the batch normalisation behind it are one convolution: gamma (W x - mu) / sigma + beta is
      linear in x. So is the photo's division by the channels' spread before it.
    - A ReLU is done while the convolution's result is at hand, where torch has such an operator (CPU).
    - A CPU takes the photos 64 at a time.
    - Pooling is in float64. A sum in float32 depends on the order of its terms in the last digits, and these are the
      first ones that remain of a dimension in which galleries hardly differ.

    Parameters
    ----------
    network : GalleryNetwork
        It stays as it is.
    precision : "float32" or "bfloat16"
        Of the convolutions. Embedding uses float32: bfloat16 keeps 8 bits, and not every processor has it.

    Examples
    --------
    >>> from features.gallery.backbones import make_backbone
    >>> from features.gallery.packed import PackedGalleries
    >>> network = GalleryNetwork(make_backbone("small")).eval()
    >>> galleries = PackedGalleries(torch.zeros(3, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 3]))
    >>> bool(torch.allclose(inference_network(network).embed(galleries).float(), network.embed(galleries), atol=1e-5))
    True
    """
    keep_freed_memory()  # else every batch returns its buffers to the system and asks for them again
    twin = copy(network)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    kind = _FoldedParts if network.modulated else _Folded
    own = {"backbone": kind(network.backbone, dtype), "pooling": _InFloat64(deepcopy(network.pooling).double())}
    twin._modules = {**network._modules, **own}
    return twin.eval()


class _Folded(nn.Module):
    """A backbone in evaluation mode, folded, on blocks of photos; `suffix` takes stored outputs of the prefix."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype) -> None:
        super().__init__()
        self.preprocessing = backbone.preprocessing
        own = deepcopy(backbone).eval()
        self.whole = _sequence(_fold([*_flat(own.prefix), *_flat(own.suffix)], dtype), dtype)
        self.suffix = deepcopy(backbone.suffix).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """`(n, 3, S, S)` pixels to `(n, width)` float32."""
        return torch.cat([self.whole(block).float() for block in _blocks(pixels)])


class _FoldedParts(nn.Module):
    """The same in two parts, between which the masks of modulation act."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype) -> None:
        super().__init__()
        self.preprocessing = backbone.preprocessing
        own = deepcopy(backbone).eval()
        self.front = _sequence(_fold([*_flat(own.prefix), *_flat(own.suffix[:-1])], dtype), dtype)
        self.end = _sequence(_fold(_flat(own.suffix[-1]), dtype), dtype)
        self.stored_before_last = deepcopy(backbone.suffix[:-1]).eval()

    def before_last(self, pixels: Tensor) -> Tensor:
        """`(n, 3, S, S)` pixels to what the last stage takes."""
        return torch.cat([self.front(block) for block in _blocks(pixels)])

    def last(self, maps: Tensor) -> Tensor:
        """What the last stage takes to `(n, width)` float32."""
        dtype = next((p.dtype for p in self.end.parameters()), maps.dtype)
        return torch.cat([self.end(block.to(dtype)).float() for block in _blocks(maps)])


def _blocks(photos: Tensor) -> tuple[Tensor, ...]:
    return photos.split(BLOCK) if photos.device.type == "cpu" and len(photos) else (photos,)


def _sequence(layers: list[nn.Module], dtype: torch.dtype) -> nn.Sequential:
    # the pixels' mean stays in float32: bfloat16 has no 122.68
    return nn.Sequential(*(layer if isinstance(layer, _Shifted) else layer.to(dtype) for layer in layers))


def _flat(module: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences, one after the other."""
    if isinstance(module, Frozen):
        return _flat(module.layers)
    if type(module) is nn.Sequential:
        return [layer for child in module for layer in _flat(child)]
    return [module]


def _fold(layers: list[nn.Module], dtype: torch.dtype) -> list[nn.Module]:
    for layer in layers:  # sequences inside layers that are none themselves
        for module in layer.modules():
            if type(module) is nn.Sequential:
                _fold_sequence(module)
    folded: list[nn.Module] = []
    for layer in layers:
        before = folded[-1] if folded else None
        if before is not None and _folds_into(layer, before):
            folded[-1] = fuse_conv_bn_eval(before, layer)  # type: ignore[type-var, arg-type]
        elif type(layer) is nn.Conv2d and isinstance(before, _Shifted):
            with torch.no_grad():
                layer.weight.mul_(before.scale)
            before.scaled = True
            folded.append(layer)
        elif type(layer) is nn.ReLU and type(before) is nn.Conv2d and _plain(before):
            folded[-1] = _ConvolutionReLU(before)
        elif isinstance(layer, Normalise):
            folded.append(_Shifted(layer, dtype))
        else:
            folded.append(layer)
    return folded


def _fold_sequence(layers: nn.Sequential) -> None:
    for before, name in pairwise(list(layers._modules)):
        convolution, norm = layers._modules[before], layers._modules[name]
        if _folds_into(norm, convolution):
            layers._modules[before] = fuse_conv_bn_eval(convolution, norm)  # type: ignore[type-var, arg-type]
            layers._modules[name] = nn.Identity()


def _folds_into(norm: nn.Module | None, convolution: nn.Module | None) -> bool:
    return type(norm) is nn.BatchNorm2d and norm.track_running_stats and type(convolution) is nn.Conv2d


def _plain(convolution: nn.Conv2d) -> bool:
    return convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


class _Shifted(nn.Module):
    """Pixels less their mean, divided by the spread unless the next convolution does that; channels last."""

    mean: Tensor
    scale: Tensor

    def __init__(self, normalise: Normalise, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("mean", normalise.mean.clone(), persistent=False)
        self.register_buffer("scale", 1 / normalise.std, persistent=False)
        self.scaled, self.dtype = False, dtype

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels - self.mean
        x = x if self.scaled else x.mul_(self.scale)
        return x.to(self.dtype, memory_format=torch.channels_last)  # last: reordered bytes are slower to compute with


class _ConvolutionReLU(nn.Module):
    """ReLU(W * x + b) in one pass over the result where the processor's library can."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        c = self.convolution
        fused = getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if x.device.type == "cpu" else None
        if fused is None:
            return torch.relu_(c(x))
        sizes = (list(c.padding), list(c.stride), list(c.dilation))
        y: Tensor = fused(x, c.weight, c.bias, *sizes, c.groups, "relu", [], "")
        return y


class _InFloat64(nn.Module):
    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, embeddings: Tensor, offsets: Tensor) -> Tensor:
        pooled: Tensor = self.pooling(embeddings.double(), offsets)
        return pooled
