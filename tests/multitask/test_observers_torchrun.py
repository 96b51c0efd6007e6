"""Observers under `torchrun`: what each process has seen is kept for it, and shapes change on all of them.

Selective Sharing is one: what all processes have seen decides, and all merge alike. One launch checks everything, as
most of its time goes into starting it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask.arrays import ShuffledBatches
from multitask.config import TrainingConfig
from multitask.distributed import gather_tensors, gather_to_all, join
from multitask.observers import Observer
from multitask.resume import TrainingState
from multitask.sharing import Branches, SelectiveSharing
from multitask.stacked import StackedLinear
from multitask.task_losses import combined
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


def check_gathering() -> None:
    rank = int(os.environ["RANK"])
    uneven = {
        "a": torch.arange(rank + 2),
        "flags": torch.tensor([True] * rank),
        **({"b": torch.ones(())} if rank else {}),
    }
    first, second = gather_tensors(uneven)
    assert first.keys() == {"a", "flags"}
    assert first["a"].tolist() == [0, 1]
    assert (second["a"].tolist(), second["flags"].tolist(), second["b"].item()) == ([0, 1, 2], [True], 1.0)


def check_shapes(folder: Path) -> None:
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


class Questions:
    """Four yes-no questions, each asked twice."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x, w = torch.randn(240, 8, generator=generator), torch.randn(8, 4, generator=generator)
        self.y = (self.x @ w > 0).float().repeat(1, 2)

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def share(checkpoint: Path | None = None, killed_at: int | None = None) -> SelectiveSharing:
    config = TrainingConfig(
        epochs=3, batch_size=12, learning_rate=0.02, precision="float32", ema_decay=0.9, checkpoint_steps=3
    )  # 20 steps an epoch
    torch.manual_seed(0)
    branches = Branches(8, 8, hidden=(6,))
    sharing = SelectiveSharing(branches, directive="random", seed=3)
    calls = 0

    def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        if calls == killed_at:
            raise Killed
        rows = F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none")
        return rows.mean(0), torch.full((8,), float(len(rows)))

    fit(
        branches, combined(sharing.watch(losses)), ShuffledBatches.of(Questions(), config), config,
        observers=[sharing], checkpoint=checkpoint, progress=False, device="cpu",
    )  # fmt: skip
    return sharing


def check_sharing(folder: Path) -> None:
    whole = share()
    assert whole.branches.n_groups == 4
    groups = gather_to_all(whole.branches.group_of)
    assert torch.equal(groups[0], groups[1])
    distances = gather_to_all(torch.from_numpy(whole.distances[1]))
    assert torch.equal(distances[0], distances[1])
    assert distances[0, 0, 4] < 1e-6
    with pytest.raises(Killed):  # in epoch 1, after a checkpoint: the sums so far are each process's own
        share(folder / "sharing", killed_at=39)
    resumed = share(folder / "sharing")
    torch.testing.assert_close(resumed.branches.state_dict(), whole.branches.state_dict(), rtol=0, atol=0)
    assert resumed.groups() == whole.groups()
    assert torch.equal(torch.from_numpy(resumed.distances[1]), torch.from_numpy(whole.distances[1]))


def check_the_kept_branch() -> None:
    """Losses on which the processes disagree: alone, the first would keep the branch of task 0, the second of task 4.

    By the means over both, 5 and 2.5 (and what the tasks' own losses add), all keep that of task 4.
    """
    extra = torch.zeros(8)
    extra[0], extra[4] = (1.0, 2.0) if int(os.environ["RANK"]) == 0 else (9.0, 3.0)
    rows, weights = Questions(), []
    turned = torch.rand(len(rows), generator=torch.Generator().manual_seed(2)) < 0.05
    rows.y[turned, 0] = 1 - rows.y[turned, 0]  # or the two branches would be the same
    torch.manual_seed(0)
    branches = Branches(8, 8, hidden=(6,))
    sharing = SelectiveSharing(branches, warmup_epochs=0)

    def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        own = F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none").mean(0)
        return own + extra, torch.full((8,), float(len(batch[0])))

    class Note(Observer):
        def after_epoch(self, state: TrainingState) -> None:
            weights.append(branches.layers[0].weight.detach().clone())

    config = TrainingConfig(epochs=2, batch_size=12, learning_rate=0.02, precision="float32", ema_decay=0)
    fit(
        branches, combined(sharing.watch(losses)), ShuffledBatches.of(rows, config), config,
        observers=[Note(), sharing, Note()], progress=False, device="cpu",
    )  # fmt: skip
    before, after, *_ = weights
    assert ["0", "4"] in sharing.groups()
    assert not torch.equal(before[0], before[4])
    assert torch.equal(*gather_to_all(before))
    assert torch.equal(*gather_to_all(after))
    assert torch.equal(after[0], before[4])


def check(folder: Path) -> None:
    """What each process runs."""
    join(torch.device("cpu"))
    check_gathering()
    check_shapes(folder)
    check_sharing(folder)
    check_the_kept_branch()
    (folder / f"equal{os.environ['RANK']}").touch()


def test_two_processes_change_shapes_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"equal{rank}").exists() for rank in (0, 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    check(Path(sys.argv[1]))
