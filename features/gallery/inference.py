"""The network as it is used, not trained: batch normalisation folded away, photos in blocks, pooling in float64."""

from __future__ import annotations

from copy import copy, deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from features.gallery.network import GalleryNetwork
from multitask.malloc import keep_freed_memory

BLOCK = 64  # photos at once on a CPU: what the first layers hold of them then stays in the cache


def inference_network(network: GalleryNetwork) -> GalleryNetwork:
    """A network in evaluation mode with the same vectors, to rounding, at a fraction of the time; it shares weights.

    - A convolution followed by batch normalisation is one convolution: gamma (W x - mu) / sigma + beta is linear in x.
    - A CPU takes the photos 64 at a time.
    - Pooling is in float64. A sum in float32 depends on the order of its terms in the last digits, and these are the
      first ones that remain of a dimension in which galleries hardly differ.

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
    pooling = _InFloat64(deepcopy(network.pooling).double())
    twin._modules = {**network._modules, "backbone": _InBlocks(network.backbone), "pooling": pooling}
    return twin.eval()


class _InBlocks(nn.Module):
    """A backbone without batch normalisation where it can be folded, on blocks of photos."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.prefix, self.suffix = _folded(deepcopy(backbone).eval())

    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.device.type != "cpu" or len(pixels) <= BLOCK:
            return self._features(pixels)
        return torch.cat([self._features(block) for block in pixels.split(BLOCK)])

    def _features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.suffix(self.prefix(pixels))
        return features


def _folded(backbone: nn.Module) -> tuple[nn.Module, nn.Module]:
    for module in backbone.modules():
        if isinstance(module, nn.Sequential):
            _fold(module)
    prefix, suffix = backbone.get_submodule("prefix"), backbone.get_submodule("suffix")
    return prefix, suffix


def _fold(layers: nn.Sequential) -> None:
    """Fold each normalisation into the convolution before it, within one sequence."""
    names = list(layers._modules)
    for before, name in pairwise(names):
        convolution, norm = layers._modules[before], layers._modules[name]
        if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
            layers._modules[before] = fuse_conv_bn_eval(convolution, norm)
            layers._modules[name] = nn.Identity()


class _InFloat64(nn.Module):
    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, embeddings: Tensor, offsets: Tensor) -> Tensor:
        pooled: Tensor = self.pooling(embeddings.double(), offsets)
        return pooled
