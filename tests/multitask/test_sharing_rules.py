"""What Selective Sharing and the training loop owe each other: the kept epoch, patience, the lock, misuse, resuming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask import ShuffledBatches, TrainingConfig, fit
from multitask.checkpoint import CheckpointError
from multitask.history import History
from multitask.observers import Observer
from multitask.resume import TrainingState
from multitask.sharing import Branches, SelectiveSharing
from multitask.sharing.epoch_losses import EpochLosses
from multitask.task_losses import TaskLosses, combined

STEPS = 5
Losses = TaskLosses[tuple[Tensor, Tensor]]


class Rows:
    """Six yes-no questions about 160 rows: three, each asked twice."""

    x = torch.randn(160, 6, generator=torch.Generator().manual_seed(5))
    y = (x[:, [0, 1, 2, 0, 1, 2]] > 0).float()

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def task_losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    rows = F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none")
    return rows.mean(0), torch.full((6,), float(len(rows)))


def network() -> Branches:
    torch.manual_seed(0)
    return Branches(6, 6, hidden=(8,))


def settings(**changes: Any) -> TrainingConfig:
    base = {"epochs": 6, "batch_size": 32, "learning_rate": 0.05, "ema_decay": 0.0, "precision": "float32"}
    return TrainingConfig(**{**base, **changes})


def train(
    sharing: SelectiveSharing,
    config: TrainingConfig | None = None,
    *,
    losses: Losses | None = None,
    observers: Sequence[Observer] | None = None,
    model: nn.Module | None = None,
    **options: Any,
) -> History:
    config = config or settings()
    return fit(
        sharing.branches if model is None else model,
        combined(sharing.watch(task_losses) if losses is None else losses),
        ShuffledBatches.of(Rows(), config),
        config,
        observers=[sharing] if observers is None else observers,
        progress=False,
        device="cpu",
        **options,
    )


def scripted(monkeypatch: pytest.MonkeyPatch, labels: dict[int, list[int]]) -> None:
    """The groups that are proposed at the end of an epoch; of another epoch none."""

    def proposed(similarity: Any, directive: str, *, min_groups: int, seed: tuple[int, int]) -> Any:
        return np.array(labels.get(seed[1], list(range(len(similarity)))))

    monkeypatch.setattr("multitask.sharing.selective_sharing.propose", proposed)


MERGES = {1: [0, 0, 1, 2, 3, 4], 3: [0, 1, 0, 2, 3]}  # to five groups, then to four


def scores(values: Sequence[float]) -> Callable[[nn.Module], dict[str, float]]:
    left = list(values)
    return lambda _: {"validation_loss": left.pop(0)}


# ------------------------------------------------------------------------------------------------ the kept epoch


def test_the_best_epoch_lies_behind_the_last_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much better it was before."""
    scripted(monkeypatch, MERGES)
    sharing = SelectiveSharing(network(), patience=9)
    seen: list[Tensor] = []
    values = scores([0.1, 0.0, 0.5, 0.4, 0.8, 0.9])

    def validate(model: nn.Module) -> dict[str, float]:
        seen.append(sharing.branches.layers[0].weight.detach().clone())
        return values(model)

    history = train(sharing, settings(patience=9), validate=validate)
    assert (history.best_epoch, history.best_value) == (4, 0.8)
    assert sharing.branches.n_groups == sharing.history["groups"].iloc[-1] == 4
    assert torch.equal(sharing.branches.layers[0].weight, seen[4])


