"""Networks of timm by name, without their classifiers, cut where their last stage or block begins."""

from __future__ import annotations

import copy
import difflib
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from features.errors import Fault, InputError
from features.gallery.preprocessing import GlobalAverage, NetworkParts, Preprocessing
from features.gallery.torchvision_operators import declare_missing_operators
from features.gallery.weights import load_weights, read_weights

Split = Literal["train", "modulation"]


def timm_network(
    name: str,
    weights: Path | str | None = None,
    *,
    pretrained: bool = False,
    size: int | None = None,
    split: Split | None = None,
) -> NetworkParts:
    """The network `name` of timm with its own mean, standard deviation and photo size.

    The feature vector is what timm pools from the last feature map or tokens, before any classifier. Of the VGG
    networks it is the mean over the last map's positions, 512 numbers [Booking, section 3.2], instead of timm's two
    fully connected layers of 4,096.

    Parameters
    ----------
    name : str
        A name that timm knows, such as "vgg16" or "efficientnet_b0".
    weights : Path, optional
        A file of timm's tensors for this network; those of the classifier are left out. None = random ones.
    pretrained : bool
        Let timm fetch weights.
    size : int, optional
        Photo size in pixels; None = the network's own.
    split : "train" or "modulation", optional
        The setting that needs the network cut: the `back` part is then the last element of its stack of stages or
        blocks (of a VGG network the convolutions between its last two poolings, block 5) and everything behind it.
        None: `front` passes its input on and `back` is the whole network.

    Raises
    ------
    InputError
        timm is not installed; it does not know the name, or its weights do not come or fit; the network cannot take
        that size, or cannot be cut.

    Examples
    --------
    >>> timm_network("resnet10t", size=64).width  # doctest: +SKIP
    512
    """
    try:
        declare_missing_operators()
        import timm
    except ImportError as error:
        message = f"{name} needs timm and torchvision ({error}): pip install 'galleryrank[vision]'"
        raise InputError(Fault(message, key="backbone")) from error
    network = _create(timm, name, pretrained, size)
    config = network.pretrained_cfg
    own = int(config["input_size"][-1])
    preprocessing = Preprocessing(size or own, _channels(config["mean"]), _channels(config["std"]))
    if _is_vgg(network):
        maps, width = network.features, int(network.num_features)
        if weights is not None:
            load_weights(network.features, _tensors(weights, "features.", ()), weights)
        at = [i for i, layer in enumerate(maps) if isinstance(layer, nn.MaxPool2d)][-2] + 1 if split else 0
        return NetworkParts(maps[:at], nn.Sequential(*maps[at:], GlobalAverage()), width, preprocessing)
    if weights is not None:
        classifiers = config.get("classifier") or ()
        heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
        load_weights(network, _tensors(weights, "", tuple(f"{head}." for head in heads)), weights)
    whole, width = Features(network), int(network.head_hidden_size)
    if not split:
        if preprocessing.size != own:
            _run(name, whole, preprocessing.size)
        return NetworkParts(nn.Identity(), whole, width, preprocessing)
    expected = _run(name, whole, preprocessing.size)
    parts = NetworkParts(*_cut(network), width, preprocessing)
    _check_cut(name, parts, expected, split)
    return parts


_STACKS = ("stages", "blocks", "layers", "features", "transformers")  # what timm calls the body of a network


class Features(nn.Module):
    """A timm network up to its pooled features: `(n, 3, S, S)` to `(n, width)` in float32 or better.

    Parameters
    ----------
    network : Module
        Made by timm with ``num_classes=0``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network  # timm's methods are not those of nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """The pooled features of what the network takes."""
        y: Tensor = self.network.forward_head(self.network.forward_features(x), pre_logits=True)
        return y if y.dtype == torch.float64 else y.float()


class FeatureMaps(nn.Module):
    """The first layers of a timm network: `(n, 3, S, S)` to what the last stage or block takes.

    Parameters
    ----------
    network : Module
        Made by timm, its last layers replaced by ones that do nothing.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: Tensor) -> Tensor:
        """The unpooled features."""
        y: Tensor = self.network.forward_features(x)
        return y


