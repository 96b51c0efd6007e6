"""The training loop under `torchrun` with two processes equals the one-process run on the same global batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from multitask.arrays import ShuffledBatches
from multitask.config import TrainingConfig
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


def train(model: nn.Module, checkpoint: Path | None = None) -> History:
    rows, config = Rows(), TrainingConfig(epochs=3, batch_size=20, learning_rate=0.05, precision="float32", ema_every=2)

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(net(batch[0])[:, 0], batch[1])

    def validate(net: nn.Module) -> dict[str, float]:
        assert int(os.environ.get("RANK", "0")) == 0  # the others get its metrics
        return {"validation_loss": loss(net, (rows.x, rows.y)).item()}

    batches = ShuffledBatches.of(rows, config)
    return fit(model, loss, batches, config, validate=validate, checkpoint=checkpoint, progress=False, device="cpu")


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))


def main(folder: Path) -> None:
    """What each process runs: a network of its own start, made equal by the loop; then a resume of the finished run."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    model = network(seed=rank)
    losses = torch.tensor([epoch.train_loss for epoch in train(model, folder / "checkpoint").epochs])
    resumed = network(seed=5)
    train(resumed, folder / "checkpoint")
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    save_file({**model.state_dict(), "losses": losses}, folder / f"rank{rank}.safetensors")


def test_two_processes_equal_one(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    result = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    alone = network(seed=0)
    history = train(alone)
    losses = torch.tensor([epoch.train_loss for epoch in history.epochs])
    torch.testing.assert_close(first.pop("losses"), losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first, dict(alone.state_dict()), rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
