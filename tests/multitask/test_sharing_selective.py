"""Selective Sharing in the training loop: planted groups, the lock, odd tasks, resuming to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask import ShuffledBatches, TrainingConfig, fit
from multitask.interference import InterferenceRecorder
from multitask.observers import Observer
from multitask.resume import TrainingState
from multitask.sharing import DIRECTIVES, MERGES, SIGNALS, Branches, CrossStitch, SelectiveSharing
from multitask.task_losses import combined


class Rows:
    """Labelled rows."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def questions(kinds: int, times: int = 2, rows: int = 600) -> Rows:
    """Yes-no questions about 12 numbers; the same `kinds` are asked `times` times."""
    generator = torch.Generator().manual_seed(7)
    x, w = torch.randn(rows, 12, generator=generator), torch.randn(12, kinds, generator=generator)
    return Rows(x, (x @ w > 0).float().repeat(1, times))


def task_losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    known = ~batch[1].isnan()
    rows = F.binary_cross_entropy_with_logits(model(batch[0]), batch[1].nan_to_num(), reduction="none") * known
    counts = known.sum(0).float()
    return rows.sum(0) / counts.clamp(min=1), counts


def settings(**changes: Any) -> TrainingConfig:
    base = {"epochs": 4, "batch_size": 32, "learning_rate": 0.1, "optimizer": "sgd", "momentum": 0.5, "ema_decay": 0}
    return TrainingConfig(**{**base, "precision": "float32", **changes})


def network(tasks: int, inputs: int = 12) -> tuple[nn.Module, Branches]:
    torch.manual_seed(0)
    branches = Branches(tasks, 24, hidden=(12, 6))
    return nn.Sequential(nn.Linear(inputs, 24), nn.ReLU(), branches), branches


def train(rows: Rows, config: TrainingConfig | None = None, **options: Any) -> tuple[nn.Module, SelectiveSharing]:
    config = config or settings()
    model, branches = network(rows.y.shape[1], rows.x.shape[1])
    sharing = SelectiveSharing(branches, **options)
    loss = combined(sharing.watch(task_losses))
    fit(model, loss, ShuffledBatches.of(rows, config), config, observers=[sharing], progress=False, device="cpu")
    return model, sharing


@pytest.mark.parametrize("signal", SIGNALS)
def test_planted_pairs_are_found_exactly(signal: str) -> None:
    """Each of five tasks twice."""
    _, sharing = train(questions(5), signal=signal)
    assert sharing.groups() == [["0", "5"], ["1", "6"], ["2", "7"], ["3", "8"], ["4", "9"]]
    table = sharing.history
    assert table["members"].tolist() == ["0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9", *["0 5 | 1 6 | 2 7 | 3 8 | 4 9"] * 3]
    assert table["changed"].tolist() == [False, True, False, False]  # the first epoch is warm-up
    assert table["locked"].tolist() == [False, True, True, True]  # every task has a partner
    assert table["groups"].tolist() == [10, 5, 5, 5]
    outputs, per_branch = sharing.branches.parameter_law()
    assert table["parameters"].tolist() == [outputs + g * per_branch for g in (10, 5, 5, 5)]
    distances = sharing.distances[1]
    assert distances[0, 5] < 1e-6
    assert distances[0, 1] > 0.1


def test_nothing_is_captured_in_the_warm_up_and_after_the_lock() -> None:
    _, sharing = train(questions(5), warmup_epochs=2)
    assert list(sharing.distances) == [2]
    assert sharing.history["groups"].tolist() == [10, 10, 5, 5]
    batch = questions(5).select(torch.arange(8))
    model = nn.Sequential(nn.Linear(12, 24), sharing.branches).train()
    sharing.watch(task_losses)(model, batch)[0].sum().backward()
    assert sharing.capture.steps == 0
    assert sharing.losses.sums is None
    assert not sharing.branches.listeners


