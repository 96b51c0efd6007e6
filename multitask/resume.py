"""Everything a training run needs to go on with the same bits: gathered into tensors and JSON, and put back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multitask import distributed
from multitask.averaging import WeightAverage
from multitask.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from multitask.config import TrainingConfig
from multitask.history import History
from multitask.observers import Observer

_STEPS, _PROCESSES, _OBSERVERS = "steps per epoch", "processes", "observers"


@dataclass
class Position:
    """Where a run stands: the epoch, the steps done in it, their summed loss, and what early stopping remembers."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    stale_epochs: int = 0
    finished: bool = False  # no epoch comes after this one
    history: History = field(default_factory=History)


@dataclass
class TrainingState:
    """The moving parts of one run."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    position: Position
    best: dict[str, Tensor] = field(default_factory=dict)
    observers: Sequence[Observer] = ()

    @torch.no_grad()
    def replace(self, parameter: nn.Parameter, change: Callable[[Tensor], Tensor]) -> None:
        """Changes a parameter, with its shape if need be, and all that the run remembers of it.

        The parameter's data, every moment of the optimiser that has its shape, and its averaged weights each become
        `change` of themselves; the gradient is dropped. `parameter` stays the same object. Graphs of earlier steps, as
        a log of losses that were not detached holds them, cannot be run backwards any more.

        `best` is not changed. Where the network that was the best is not the one that goes on to be trained, call
        `forget_best` too. Otherwise it is loaded at the end of the run as it was, so a module whose parameters are
        replaced by ones of another shape must resize them in `_load_from_state_dict`.

        Args:
            parameter: one of the model's.
            change: for instance `lambda x: x[kept]` for a stack of which some are kept. It must give the same shape
                for all, and must not write into what it is given.

        >>> model = nn.Linear(1, 3, bias=False)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> model(torch.ones(1)).sum().backward()
        >>> optimizer.step()
        >>> state = TrainingState(model, optimizer, WeightAverage([model.weight], 0.9), Position())
        >>> state.replace(model.weight, lambda x: x[:2])
        >>> model.weight.shape, optimizer.state[model.weight]["exp_avg"].shape, state.average.values[0].shape
        (torch.Size([2, 1]), torch.Size([2, 1]), torch.Size([2, 1]))
        """
        shape = parameter.shape
        moments = self.optimizer.state.get(parameter, {})  # .get: looking it up would make an empty state
        for name, value in moments.items():
            if name != "step" and isinstance(value, Tensor) and value.shape == shape:
                moments[name] = _changed(value, change)
        self.average.replace(parameter, change)
        set_data(parameter, _changed(parameter.detach(), change))

    def forget_best(self) -> None:
        """The model has become another one: the best epoch is looked for from the next on, with its patience anew.

        After the last epoch nothing is validated any more: the weights as they are then would be kept, without a
        `best_epoch`.
        """
        self.best = {}
        self.position.stale_epochs = 0
        self.position.history.best_epoch = self.position.history.best_value = None

    def save(self, folder: Path, config: TrainingConfig, steps: int, device: torch.device) -> None:
        """Writes the checkpoint from rank 0; every rank must call it, as each has its own random state."""
        generators = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(device)
        random = {name: distributed.gather_to_all(state) for name, state in generators.items()}
        sums = distributed.gather_to_all(torch.tensor(self.position.loss_sum, dtype=torch.float64))
        watched = [distributed.gather_tensors(observer.tensors()) for observer in self.observers]
        if distributed.rank() != 0:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"average.{i}": tensor for i, tensor in enumerate(self.average.values)}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        for i, ranks in enumerate(watched):
            for rank, held in enumerate(ranks):
                tensors |= {f"observer.{i}.{rank}.{name}": tensor for name, tensor in held.items()}
        tensors |= {f"random.{name}": state for name, state in random.items()}
        position = asdict(self.position) | {"loss_sum": sums.tolist(), "average_steps": self.average.steps}
        write_checkpoint(folder, tensors, {"run": self._signature(config, steps), "position": position})

    def restore(self, folder: Path, config: TrainingConfig, steps: int, device: torch.device) -> bool:
        """Puts the checkpoint in `folder` back; False if there is none.

        Raises:
            CheckpointError: if it is damaged, it is another run's (says what differs) or does not fit the model.
        """
        found = read_checkpoint(folder)
        if found is None:
            return False
        tensors, state = found
        _refuse_other_run(folder, state["run"], self._signature(config, steps))
        position = dict(state["position"])
        self.average.steps = position.pop("average_steps")
        position["loss_sum"] = position["loss_sum"][distributed.rank()]
        self.position = Position(**{**position, "history": History.from_dict(position["history"])})
        for i, observer in enumerate(self.observers):
            observer.load_tensors(_part(tensors, f"observer.{i}.{distributed.rank()}."), self)
        own = self.model.state_dict()
        _refuse_other_model(folder, own, _part(tensors, "model."))
        # Copied into memory that torch allocated: a product's last bits can depend on where its operands lie.
        with torch.no_grad():
            for name, tensor in _part(tensors, "model.").items():
                own[name].copy_(tensor)
            for value, (_, tensor) in zip(self.average.values, _numbered(tensors, "average."), strict=True):
                value.copy_(tensor)
        self.best = {name: tensor.to(device, copy=True) for name, tensor in _part(tensors, "best.").items()}
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _part(tensors, "optimizer.").items():
            number, name = key.split(".", 1)
            moments.setdefault(int(number), {})[name] = tensor.clone()
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        for parameter, held in self.optimizer.state.items():
            for name, value in held.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # Fused kernels walk both in memory order: a channels-last weight needs such a moment.
                    held[name] = torch.empty_like(parameter).copy_(value)
        # Copied: torch reads a row's state from the start of the memory it lies in.
        torch.set_rng_state(tensors["random.cpu"][distributed.rank()].clone())
        if device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"][distributed.rank()].clone(), device)
        return True

    def _signature(self, config: TrainingConfig, steps: int) -> dict[str, Any]:
        names = [type(observer).__name__ for observer in self.observers]
        held = config.model_dump() | {_STEPS: steps, _PROCESSES: distributed.world_size(), _OBSERVERS: names}
        for i, (name, observer) in enumerate(zip(names, self.observers, strict=True)):
            owner = name if names.count(name) == 1 else f"{name} {names[: i + 1].count(name)}"
            held |= {f"{owner}.{key}": value for key, value in observer.settings().items()}
        return held


def set_data(parameter: nn.Parameter, data: Tensor) -> None:
    """`parameter.data = data`, of any shape, without a gradient.

    A graph that is still held keeps alive the node that sums up the parameter's gradients, which knows the old shape
    and refuses the next step's. Torch makes a new one where the type changes, so the type changes for a moment.
    """
    parameter.grad = None
    parameter.data = data.new_empty(0, dtype=torch.float16 if data.dtype != torch.float16 else torch.float32)
    parameter.data = data


def _changed(tensor: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    # A copy: a view would keep the old memory, and a product's last bits can depend on where its operands lie.
    return change(tensor).clone(memory_format=torch.contiguous_format)


def _refuse_other_run(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    # A checkpoint of a version that knew less: what it does not name had today's default.
    there = {**TrainingConfig().model_dump(), _OBSERVERS: [], **there}
    names = [*here, *(name for name in there if name not in here)]
    differing = {n: f"{n} {there.get(n)!r} there, {here.get(n)!r} here" for n in names if there.get(n) != here.get(n)}
    if not differing:
        return
    ways = []
    if differing.keys() - {_PROCESSES, _STEPS}:
        ways.append("train with the same settings")
    elif _STEPS in differing and _PROCESSES not in differing:
        ways.append("train on the same data")
    if _PROCESSES in differing:
        count = there.get(_PROCESSES)
        ways.append(f"run with {count} process{'' if count == 1 else 'es'}")
    raise CheckpointError(
        f"`checkpoint` {folder} must belong to this run, got another one's ({'; '.join(differing.values())}); "
        f"{' and '.join(ways)} to resume it, or delete the folder or choose another to start anew"
    )


def _refuse_other_model(folder: Path, here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> None:
    def shape(tensors: Mapping[str, Tensor], name: str) -> str:
        return f"{tuple(tensors[name].shape)} {tensors[name].dtype}" if name in tensors else "none"

    differing = [
        f"{name} {shape(there, name)} there, {shape(here, name)} here"
        for name in sorted({*here, *there})
        if shape(here, name) != shape(there, name)
    ]
    if differing:
        raise CheckpointError(
            f"`checkpoint` {folder} must fit the model, got {'; '.join(differing)}; "
            "train the same model to resume it, or delete the folder or choose another to start anew"
        )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _numbered(tensors: Mapping[str, Tensor], prefix: str) -> list[tuple[int, Tensor]]:
    return sorted((int(name), tensor) for name, tensor in _part(tensors, prefix).items())