def _create(timm: Any, name: str, pretrained: bool, size: int | None) -> Any:
    """The network without a classifier; one whose layers depend on the photo size is made for `size`."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        known = f"; near it: {', '.join(near)}" if near else ""
        message = f'must be "small", "squeezenet1_1" or a network of timm{known}'
        raise InputError(Fault(message, key="backbone", value=name))
    if pretrained and not timm.models.is_model_pretrained(name):  # timm would go on with random weights
        raise InputError(Fault(f"timm has no weights for {name}", key="pretrained", value=pretrained))
    config = timm.get_pretrained_cfg(name)
    fixed = {"img_size": size} if size is not None and config is not None and config.fixed_input_size else {}
    # The dense layers of VGG are left out later: one unit wide they cost neither their half gigabyte nor the second.
    dense = {"mlp_ratio": 1 / 4096} if name.startswith("vgg") and not pretrained else {}
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **fixed, **dense)
    except OSError as error:
        message = f"the weights of {name} could not be fetched, `weights` takes a local file: {error}"
        raise InputError(Fault(message, key="pretrained", value=pretrained)) from error
    except TypeError as error:
        if not fixed:
            raise
        message = f"{name} takes photos of {config.input_size[-1]} pixels only"
        raise InputError(Fault(message, key="photo_size", value=size)) from error


def _is_vgg(network: Any) -> bool:
    """A sequence of convolutions behind which two large layers hold 120 of 134 million parameters."""
    features = getattr(network, "features", None)
    return isinstance(getattr(network, "pre_logits", None), nn.Module) and isinstance(features, nn.Sequential)


def _channels(values: tuple[float, float, float]) -> tuple[float, float, float]:
    """timm's 0..1 in units of 0..255."""
    red, green, blue = (255.0 * float(value) for value in values)
    return red, green, blue


def _tensors(path: Path | str, prefix: str, left_out: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of a file whose names begin with `prefix`, without it, and with none of `left_out`."""
    found = read_weights(path).items()
    wanted = {name: tensor for name, tensor in found if name.startswith(prefix) and not name.startswith(left_out)}
    return {name.removeprefix(prefix): tensor for name, tensor in wanted.items()}


def _run(name: str, module: nn.Module, size: int) -> Tensor:
    """The output for a photo of noise, in evaluation mode; a network that cannot take the size is a fault."""
    training = module.training
    photo = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            output: Tensor = module.eval()(photo)
    except Exception as error:  # whatever the network runs into: no two families check their input alike
        raise InputError(
            Fault(f"{name} cannot take photos of this size: {error}", key="photo_size", value=size)
        ) from error
    module.train(training)
    return output


def _cut(network: Any) -> tuple[nn.Module, nn.Module]:
    """The two parts. In each, the other's layers become `Identity`, so that timm's own forward runs both."""
    front, back = network, copy.deepcopy(network)
    children = dict(front.named_children())
    names = list(children)
    stack = next((child for child in _STACKS if isinstance(children.get(child), nn.Sequential | nn.ModuleList)), None)
    total = sum(parameter.numel() for parameter in front.parameters())

    def large(module: nn.Module) -> bool:  # a stack may end in a norm or an activation, which is not its last block
        return sum(parameter.numel() for parameter in module.parameters()) > 0.02 * total

    if stack is not None:
        layers: Any = children[stack]
        at = max(i for i, layer in enumerate(layers) if large(layer))
        setattr(front, stack, layers[:at])
        setattr(back, stack, getattr(back, stack)[at:])
        before, behind = names[: names.index(stack)], names[names.index(stack) + 1 :]
    else:  # stages are the network's own children: layer1 ... layer4
        at = max(i for i, child in enumerate(names) if large(children[child]))
        before, behind = names[:at], names[at:]
    for child in behind:
        setattr(front, child, nn.Identity())
    for child in before:
        setattr(back, child, nn.Identity())
    for parameter in dict(back.named_parameters(recurse=False)):
        setattr(back, parameter, None)  # class tokens and positions join at the front
    if hasattr(back, "_pos_embed"):
        back._pos_embed = _unchanged
    return FeatureMaps(front), Features(back)


_NEEDS_CUT: dict[Split, tuple[object, str]] = {
    "train": ("last_block", 'use train = "all" or "none"'),
    "modulation": (True, "its masks would act there: leave it out"),
}


def _unchanged(x: Tensor) -> Tensor:
    return x


def _check_cut(name: str, parts: NetworkParts, expected: Tensor, split: Split) -> None:
    """A network whose own forward does more than run its layers in turn must not come out changed."""
    try:
        cut = _run(name, nn.Sequential(parts.front, parts.back), parts.preprocessing.size)
        same = cut.shape == expected.shape and bool((cut - expected).abs().max() <= 1e-4 * expected.abs().max())
    except InputError:
        same = False
    if not same:
        value, advice = _NEEDS_CUT[split]
        raise InputError(Fault(f"{name} cannot be cut before its last stage; {advice}", key=split, value=value))
