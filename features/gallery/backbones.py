"""Image encoders by name: photos in, one feature vector each out, with a part that may be frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from features.errors import Fault, InputError
from features.gallery.preprocessing import NetworkParts, Normalise, Preprocessing
from features.gallery.small_network import small_network
from features.gallery.squeezenet import squeezenet1_1

Train = Literal["all", "last_block", "none"]
BUILT_IN = ("small", "squeezenet1_1")


class Frozen(nn.Module):
    """Layers that training must not touch: no gradients, and evaluation mode whatever `train()` says.

    Without the latter the BatchNorm statistics of a "frozen" network drift with every batch.

    Parameters
    ----------
    layers : Module
        Their parameters lose `requires_grad`.

    Examples
    --------
    >>> frozen = Frozen(nn.BatchNorm2d(3)).train()
    >>> frozen.layers.training, frozen(torch.ones(1, 3, 2, 2)).requires_grad
    (False, False)
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stays in evaluation mode."""
        del mode
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """The layers' output, without gradients."""
        with torch.no_grad():
            y: Tensor = self.layers(x)
        return y


class Backbone(nn.Module):
    """Photos to feature vectors: `suffix(prefix(pixels))`.

    Parameters
    ----------
    name : str
        Of the network.
    parts : NetworkParts
        The network.
    train : "all", "last_block" or "none"
        Which parts train; the others are `Frozen`.

    Attributes
    ----------
    prefix : Frozen
        From pixels `(n, 3, S, S)`, uint8 or float in 0..255, through `Normalise` and the frozen layers. Its outputs do
        not change in training, so they may be stored.
    suffix : Module
        From the prefix's output to `(n, width)`; all of it trains.
    width : int
        Length of the feature vector.
    preprocessing : Preprocessing
        Its `size` is the photo's size in pixels.

    Examples
    --------
    >>> backbone = make_backbone("small", train="last_block")
    >>> backbone(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([2, 192])
    >>> count_parameters(backbone)
    (166272, 219096)
    """

    def __init__(self, name: str, parts: NetworkParts, train: Train = "all") -> None:
        super().__init__()
        self.name, self.width, self.preprocessing = name, parts.width, parts.preprocessing
        layers = [parts.front, parts.back]
        frozen = {"all": 0, "last_block": 1, "none": 2}[train]
        self.prefix = Frozen(nn.Sequential(Normalise(parts.preprocessing), *layers[:frozen]))
        self.suffix: nn.Sequential = nn.Sequential(*layers[frozen:])

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels `(n, 3, S, S)`, uint8 or float in 0..255, to `(n, width)` float32."""
        features: Tensor = self.suffix(self.prefix(pixels))
        return features

    def before_last(self, pixels: Tensor) -> Tensor:
        """Pixels to what the last stage takes: maps `(n, C, H, W)`, or tokens `(n, L, C)` of a transformer."""
        return self.stored_before_last(self.prefix(pixels))

    def stored_before_last(self, stored: Tensor) -> Tensor:
        """As `before_last`, from the prefix's output."""
        maps: Tensor = self.suffix[:-1](stored)
        return maps

    def last(self, maps: Tensor) -> Tensor:
        """The last stage: what `before_last` gives to `(n, width)` float32."""
        features: Tensor = self.suffix[-1](maps)
        return features


def make_backbone(
    name: str,
    *,
    weights: Path | str | None = None,
    pretrained: bool = False,
    size: int | None = None,
    train: Train = "all",
    cut: bool = False,
) -> Backbone:
    """The image encoder `name`.

    Parameters
    ----------
    name : str
        "small" (`small_network`), "squeezenet1_1" or any network of timm, e.g. "vgg16" [Booking],
        "efficientnet_b0", "vit_base_patch16_224", "deit_base_patch16_224", "mobilevit_s", "efficientformer_l1".
    weights : Path, optional
        A file of weights: ``.safetensors``, or a dict of tensors written by torch. A classifier in it is left out.
        None = random ones, unless `pretrained`.
    pretrained : bool
        Let timm fetch its weights; not for the built-in networks.
    size : int, optional
        Photo size in pixels; None = what the network was made for.
    train : "all", "last_block" or "none"
        What trains. "last_block": the last stage, or the last block of a transformer, with the layers behind it; VGG's
        block 5, [Booking] section 3.2.
    cut : bool
        Cut networks of timm before their last stage also where all of it trains: modulation acts there.

    Raises
    ------
    InputError
        An unknown name, weights that do not fit, a missing package, a size that the network cannot take.

    Examples
    --------
    >>> make_backbone("squeezenet1_1", size=96).width
    512
    """
    _check(name, weights, pretrained, size, train)
    if name == "small":
        parts = small_network(weights=weights)
    elif name == "squeezenet1_1":
        parts = squeezenet1_1(weights)
    else:
        from features.gallery.timm_backbones import Split, timm_network

        split: Split | None = "train" if train == "last_block" else "modulation" if cut else None
        parts = timm_network(name, weights, pretrained=pretrained, size=size, split=split)
    if size is not None:
        own = parts.preprocessing
        parts = parts._replace(preprocessing=Preprocessing(size, own.mean, own.std))
    return Backbone(name, parts, train)


def _check(name: str, weights: Path | str | None, pretrained: bool, size: int | None, train: str) -> None:
    faults = []
    if train not in get_args(Train):
        faults.append(Fault(f"must be one of {', '.join(get_args(Train))}", key="train", value=train))
    if size is not None and size < 32:
        faults.append(Fault("must be at least 32 pixels", key="photo_size", value=size))
    if pretrained and weights is not None:
        faults.append(Fault("must be left out where `weights` names a file", key="pretrained", value=pretrained))
    elif pretrained and name in BUILT_IN:
        message = f"must be left out for {name}, which has no weights to fetch; `weights` takes a file"
        faults.append(Fault(message, key="pretrained", value=pretrained))
    if faults:
        raise InputError(faults)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """`(trainable, all)` numbers in a module's parameters.

    Examples
    --------
    >>> count_parameters(Frozen(nn.Linear(3, 2)))
    (0, 8)
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
