"""Everything a training run needs to go on with the same bits: gathered into tensors and JSON, and put back."""

from __future__ import annotations

from collections.abc import Mapping
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

_STEPS, _PROCESSES = "steps per epoch", "processes"


@dataclass
class Position:
    """Where a run stands: the epoch, the steps done in it, their summed loss, and what early stopping remembers."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    stale_epochs: int = 0
    finished: bool = False
    history: History = field(default_factory=History)


@dataclass
class TrainingState:
    """The moving parts of one run."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    position: Position
    best: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path, config: TrainingConfig, steps: int, device: torch.device) -> None:
        """Writes the checkpoint from rank 0; every rank must call it, as each has its own random state."""
        generators = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(device)
        random = {name: distributed.gather_to_all(state) for name, state in generators.items()}
        sums = distributed.gather_to_all(torch.tensor(self.position.loss_sum, dtype=torch.float64))
        if distributed.rank() != 0:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"average.{i}": tensor for i, tensor in enumerate(self.average.values)}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        tensors |= {f"random.{name}": state for name, state in random.items()}
        position = asdict(self.position) | {"loss_sum": sums.tolist(), "average_steps": self.average.steps}
        write_checkpoint(folder, tensors, {"run": _signature(config, steps), "position": position})

    def restore(self, folder: Path, config: TrainingConfig, steps: int, device: torch.device) -> bool:
        """Puts the checkpoint in `folder` back; False if there is none.

        Raises:
            CheckpointError: if it is damaged, it is another run's (says what differs) or does not fit the model.
        """
        found = read_checkpoint(folder)
        if found is None:
            return False
        tensors, state = found
        _refuse_other_run(folder, state["run"], _signature(config, steps))
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
        position = dict(state["position"])
        self.average.steps = position.pop("average_steps")
        position["loss_sum"] = position["loss_sum"][distributed.rank()]
        self.position = Position(**{**position, "history": History.from_dict(position["history"])})
        # Copied: torch reads a row's state from the start of the memory it lies in.
        torch.set_rng_state(tensors["random.cpu"][distributed.rank()].clone())
        if device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"][distributed.rank()].clone(), device)
        return True


def _signature(config: TrainingConfig, steps: int) -> dict[str, Any]:
    return config.model_dump() | {_STEPS: steps, _PROCESSES: distributed.world_size()}


def _refuse_other_run(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
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
