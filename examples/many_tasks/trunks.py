"""The ranker's trunks on frozen gallery vectors: shared bottom, MMoE, PLE, modulated, with shared heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from features.gallery.tasks import GalleryTasks
from multitask import ShuffledBatches, TrainingConfig, fit, make_trunk, make_weighting, masked_losses
from multitask.base_losses import base_losses, watch_relative
from multitask.heads import make_heads
from multitask.sharing import Branches, SelectiveSharing
from multitask.sharing.record import sharing_record
from multitask.task_losses import TaskLosses, combined

TRUNKS: dict[str, dict[str, Any]] = {
    "frozen, shared bottom": {},
    "frozen, modulation": {"modulation": True},
    "frozen, sharing, similarity": {"sharing": "similarity"},
    "frozen, sharing, random": {"sharing": "random"},
    "frozen, mmoe": {"name": "mmoe"},
    "frozen, ple": {"name": "ple"},
}
HIDDEN, TOWER, DROPOUT = (256, 128), 64, 0.2


@dataclass(frozen=True)
class Rows:
    """Vectors `(n, D)` and labels `(n, T)`, NaN = missing."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> Rows:
        """Those rows."""
        return Rows(self.x[index], self.y[index])


class TrunkNetwork(nn.Module):
    """Vectors `(B, D)` to the outputs of all tasks `(B, sum of widths)`."""

    def __init__(self, dim: int, widths: list[int], bias: Tensor, sharing: str | None = None, **trunk: Any) -> None:
        super().__init__()
        name = trunk.pop("name", "shared_bottom")
        self.trunk = make_trunk(name, dim, len(widths), hidden=HIDDEN, dropout=DROPOUT, **trunk)
        self.heads = make_heads(self.trunk.out_features, TOWER, widths, bias=bias, branches=sharing is not None)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.heads(self.trunk(x))
        return outputs


class TrunkStudy:
    """One encoder's vectors x `(V, D)` with labels `(V, T)`; nine tenths of the rows `learned` train, one stops."""

    def __init__(
        self, tasks: GalleryTasks, x: Tensor, labels: Tensor, learned: npt.NDArray[np.intp], seed: int
    ) -> None:
        self.tasks, self.x, self.labels, self.seed = tasks, x, labels, seed
        order = torch.from_numpy(np.random.default_rng(seed).permutation(learned))
        cut = len(order) // 10
        self.held = Rows(x, labels).select(order[:cut])
        self.train = Rows(x, labels).select(order[cut:])

    def fit(
        self, arm: str, rows: npt.NDArray[np.intp], epochs: int, checkpoint: Path
    ) -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
        """What is told of the training, and outputs `(n, sum of widths)` of `rows`."""
        tasks = self.tasks.tasks
        torch.manual_seed(self.seed)
        model = TrunkNetwork(self.x.shape[1], [t.width for t in tasks], self.tasks.base_bias(), **TRUNKS[arm])
        weighting = make_weighting("inverse_variance", tasks)
        config = TrainingConfig(epochs=epochs, batch_size=128, ema_every=1, ema_decay=0.99, patience=8, seed=self.seed)

        def own_losses(network: nn.Module, batch: Rows) -> tuple[Tensor, Tensor]:
            return masked_losses(tasks, network(batch.x), batch.y)

        losses_of: TaskLosses[Rows] = own_losses
        sharing = None
        if isinstance(model.heads, Branches):
            sharing = SelectiveSharing(model.heads, self.tasks.names, directive=TRUNKS[arm]["sharing"], seed=self.seed)
            losses_of = watch_relative(sharing.watch, own_losses, base_losses(tasks, model.heads.output_bias))

        def validate(network: nn.Module) -> dict[str, float]:
            return {"validation_loss": float(weighting(*own_losses(network, self.held)))}

        history = fit(
            model, combined(losses_of, weighting), ShuffledBatches.of(self.train, config), config, validate=validate,
            checkpoint=checkpoint, progress=False, device="cpu", observers=[] if sharing is None else [sharing],
        )  # fmt: skip
        with torch.no_grad():
            outputs = model(self.x[torch.from_numpy(rows)]).numpy()
        record = None if sharing is None else sharing_record(sharing)
        assert history.best_epoch is not None
        result = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "epochs": len(history.epochs),
            "best_epoch": history.best_epoch + 1,
            "groups": None if record is None else record["groups"],
            "last_groups": None if record is None else record["epochs"][-1]["members"],
        }
        return result, outputs