def test_patience_begins_anew_with_a_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worse in every epoch, patience 1: stopped early after epoch 1 but for the merge, which is of the same epoch."""
    scripted(monkeypatch, {1: MERGES[1]})
    history = train(SelectiveSharing(network()), settings(patience=1), validate=scores([1, 2, 3, 4, 5, 6]))
    assert len(history.epochs) == 4
    assert history.stopped_early
    assert history.best_epoch == 2
    assert len(train(SelectiveSharing(network(), warmup_epochs=9), settings(patience=1),
                     validate=scores([1, 2])).epochs) == 2  # fmt: skip


@pytest.mark.parametrize("validated", [False, True])
def test_nothing_merges_after_the_last_epoch(monkeypatch: pytest.MonkeyPatch, validated: bool) -> None:
    scripted(monkeypatch, MERGES)
    sharing = SelectiveSharing(network())
    train(sharing, settings(epochs=4), validate=scores([4, 3, 2, 1]) if validated else None)
    assert sharing.history["groups"].tolist() == [6, 5, 5, 5]
    assert sharing.branches.n_groups == 5
    assert 3 in sharing.distances  # it has been listened to


def test_a_run_killed_between_a_merge_and_the_next_best_epoch_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripted(monkeypatch, MERGES)
    values = [0.1, 0.0, 0.5, 0.4, 0.8, 0.9]
    whole = SelectiveSharing(network())
    expected = train(whole, settings(patience=9), validate=scores(values))
    with pytest.raises(Killed):
        train_until(4 * STEPS + 2, SelectiveSharing(network()), tmp_path, scores(values))
    again = SelectiveSharing(network())
    history = train(again, settings(patience=9, checkpoint_steps=2), checkpoint=tmp_path, validate=scores(values[4:]))
    assert (history.best_epoch, history.best_value) == (expected.best_epoch, expected.best_value) == (4, 0.8)
    torch.testing.assert_close(again.branches.state_dict(), whole.branches.state_dict(), rtol=0, atol=0)


class Killed(Exception):
    pass


def train_until(step: int, sharing: SelectiveSharing, folder: Path, validate: Any = None) -> None:
    calls = 0

    def stopping(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        if calls == step:
            raise Killed
        return watched(model, batch)

    watched = sharing.watch(task_losses)
    config = settings(patience=9, checkpoint_steps=2)
    train(sharing, config, losses=stopping, checkpoint=folder, validate=validate)


# ------------------------------------------------------------------------------------------------ epochs and the lock


def test_a_change_restarts_the_epochs_until_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unchanged in 0, 2 and 4 to 7, patience 2: two in a row are those of 4 and 5."""
    scripted(monkeypatch, MERGES)
    sharing = SelectiveSharing(network(), warmup_epochs=0, patience=2)
    train(sharing, settings(epochs=8))
    assert sharing.history["changed"].tolist() == [False, True, False, True, False, False, False, False]
    assert sharing.history["locked"].tolist() == [False] * 5 + [True] * 3


