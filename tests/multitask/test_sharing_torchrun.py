"""Selective Sharing under `torchrun`: what all processes have seen decides, and all merge alike."""

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
from multitask.distributed import gather_to_all, join
from multitask.sharing import Branches, SelectiveSharing
from multitask.task_losses import combined
from multitask.training import fit


class Rows:
    """Four yes-no questions, each asked twice."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x, w = torch.randn(240, 8, generator=generator), torch.randn(8, 4, generator=generator)
        self.y = (self.x @ w > 0).float().repeat(1, 2)

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class Killed(Exception):
    pass


def train(checkpoint: Path | None = None, killed_at: int | None = None) -> SelectiveSharing:
    config = TrainingConfig(
        epochs=4, batch_size=24, learning_rate=0.02, precision="float32", ema_decay=0.9, checkpoint_steps=3
    )
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
        branches, combined(sharing.watch(losses)), ShuffledBatches.of(Rows(), config), config, observers=[sharing],
        checkpoint=checkpoint, progress=False, device="cpu",
    )  # fmt: skip
    return sharing


def check(folder: Path) -> None:
    """What each process runs."""
    join(torch.device("cpu"))
    whole = train()
    assert whole.branches.n_groups == 4
    groups = gather_to_all(whole.branches.group_of)
    assert torch.equal(groups[0], groups[1])
    distances = gather_to_all(torch.from_numpy(whole.distances[1]))
    assert torch.equal(distances[0], distances[1])
    assert distances[0, 0, 4] < 1e-6
    with pytest.raises(Killed):  # within epoch 1, after its first checkpoint: the sums so far are each process's own
        train(folder / "run", killed_at=18)
    resumed = train(folder / "run")
    torch.testing.assert_close(resumed.branches.state_dict(), whole.branches.state_dict(), rtol=0, atol=0)
    assert resumed.history["members"].tolist() == whole.history["members"].tolist()
    assert torch.equal(torch.from_numpy(resumed.distances[1]), torch.from_numpy(whole.distances[1]))
    (folder / f"equal{os.environ['RANK']}").touch()


def test_two_processes_merge_alike_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"equal{rank}").exists() for rank in (0, 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    check(Path(sys.argv[1]))
