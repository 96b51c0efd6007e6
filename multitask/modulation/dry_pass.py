"""What the named layers of a network give out, found by one pass that leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from multitask.modulation.channel_axes import told_axis

_LISTED = 40  # names an error lists in full


def output_shapes(
    network: nn.Module, layers: Sequence[str], example: Tensor | tuple[Any, ...]
) -> dict[str, torch.Size]:
    """The shape of each named layer's output for one input: `outputs_of`, without the axes."""
    return outputs_of(network, layers, example)[0]


def outputs_of(
    network: nn.Module, layers: Sequence[str], example: Tensor | tuple[Any, ...]
) -> tuple[dict[str, torch.Size], dict[str, int | None]]:
    """The shape of each named layer's output for one input, and which of its axes the channels are.

    The axis is that of the module inside the layer (or the layer itself) which ran last among those whose type tells
    the axis (`told_axis`) and whose output had the layer's shape: 1, -1, or None where there is none.

    The pass runs in evaluation mode without gradients; training flags, BatchNorm statistics and random states are as
    before.

    Args:
        network: any module.
        layers: names of sub-modules, as `network.named_modules()` has them.
        example: an input, or a tuple of inputs.

    Raises:
        ValueError: if a name is unknown (lists those that there are) or given twice, or the layer gives no tensor.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> outputs_of(network, ["0", "1"], torch.zeros(2, 4))
    ({'0': torch.Size([2, 3]), '1': torch.Size([2, 3])}, {'0': -1, '1': None})
    """
    modules = dict(network.named_modules())
    names = [name for name in modules if name]
    if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
        raise ValueError(f"`layers` must be different names of layers, at least one, got {layers!r}")
    for layer in layers:
        if layer not in names:
            raise ValueError(f"`layers` must name layers of the network, got {layer!r}; {_there_are(layer, names)}")
    shapes: dict[str, torch.Size] = {}
    axes: dict[str, int | None] = {}
    told: list[tuple[str, int, torch.Size]] = []  # in the order in which they ran

    def listen(name: str, axis: int, module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            told.append((name, axis, output.shape))

    def keep(name: str, module: nn.Module, arguments: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"`layers` must give one tensor each, got {type(output).__name__} from {name!r}")
        shapes[name] = output.shape
        inside = [axis for n, axis, shape in told if shape == output.shape and (n == name or n.startswith(f"{name}."))]
        axes[name] = inside[-1] if inside else None

    inputs = example if isinstance(example, tuple) else (example,)
    with torch.no_grad(), _untouched(network, inputs):
        telling = [(n, axis) for n, module in modules.items() if (axis := told_axis(module)) is not None]
        handles = [modules[n].register_forward_hook(partial(listen, n, axis)) for n, axis in telling]
        handles += [modules[layer].register_forward_hook(partial(keep, layer)) for layer in layers]
        try:
            network(*inputs)
        finally:
            for handle in handles:
                handle.remove()
    unused = [layer for layer in layers if layer not in shapes]
    if unused:
        raise ValueError(f"`layers` must be used by the network, got {unused}, which the example did not reach")
    return {layer: shapes[layer] for layer in layers}, {layer: axes[layer] for layer in layers}


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