@pytest.mark.parametrize("signal", SIGNALS)
def test_watching_changes_no_bit_of_the_training(signal: str) -> None:
    """One epoch, captured throughout; nothing merges after the last."""
    rows, config = questions(5), settings(epochs=1)
    watched, sharing = train(rows, config, warmup_epochs=0, signal=signal)
    plain, _ = network(10)
    fit(plain, combined(task_losses), ShuffledBatches.of(rows, config), config, progress=False, device="cpu")
    assert sharing.distances[0][0, 5] < 1e-6
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))


@pytest.mark.parametrize("recorder_first", [False, True])
def test_another_observer_of_the_gradients_changes_nothing(recorder_first: bool) -> None:
    """An `InterferenceRecorder` sends each task's gradient through the same graph before the step's own."""
    rows, config, found = questions(5), settings(epochs=2), []
    for recorded in (False, True):
        model, branches = network(10)
        sharing, recorder = SelectiveSharing(branches), InterferenceRecorder([str(t) for t in range(10)], every=2)
        losses = task_losses
        for watcher in (recorder, sharing) if recorder_first else (sharing, recorder):
            losses = watcher.watch(losses) if recorded or watcher is sharing else losses
        loss, batches = combined(losses), ShuffledBatches.of(rows, config)
        observers: list[Observer] = [sharing, recorder] if recorded else [sharing]
        fit(model, loss, batches, config, observers=observers, progress=False, device="cpu")
        found.append(sharing.distances[1])
    assert len(recorder.table()) > 0
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("directive", DIRECTIVES)
@pytest.mark.parametrize("merge", MERGES)
def test_every_directive_and_merge_trains_on(directive: str, merge: str) -> None:
    model, sharing = train(questions(5, rows=200), directive=directive, merge=merge)
    assert torch.isfinite(model(torch.randn(3, 12))).all()
    groups = sharing.history["groups"].tolist()
    assert groups == sorted(groups, reverse=True)
    assert groups[-1] >= 2
    assert sharing.branches.n_groups == groups[-1]


