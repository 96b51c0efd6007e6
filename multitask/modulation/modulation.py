"""Modulation of any network: per task, a factor for every channel of the layers one names."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import torch
from torch import Tensor, nn

from multitask.modulation.channel_axes import channel_axes
from multitask.modulation.conditioned import TaskConditioned, Tasks, rows_of
from multitask.modulation.dry_pass import outputs_of
from multitask.modulation.layers import Projection, RectifiedScaling, Scaling
from multitask.modulation.relevance import distance_table

if TYPE_CHECKING:
    import pandas as pd

KINDS = {"scaling": Scaling, "projection": Projection, "mask": RectifiedScaling}
Kind = Literal["scaling", "projection", "mask"]


class Modulation(TaskConditioned):
    """A network whose named layers are modulated per task [Modulation], by hooks on their outputs.

    The network is not rewritten: any module will do whose named sub-modules give one tensor with one row per input
    row. Before the first step the result is the network's own, bit for bit. Where the paper writes "from block4",
    `layers` names block4, block5 and fc.

    A task that never occurs in training keeps the masks it began with, all ones (`masks` shows it): it is embedded by
    the shared network as it is.

    Activation checkpointing (`torch.utils.checkpoint`) of a part with modulated layers does not work: it runs the part
    again in the backward pass, when the tasks are no longer known, and raises "`tasks` must be given".

    Args:
        network: becomes `self.network`; a network is modulated once, and then called through the modulation only.
        tasks: names of the tasks, or T for the names "0" to "T - 1".
        layers: names of sub-modules, as in `network.named_modules()`.
        example: an input (several: a tuple) on the network's device. The network reads it once, in evaluation mode,
            to count the channels; its statistics and the random states stay as they were.
        kind: "scaling" `(T, C)` per layer, "projection" `(T, C, C)`, or "mask", a scaling that is cut at 0.
        rate_factor: the masks learn at this many times the base learning rate.
        channel_axis: which axis of a layer's output the channels are, for all layers or by layer. Where it is not
            given, the layer's own modules tell: axis 1 behind convolutions, BatchNorm and pooling, the last one behind
            linear layers and LayerNorm; a layer without any of them (an activation) needs it, unless it gives `(B, C)`.

    Raises:
        ValueError: naming the argument at fault; for an unknown layer, the layers that there are. The network is then
            as it was.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> x = torch.ones(2, 4)
    >>> shared = network(x)
    >>> modulation = Modulation(network, ["type", "colour"], ["0", "2"], example=x).eval()
    >>> torch.equal(modulation(x, tasks=torch.tensor([0, 1])), shared), modulation.extra_parameters
    (True, 10)
    >>> modulation.embed(x, "colour").shape, modulation.all_tasks(x).shape
    (torch.Size([2, 2]), torch.Size([2, 2, 2]))
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: int | Sequence[str],
        layers: Sequence[str],
        *,
        example: Tensor | tuple[Any, ...],
        kind: Kind = "scaling",
        rate_factor: float = 10.0,
        channel_axis: int | Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(tasks)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {tuple(KINDS)}, got {kind!r}")
        if any(_is_ours(hook) for module in network.modules() for hook in module._forward_hooks.values()):
            raise ValueError("`network` must not be modulated yet, got one that another Modulation holds")
        shapes, told = outputs_of(network, layers, example)
        self.network, self.layers, self.kind, self.frozen = network, tuple(layers), kind, False
        like = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
        self.modulators = nn.ModuleDict()
        for layer, axis in channel_axes(shapes, told, channel_axis).items():
            modulator = KINDS[kind](self.n_tasks, shapes[layer][axis], rate_factor=rate_factor, channel_axis=axis)
            self.modulators[_key(layer)] = modulator.to(like)
        # What the hooks are to do, per thread that is in a pass (several may embed at once): apply the tasks of the
        # rows, every task to this number of rows, or nothing.
        self._selected: dict[int, Tensor | int | None] = {}
        for layer in layers:  # last: a network that was refused has no hooks
            network.get_submodule(layer).register_forward_hook(partial(self._modulate, layer))

    def forward(self, *inputs: Tensor, tasks: Tasks = None) -> Tensor:
        """`(B, ...)` inputs and `(B,)` task numbers, or the one task of all rows, to what the network gives.

        Raises:
            ValueError: if `tasks` is None, or does not fit the rows or the tasks.
        """
        with self._selecting(self.task_numbers(tasks, inputs)):
            output: Tensor = self.network(*inputs)
        return output

    def all_tasks(self, *inputs: Tensor) -> Tensor:
        """Every row under every task, `(B, T, d)`, sharing the pass up to the first modulated layer.

        There the B rows become B T rows, so the rest of the network must treat rows independently and must not add
        the unmodulated maps of an earlier layer to modulated ones. Memory: T maps per row behind that layer. In
        training mode BatchNorm counts the B T rows like any others: for embeddings call `eval()` first.
        """
        rows = rows_of(inputs)
        with self._selecting(rows):
            output: Tensor = self.network(*inputs)
        if output.shape[0] != rows * self.n_tasks:
            raise ValueError(f"`network` must give one row per input row, got {output.shape[0]} for {rows} rows")
        return output.unflatten(0, (rows, self.n_tasks))

    def iterate(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yields `(task, (B, d))` one task after another ([Modulation] section 5.2), from stored shared maps.

        As `all_tasks`, with the memory of one task: the pass up to the first modulated layer is shared.

        Raises:
            ValueError: if the network is no `nn.Sequential`, whose children run one after another, or one with a
                forward pass of its own.
        """
        if not isinstance(self.network, nn.Sequential) or type(self.network).forward is not nn.Sequential.forward:
            raise ValueError(
                "`network` must be an nn.Sequential (without a forward pass of its own) to be cut at a layer, got "
                f"{type(self.network).__name__}; `embed` gives one task, `all_tasks` all of them"
            )
        return self._iterate(x, *self._cut(list(self.network.named_children())))

    def _cut(self, children: list[tuple[str, nn.Module]]) -> tuple[list[nn.Module], str | None, list[nn.Module]]:
        """The children that tasks share, the modulated layer they end with (None: it lies deeper), the others."""
        modulated = {layer.split(".")[0] for layer in self.layers}
        first = next(i for i, (name, _) in enumerate(children) if name in modulated)
        name = children[first][0]
        inside = any(layer.startswith(f"{name}.") for layer in self.layers)
        cut, modules = first if inside else first + 1, [module for _, module in children]
        return modules[:cut], None if inside else name, modules[cut:]

    def _iterate(
        self, x: Tensor, shared: list[nn.Module], first: str | None, rest: list[nn.Module]
    ) -> Iterator[tuple[str, Tensor]]:
        with self._selecting(None):
            maps = nn.Sequential(*shared)(x)
        for number, name in enumerate(self.task_names):
            tasks = self.task_numbers(number, (x,))
            # Cloned where no mask makes a new tensor of it: the next layer may work in place.
            h = maps.clone() if first is None else self._modulator(first)(maps, tasks)
            with self._selecting(tasks):
                for module in rest:
                    h = module(h)
            yield name, h

    @contextmanager
    def _selecting(self, selected: Tensor | int | None) -> Iterator[None]:
        thread = threading.get_ident()
        self._selected[thread] = selected
        try:
            yield
        finally:
            del self._selected[thread]

    def _modulate(self, layer: str, module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        """The hook: what the layer gives, modulated."""
        thread, modulator = threading.get_ident(), self._modulator(layer)
        if thread not in self._selected:
            raise ValueError("`tasks` must be given: call the Modulation, not the network that it modulates")
        tasks = self._selected[thread]
        if tasks is None:
            return output
        if isinstance(tasks, int):
            if output.shape[0] == tasks:  # nothing before it was modulated
                return modulator.all_tasks(output)
            tasks = torch.arange(self.n_tasks, device=output.device).repeat(tasks)
        if output.shape[0] != tasks.shape[0]:
            raise ValueError(
                f"`layers` must keep the rows, got {output.shape[0]} from {layer!r} for {tasks.shape[0]} tasks"
            )
        modulated: Tensor = modulator(output, tasks)
        return modulated

    def _modulator(self, layer: str) -> Scaling | Projection:
        return cast("Scaling | Projection", self.modulators[_key(layer)])

    def train(self, mode: bool = True) -> Self:
        """As ever; a frozen network stays in evaluation mode, or its BatchNorm statistics would drift."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def freeze(self) -> None:
        """From now on only the masks learn."""
        self.frozen = True
        self.network.requires_grad_(False)
        self.network.eval()

    def masks(self) -> dict[str, Tensor]:
        """A copy of each layer's masks as they act: `(T, C)`, or `(T, C, C)` of projections."""
        return {layer: self._modulator(layer).effective().detach().clone() for layer in self.layers}

    def weights(self) -> Tensor:
        """All masks of a task in one row, `(T, P)`, differentiable."""
        return torch.cat([self._modulator(layer).effective().flatten(1) for layer in self.layers], dim=1)

    def distances(self) -> pd.DataFrame:
        """How unlike the masks of two tasks are: `relevance.distance_table` of the masks."""
        return distance_table(self.weights(), self.task_names)

    @property
    def extra_parameters(self) -> int:
        """T times the sum of C over the layers (of C^2 for projections)."""
        return sum(parameter.numel() for parameter in self.modulators.parameters())


def _key(layer: str) -> str:
    """The layer's name among the modulators: without dots, and never that of a ModuleDict's method."""
    return f"after_{layer.replace('.', '/')}"


def _is_ours(hook: Any) -> bool:
    return isinstance(hook, partial) and isinstance(getattr(hook.func, "__self__", None), Modulation)
