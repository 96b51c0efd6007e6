"""The training loop under `torchrun`: two processes equal one on the same global batches, and are resumed as two."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from multitask.arrays import ShuffledBatches
from multitask.checkpoint import CheckpointError
from multitask.config import TrainingConfig
from multitask.distributed import barrier, from_first
from multitask.history import History
from multitask.training import fit


class Rows:
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(83, 5, generator=generator)
        self.y = (self.x.sum(1) > 0).float()

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def train(model: nn.Module, checkpoint: Path | None = None, before_step: Callable[[], None] = lambda: None) -> History:
    rows, config = Rows(), TrainingConfig(epochs=3, batch_size=20, learning_rate=0.05, precision="float32", ema_every=2)

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(net(batch[0])[:, 0], batch[1])

    def step_loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        before_step()
        return loss(net, batch)

    def validate(net: nn.Module) -> dict[str, float]:
        assert int(os.environ.get("RANK", "0")) == 0  # the others get its metrics
        return {"validation_loss": loss(net, (rows.x, rows.y)).item()}

    batches = ShuffledBatches.of(rows, config)
    return fit(
        model, step_loss, batches, config, validate=validate, checkpoint=checkpoint, progress=False, device="cpu"
    )


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


def whole(folder: Path) -> None:
    """What each process runs: a network of its own start, made equal by the loop; then a resume of the finished run."""
    rank = int(os.environ["RANK"])
    model = network(seed=rank)
    losses = torch.tensor([epoch.train_loss for epoch in train(model, folder / "checkpoint").epochs])
    resumed = network(seed=5)
    train(resumed, folder / "checkpoint")
    assert_equal(resumed, model)
    save_file({**model.state_dict(), "losses": losses}, folder / f"rank{rank}.safetensors")


def interrupted(folder: Path) -> None:
    """Waits in step 7 on rank 0 until the loop has noted a signal; the loop puts the handler back when it has."""
    unnoted, steps = signal.getsignal(signal.SIGTERM), 0

    def before_step() -> None:
        nonlocal steps
        steps += 1
        if steps == 7 and os.environ["RANK"] == "0":
            (folder / "waiting").touch()
            while signal.getsignal(signal.SIGTERM) != unnoted:
                time.sleep(0.01)

    train(network(seed=0), folder / "checkpoint", before_step)


def resumed(folder: Path) -> None:
    """Waits for a slow first process, goes on with the interrupted run, and compares with a run in one go."""
    rank = int(os.environ["RANK"])
    if rank == 0:
        time.sleep(0.5)
        (folder / "here").touch()
    barrier()  # before any training: it joins the processes itself
    assert (folder / "here").exists()
    pickle.dumps = pickle.loads = None  # type: ignore[assignment]  # metrics travel without it
    values = from_first({"a": [0.1 + 0.2, math.inf], "b": "é" * 10_000} if rank == 0 else None)
    assert values == {"a": [0.1 + 0.2, math.inf], "b": "é" * 10_000}
    steps = 0

    def before_step() -> None:
        nonlocal steps
        steps += 1

    model, alone = network(seed=5), network(seed=0)
    history, expected = train(model, folder / "checkpoint", before_step), train(alone)
    assert steps == 3 * 4 - 7
    assert [e.train_loss for e in history.epochs] == [e.train_loss for e in expected.epochs]
    assert_equal(model, alone)
    (folder / f"equal{rank}").touch()


def torchrun(mode: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([*command, mode, str(folder)], env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, errors


def test_two_processes_equal_one(tmp_path: Path) -> None:
    code, errors = finish(torchrun("whole", tmp_path))
    assert code == 0, errors
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    alone = network(seed=0)
    history = train(alone)
    losses = torch.tensor([epoch.train_loss for epoch in history.epochs])
    torch.testing.assert_close(first.pop("losses"), losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first, dict(alone.state_dict()), rtol=1e-4, atol=1e-5)


def test_two_terminated_processes_are_resumed_as_two_to_the_same_bits(tmp_path: Path) -> None:
    process = torchrun("interrupted", tmp_path)
    try:
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()  # torchrun passes the signal on
        code, errors = finish(process)
    finally:
        process.kill()
    assert code != 0
    assert "the checkpoint in" in errors
    position = json.loads((tmp_path / "checkpoint" / "checkpoint.json").read_text())["state"]["position"]
    assert (position["epoch"], position["step"]) == (1, 3)  # 4 steps an epoch: step 7 was the last
    with pytest.raises(
        CheckpointError, match=r"processes 2 there, 1 here\); run with 2 processes to resume it, or del"
    ):
        train(network(seed=0), tmp_path / "checkpoint")
    code, errors = finish(torchrun("resumed", tmp_path))
    assert code == 0, errors
    assert all((tmp_path / f"equal{rank}").exists() for rank in (0, 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"whole": whole, "interrupted": interrupted, "resumed": resumed}[sys.argv[1]](Path(sys.argv[2]))