def test_random_groups_follow_the_seed() -> None:
    found = [train(questions(5, rows=200), directive="random", seed=seed)[1].groups() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_the_branch_of_the_lowest_loss_is_kept() -> None:
    """Task 0 is asked with a tenth of its labels turned: of the pair, the branch of task 5 is kept."""
    rows = questions(5, rows=400)
    turned = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.1
    rows.y[turned, 0] = 1 - rows.y[turned, 0]
    config = settings(epochs=2)
    model, branches = network(10)
    sharing = SelectiveSharing(branches, warmup_epochs=0)
    weights: list[Tensor] = []

    class Note(Observer):
        def after_epoch(self, state: TrainingState) -> None:
            weights.append(branches.layers[0].weight.detach().clone())

    loss, batches = combined(sharing.watch(task_losses)), ShuffledBatches.of(rows, config)
    fit(model, loss, batches, config, observers=[Note(), sharing, Note()], progress=False, device="cpu")
    before, after, *_ = weights
    assert sharing.history["members"].iloc[0] == "0 5 | 1 6 | 2 7 | 3 8 | 4 9"
    assert torch.equal(after[0], before[5])


def test_two_tasks_are_locked_from_the_start() -> None:
    _, sharing = train(questions(1), settings(epochs=2))
    assert sharing.locked
    assert sharing.groups() == [["0"], ["1"]]
    assert sharing.history["locked"].all()


def test_min_groups_remain() -> None:
    _, sharing = train(questions(5), min_groups=8, patience=2)
    assert sharing.branches.n_groups == 8
    assert sharing.history["locked"].tolist() == [False, True, True, True]  # nothing more can be merged


def test_unchanged_epochs_lock() -> None:
    """Three tasks that are clustered in each epoch and never pair."""
    x = torch.randn(600, 12, generator=torch.Generator().manual_seed(1))
    _, sharing = train(Rows(x, (x[:, :3] > 0).float()), settings(epochs=6))
    assert sharing.history["changed"].sum() == 0
    assert list(sharing.distances) == [1, 2, 3]
    assert all(found[~np.eye(3, dtype=bool)].min() > 0.1 for found in sharing.distances.values())
    assert sharing.history["locked"].tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_task_never_present_stays_alone(signal: str) -> None:
    rows = questions(4)
    rows.y[:, 2] = torch.nan
    model, sharing = train(rows, signal=signal)
    assert ["2"] in sharing.groups()
    assert any({"0", "4"} <= set(group) for group in sharing.groups())
    assert np.isnan(sharing.distances[1][2]).all()
    assert torch.isfinite(model(torch.randn(3, 12))).all()


def test_a_batch_without_a_task() -> None:
    """Labels of task 0 in a few rows only."""
    rows = questions(4)
    rows.y[5:, 0] = torch.nan
    model, sharing = train(rows)
    assert torch.isfinite(model(torch.randn(3, 12))).all()
    assert ["0"] in sharing.groups()  # unlike all others, which does not make these alike
    assert ["1", "5"] in sharing.groups()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("killed_at", [30, 39, 50, 90])  # before the merge, twice; after it within the epoch; locked
@pytest.mark.parametrize("optimizer", [{}, {"optimizer": "adam", "momentum": 0.0, "learning_rate": 0.01}])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, killed_at: int, optimizer: dict[str, Any]) -> None:
    rows = questions(5, rows=320)
    config = settings(checkpoint_steps=3, ema_decay=0.9, ema_every=2, epochs=5, batch_size=16, **optimizer)
    # 20 steps an epoch: sums of sixteen and single steps

    def run(checkpoint: Path | None, stop: int | None) -> tuple[nn.Module, SelectiveSharing]:
        model, branches = network(10)
        sharing = SelectiveSharing(branches, min_groups=4)
        loss = stopping(combined(sharing.watch(task_losses)), stop)
        fit(
            model, loss, ShuffledBatches.of(rows, config), config, observers=[sharing], checkpoint=checkpoint,
            progress=False, device="cpu",
        )  # fmt: skip
        return model, sharing

    whole, expected = run(None, None)
    with pytest.raises(Killed):
        run(tmp_path / "run", killed_at)
    resumed, sharing = run(tmp_path / "run", None)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert sharing.groups() == expected.groups()
    assert sharing.branches.n_groups < 10
    columns = ["epoch", "groups", "members", "changed", "locked", "parameters"]
    assert sharing.history[columns].equals(expected.history[columns])
    assert sharing.distances.keys() == expected.distances.keys()
    for epoch, found in sharing.distances.items():
        np.testing.assert_array_equal(found, expected.distances[epoch])


def stopping(loss: Callable[[nn.Module, Any], Tensor], stop: int | None) -> Callable[[nn.Module, Any], Tensor]:
    calls = 0

    def counted(model: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Killed
        return loss(model, batch)

    return counted


def test_what_does_not_fit_is_refused() -> None:
    branches = Branches(3, 4, hidden=(2,))
    for options, message in [
        ({"directive": "closeness"}, "`directive` must be one of"),
        ({"merge": "sum"}, "`merge` must be one of"),
        ({"signal": "loss"}, "`signal` must be one of"),
        ({"rank": 3}, "`rank` must be left out"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must be at least 0, got -1"),
        ({"patience": 0}, "`patience` must be at least 1, got 0"),
        ({"min_groups": 0}, "`min_groups` must be at least 1, got 0"),
        ({"every": 0}, "`every` must be at least 1, got 0"),
        ({"task_names": ["a", "b"]}, "`task_names` must be 3 different names"),
        ({"task_names": ["a", "b", "a"]}, "`task_names` must be 3 different names"),
    ]:
        with pytest.raises(ValueError, match=message):
            SelectiveSharing(branches, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got `CrossStitch`"):
        SelectiveSharing(CrossStitch(3, 4, hidden=(2,)))
