"""Observers under `torchrun`: what each process has seen is kept for it, and shapes change on all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from multitask.arrays import ShuffledBatches
from multitask.config import TrainingConfig
from multitask.distributed import gather_tensors, gather_to_all, join
from multitask.observers import Observer
from multitask.resume import TrainingState
from multitask.stacked import StackedLinear
from multitask.training import fit


class Rows:
    def __init__(self) -> None:
        self.x = torch.randn(83, 5, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> Tensor:
        return self.x[index]


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stack = StackedLinear(4, 5, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.stack(x)[..., 0]
        return y.mean(0)


class KeepTheLargest(Observer):
    """Each process notes its own batches; whose sum over the processes is larger decides which networks are kept."""

    def __init__(self) -> None:
        self.own: list[float] = []
        self.groups = 4

    def after_epoch(self, state: TrainingState) -> None:
        if state.position.epoch == 1:
            total = gather_to_all(torch.tensor(self.own, dtype=torch.float64).sum()).sum().item()
            self.resize(state, 2, lambda x: x[:2] if total > 0 else x[2:])

    def resize(self, state: TrainingState, groups: int, change: object) -> None:
        assert isinstance(state.model, Stack)
        state.replace(state.model.stack.weight, change)  # type: ignore[arg-type]
        state.model.stack.groups = self.groups = groups

    def tensors(self) -> dict[str, Tensor]:
        return {"own": torch.tensor(self.own, dtype=torch.float64), "groups": torch.tensor(self.groups)}

    def load_tensors(self, tensors: dict[str, Tensor], state: TrainingState) -> None:
        self.own, groups = tensors["own"].tolist(), int(tensors["groups"])
        self.resize(state, groups, lambda x: x[:groups])


class Killed(Exception):
    pass


def train(checkpoint: Path | None = None, killed_at: int | None = None) -> tuple[Stack, KeepTheLargest]:
    config = TrainingConfig(
        epochs=4, batch_size=20, learning_rate=0.05, precision="float32", ema_decay=0.9, ema_every=2,
        optimizer="sgd", momentum=0.5, checkpoint_steps=2,
    )  # fmt: skip
    model, observer = Stack(), KeepTheLargest()

    def loss(net: nn.Module, x: Tensor) -> Tensor:
        observer.own.append(x.sum().item())
        if len(observer.own) == killed_at:
            raise Killed
        value: Tensor = (net(x) - x[:, 0]).square().mean()
        return value

    batches = ShuffledBatches.of(Rows(), config)
    fit(model, loss, batches, config, observers=[observer], checkpoint=checkpoint, progress=False, device="cpu")
    return model, observer


def check(folder: Path) -> None:
    """What each process runs."""
    rank = int(os.environ["RANK"])
    join(torch.device("cpu"))
    uneven = {
        "a": torch.arange(rank + 2),
        "flags": torch.tensor([True] * rank),
        **({"b": torch.ones(())} if rank else {}),
    }
    first, second = gather_tensors(uneven)
    assert first.keys() == {"a", "flags"}
    assert first["a"].tolist() == [0, 1]
    assert (second["a"].tolist(), second["flags"].tolist(), second["b"].item()) == ([0, 1, 2], [True], 1.0)

    whole, seen = train()
    assert whole.stack.weight.shape == (2, 1, 5)
    others = gather_to_all(torch.tensor(seen.own))
    assert not torch.equal(others[0], others[1])
    for step in (4 * 1 + 4, 4 * 2 + 4):  # steps 3 of epochs 1 and 2, after the checkpoints at their steps 2
        with pytest.raises(Killed):
            train(folder / str(step), killed_at=step)
        resumed, again = train(folder / str(step))
        torch.testing.assert_close(dict(resumed.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)
        assert again.own == seen.own
    (folder / f"equal{rank}").touch()


def test_two_processes_change_shapes_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"equal{rank}").exists() for rank in (0, 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    check(Path(sys.argv[1]))