def test_each_epoch_is_heard_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing merges."""
    scripted(monkeypatch, {})
    sharing = SelectiveSharing(network(), warmup_epochs=0, patience=9)

    class Silence(Observer):
        def after_epoch(self, state: TrainingState) -> None:
            assert sharing.capture.steps == 0
            assert not sharing.capture.total().any()
            assert sharing.losses.sums is None

    train(sharing, settings(epochs=3), observers=[sharing, Silence()])
    assert [bool(np.isfinite(found).all()) for found in sharing.distances.values()] == [True] * 3


@pytest.mark.parametrize("killed_at", [2 * STEPS + 4, 3 * STEPS + 4])
def test_a_resumed_run_counts_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, killed_at: int) -> None:
    """Towards the lock, and towards the next step that is listened to: every third, checkpoints after every other."""
    scripted(monkeypatch, {})
    whole = SelectiveSharing(network(), every=3)
    train(whole, settings(patience=9))
    assert whole.history["locked"].tolist() == [False] * 3 + [True] * 3
    with pytest.raises(Killed):
        train_until(killed_at, SelectiveSharing(network(), every=3), tmp_path)
    again = SelectiveSharing(network(), every=3)
    train(again, settings(patience=9, checkpoint_steps=2), checkpoint=tmp_path)
    assert again.history["locked"].tolist() == whole.history["locked"].tolist()
    assert again.distances.keys() == whole.distances.keys()
    for epoch, found in whole.distances.items():
        np.testing.assert_array_equal(again.distances[epoch], found)


def test_losses_weigh_by_their_labels() -> None:
    losses = EpochLosses(3)
    losses.add(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([1.0, 2.0, 0.0]))
    losses.add(torch.tensor([5.0, 3.0, 2.0]), torch.tensor([3.0, 2.0, 0.0]))
    assert losses.of_groups(torch.tensor([0, 0, 1])) == [((1 * 1 + 3 * 5) / 4 + 3) / 2, float("inf")]
    assert losses.of_groups(torch.tensor([0, 1, 1])) == [4, 3]  # a task without labels counts for nothing
    with pytest.raises(ValueError, match=r"one loss per task, \(3,\), got shape \(2,\)"):
        losses.add(torch.zeros(2), torch.zeros(2))


def test_another_run_starts_from_the_branches_that_there_are() -> None:
    sharing = SelectiveSharing(network(), min_groups=1)
    train(sharing, settings(epochs=3))
    assert sharing.groups() == [["0", "3"], ["1", "4"], ["2", "5"]]
    train(sharing, settings(epochs=2))
    assert sharing.history["epoch"].tolist() == [0, 1]
    assert sharing.history["groups"].tolist() == [3, 3]
    sharing = SelectiveSharing(network(), patience=1, min_groups=5)
    for _ in range(2):
        sharing.branches.load_state_dict(network().state_dict())
        train(sharing, settings(epochs=3))
        assert sharing.history["locked"].tolist() == [False, True, True]


# ------------------------------------------------------------------------------------------------ misuse


def test_a_watch_that_was_forgotten_is_said() -> None:
    with pytest.raises(ValueError, match="`watch` must wrap the losses that `fit` trains on"):
        train(SelectiveSharing(network()), losses=task_losses)


def test_an_observer_that_was_forgotten_is_said() -> None:
    sharing = SelectiveSharing(network())
    watched = sharing.watch(task_losses)
    watched(sharing.branches.train(), Rows().select(torch.arange(9)))  # one trial is nobody's mistake
    with pytest.raises(ValueError, match="`observers` of `fit` must hold the `SelectiveSharing`"):
        train(sharing, losses=watched, observers=[])


def test_the_branches_of_another_model_are_said() -> None:
    with pytest.raises(ValueError, match="`branches` must be those of the trained model"):
        train(SelectiveSharing(network()), model=network())


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train_until(STEPS + 4, SelectiveSharing(network(), merge="mean"), tmp_path)
    config = settings(patience=9, checkpoint_steps=2)
    with pytest.raises(CheckpointError, match=r"SelectiveSharing\.merge 'mean' there, 'lowest_loss' here"):
        train(SelectiveSharing(network()), config, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"SelectiveSharing\.task_names"):
        train(SelectiveSharing(network(), list("abcdef"), merge="mean"), config, checkpoint=tmp_path)
    train(SelectiveSharing(network(), merge="mean"), config, checkpoint=tmp_path)


def test_every_argument_is_a_setting() -> None:
    changed = {
        "task_names": list("abcdef"), "directive": "variance", "signal": "tt_input", "merge": "max", "warmup_epochs": 2,
        "patience": 5, "min_groups": 3, "every": 2, "rank": 3, "seed": 4,
    }  # fmt: skip
    assert SelectiveSharing(network(), **changed).settings() == changed  # type: ignore[arg-type]


def test_a_log_of_losses_that_were_not_detached_does_no_harm() -> None:
    """It holds each step's graph, and so what sums up the gradients of parameters that have another shape by now."""
    plain, logged = SelectiveSharing(network()), SelectiveSharing(network())
    train(plain)
    log: list[Tensor] = []
    watched = logged.watch(task_losses)

    def logging(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        losses, counts = watched(model, batch)
        log.append(losses)
        return losses, counts

    train(logged, losses=logging)
    assert logged.history["groups"].iloc[-1] == 3
    torch.testing.assert_close(logged.branches.state_dict(), plain.branches.state_dict(), rtol=0, atol=0)
