"""What the named layers of a network give out, found by one pass that leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

_LISTED = 40  # names an error lists in full


def output_shapes(
    network: nn.Module, layers: Sequence[str], example: Tensor | tuple[Any, ...]
) -> dict[str, torch.Size]:
    """The shape of each named layer's output for one input.

    The pass runs in evaluation mode without gradients; training flags, BatchNorm statistics and random states are as
    before.

    Args:
        network: any module.
        layers: names of sub-modules, as `network.named_modules()` has them.
        example: an input, or a tuple of inputs.

    Raises:
        ValueError: if a name is unknown (lists those that there are) or given twice, or the layer gives no tensor.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> output_shapes(network, ["0"], torch.zeros(2, 4))
    {'0': torch.Size([2, 3])}
    """
    modules = dict(network.named_modules())
    names = [name for name in modules if name]
    if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
        raise ValueError(f"`layers` must be different names of layers, at least one, got {layers!r}")
    for layer in layers:
        if layer not in names:
            raise ValueError(f"`layers` must name layers of the network, got {layer!r}; {_there_are(layer, names)}")
    shapes: dict[str, torch.Size] = {}

    def keep(name: str, module: nn.Module, arguments: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"`layers` must give one tensor each, got {type(output).__name__} from {name!r}")
        shapes[name] = output.shape

    inputs = example if isinstance(example, tuple) else (example,)
    with torch.no_grad(), _untouched(network, inputs):
        handles = [modules[layer].register_forward_hook(partial(keep, layer)) for layer in layers]
        try:
            network(*inputs)
        finally:
            for handle in handles:
                handle.remove()
    unused = [layer for layer in layers if layer not in shapes]
    if unused:
        raise ValueError(f"`layers` must be used by the network, got {unused}, which the example did not reach")
    return {layer: shapes[layer] for layer in layers}


@contextmanager
def _untouched(network: nn.Module, inputs: tuple[Any, ...]) -> Iterator[None]:
    """Evaluation mode inside; each module's own mode and the random states again after it."""
    modes = [(module, module.training) for module in network.modules()]
    devices = {x.device for x in inputs if isinstance(x, Tensor) and x.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        network.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def _there_are(layer: str, names: Sequence[str]) -> str:
    if len(names) <= _LISTED:
        return f"there are {', '.join(names)}"
    top = [name for name in names if "." not in name]
    close = get_close_matches(layer, names, n=5, cutoff=0.4)
    like = f", and among those inside them {', '.join(close)}" if close else ""
    return f"there are {', '.join(top[:_LISTED])}{like} ({len(names)} in all: see `network.named_modules()`)"
