"""Ten digits as ten yes-no questions: what sharing saves, and what it costs beside all branches and beside one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from multitask import ShuffledBatches, TrainingConfig, fit
from multitask.history import History
from multitask.sharing import Branches, SelectiveSharing, merge_branches
from multitask.task_losses import combined

TASKS, EPOCHS, SEEDS = 10, 20, 4


class Digits:
    """Rows of 8 x 8 pixels and their digits."""

    def __init__(self, start: int, end: int) -> None:
        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))[start:end]
        self.x, self.y = torch.tensor(x[order], dtype=torch.float32) / 16, torch.tensor(y[order])

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], F.one_hot(self.y[index], TASKS).float()


def task_losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    rows = F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none")
    return rows.mean(0), torch.full((TASKS,), float(len(rows)))


def train(arm: str, seed: int) -> tuple[nn.Module, Branches, SelectiveSharing, History, float]:
    """The arm's net of the best epoch, and its share of right answers on digits that it has not seen."""
    train, validation, test = Digits(0, 900), Digits(900, 1300), Digits(1300, 1797)
    torch.manual_seed(seed)
    branches = Branches(TASKS, 64, hidden=(8,))  # so narrow that one is too few for ten tasks
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), branches)
    if arm == "one branch":
        merge_branches(branches, [0] * TASKS, [0.0] * TASKS)
    sharing = SelectiveSharing(branches)
    config = TrainingConfig(
        epochs=EPOCHS, batch_size=32, learning_rate=0.3, optimizer="sgd", momentum=0.5, ema_decay=0, seed=seed,
        precision="float32", monitor="accuracy", direction="max", patience=EPOCHS,
    )  # fmt: skip

    def accuracy(net: nn.Module, rows: Digits) -> float:
        with torch.no_grad():
            return float((net(rows.x).argmax(1) == rows.y).double().mean())

    shared = arm == "similarity"
    history = fit(
        model, combined(sharing.watch(task_losses) if shared else task_losses), ShuffledBatches.of(train, config),
        config, validate=lambda net: {"accuracy": accuracy(net, validation)}, observers=[sharing] if shared else [],
        progress=False, device="cpu",
    )  # fmt: skip
    return model, branches, sharing, history, accuracy(model, test)


def test_digits() -> None:
    """Groups form and are locked, the net is smaller, about as good as all branches and better than one."""
    right: dict[str, list[float]] = {"unmerged": [], "one branch": [], "similarity": []}
    for seed in range(SEEDS):
        for arm, found in right.items():
            model, branches, sharing, history, accuracy = train(arm, seed)
            found.append(accuracy)
        outputs, per_branch = branches.parameter_law()
        table = sharing.history
        groups = table["groups"].iloc[-1]
        assert 2 <= groups == branches.n_groups == len(sharing.groups()) <= 6
        assert sum(p.numel() for p in branches.parameters()) == outputs + groups * per_branch
        assert sum(p.numel() for p in model.parameters()) == 64 * 64 + 64 + table["parameters"].iloc[-1]
        lock = int(table["locked"].to_numpy().argmax())
        assert 1 <= lock <= 10
        assert table["changed"].iloc[: lock + 1].any()
        assert not table["changed"].iloc[lock + 1 :].any()
        assert history.best_epoch is not None
        assert history.best_epoch > int(np.flatnonzero(table["changed"])[-1])
    unmerged, one_branch, similarity = (float(np.mean(found)) for found in right.values())
    assert similarity >= unmerged - 0.005
    assert similarity >= one_branch
    assert unmerged > one_branch + 0.005  # or nothing would have been shown
