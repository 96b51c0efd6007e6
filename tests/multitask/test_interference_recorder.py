"""The recorder beside a training run: no bit of it changes, epochs are cut, a killed run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multitask.arrays import ShuffledBatches
from multitask.config import TrainingConfig
from multitask.interference import InterferenceRecorder, gradient_gram, sparing_every
from multitask.losses import masked_losses
from multitask.task_losses import combined
from multitask.tasks import Task
from multitask.towers import StackedTowers
from multitask.training import fit
from multitask.weighting import Uncertainty

TASKS = [Task("click"), Task("price", "regression")]
NAMES = [task.name for task in TASKS]
Batch = tuple[Tensor, Tensor]


class Log:
    """160 rows, 6 features, two tasks, some labels missing."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(11)
        self.x = torch.randn(160, 6, generator=generator)
        self.y = torch.stack([(self.x[:, 0] > 0).float(), self.x[:, 0] - self.x[:, 1]], dim=1)
        self.y[torch.rand(160, 2, generator=generator) < 0.2] = torch.nan

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> Batch:
        return self.x[index], self.y[index]


LOG = Log()


class Net(nn.Module):
    """Dropout, batch statistics, towers and a learned weighting: everything that has state."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        self.towers = StackedTowers(2, 16, 4, (1, 1))
        self.weighting = Uncertainty(TASKS)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.towers(self.body(x))
        return y


def task_losses(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    return masked_losses(TASKS, model(batch[0]), batch[1])


def train(
    recorder: InterferenceRecorder | None,
    batches: Any = None,
    checkpoint: Path | None = None,
    precision: str = "float32",
    net: Net | None = None,
) -> Net:
    """Three epochs of five steps; the recorder is not even attached where it is None."""
    config = TrainingConfig(
        epochs=3, batch_size=32, learning_rate=0.02, precision=precision, seed=3, ema_every=2,
        checkpoint_steps=2 if checkpoint else None,
    )  # fmt: skip
    net = net or Net()
    losses, observers = (task_losses, []) if recorder is None else (recorder.watch(task_losses), [recorder])
    fit(
        net, combined(losses, net.weighting), batches or ShuffledBatches.of(LOG, config), config,
        observers=observers, checkpoint=checkpoint, progress=False, device="cpu",
    )  # fmt: skip
    return net


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recording_changes_no_bit_of_the_training(precision: str) -> None:
    recorder = InterferenceRecorder(NAMES, every=1)
    assert_same_weights(train(recorder, precision=precision), train(None, precision=precision))
    assert recorder.table()["minibatches"].tolist() == [5, 5, 5]
    assert torch.isfinite(recorder.interference().grams).all()


def test_tables_are_cut_into_epochs() -> None:
    """Every 4th of 15 steps: 0 and 4 of the first epoch, 8 of the second, 12 of the third."""
    recorder = InterferenceRecorder(NAMES, every=4)
    train(recorder)
    table, conflict = recorder.table(), recorder.conflict_table()
    assert list(table.columns) == ["epoch", "task", "other", "minibatches", "ucr", "cosine"]
    assert table["epoch"].tolist() == conflict["epoch"].tolist() == [0, 1, 2]
    assert table["minibatches"].tolist() == conflict["minibatches"].tolist() == [2, 1, 1]
    for row in table.itertuples():
        assert recorder.compliance(row.epoch)[0, 1] == row.ucr
        assert recorder.interference(row.epoch).cosines[0, 1] == row.cosine
    assert conflict["conflict"][1] == recorder.interference(1).conflict
    assert len(recorder.interference().grams) == 4
    with pytest.raises(ValueError, match=r"`epoch` must be one of the recorded \[0, 1, 2\], got 3"):
        recorder.compliance(3)


def test_a_recorded_gram_is_that_of_the_steps_own_graph() -> None:
    """One step before any update, against the gradients of the same forward pass (same dropout mask)."""
    recorder, net, batch = InterferenceRecorder(NAMES), Net(), LOG.select(torch.arange(32))
    torch.manual_seed(5)
    recorder.watch(task_losses)(net, batch)
    other = Net()
    torch.manual_seed(5)
    losses, _ = task_losses(other, batch)
    assert torch.equal(recorder.interference(0).grams[0], gradient_gram(losses, other.body.parameters()))


def test_nothing_is_recorded_in_evaluation_mode_or_without_gradients() -> None:
    recorder, net, batch = InterferenceRecorder(NAMES, every=1), Net(), LOG.select(torch.arange(8))
    watched = recorder.watch(task_losses)
    with torch.no_grad():
        watched(net, batch)
    watched(net.eval(), batch)
    assert recorder.table().empty
    assert recorder.conflict_table().empty
    with pytest.raises(ValueError, match=r"recorded \[\], got None"):
        recorder.compliance()
    watched(net.train(), batch)
    assert len(recorder.table()) == 1


def test_given_parameters_and_absent_tasks() -> None:
    net = Net()
    recorder = InterferenceRecorder(NAMES, every=1, parameters=[net.body[0].weight])
    x, y = LOG.select(torch.arange(32))
    watched = recorder.watch(task_losses)
    watched(net, (x, y))
    watched(net, (x, torch.stack([y[:, 0], torch.full((32,), torch.nan)], dim=1)))
    watched(net, (x, torch.full((32, 2), torch.nan)))  # a batch without a task
    grams = recorder.interference().grams
    assert (grams[1, 1] == 0).all()
    assert (grams[2] == 0).all()
    assert recorder.table()["minibatches"].tolist() == [1]
    everything = InterferenceRecorder(NAMES)
    everything.watch(task_losses)(net, (x, y))
    assert (everything.interference().grams.diagonal() != grams[0].diagonal()).all()


class Stop(Exception):
    """The run is killed."""


class Killed:
    """Batches that end the run at a step of an epoch."""

    def __init__(self, inner: ShuffledBatches[Any], epoch: int, step: int) -> None:
        self.inner, self.at = inner, (epoch, step)

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        for step, batch in enumerate(self.inner.epoch(number, start), start):
            if (number, step) == self.at:
                raise Stop
            yield batch


@pytest.mark.parametrize("at", [(0, 1), (0, 3), (1, 0), (1, 4), (2, 2)])
def test_a_killed_run_goes_on_with_its_records(tmp_path: Path, at: tuple[int, int]) -> None:
    whole = InterferenceRecorder(NAMES, every=2)
    expected = train(whole)
    config = TrainingConfig(epochs=3, batch_size=32, precision="float32", seed=3)
    with pytest.raises(Stop):
        train(InterferenceRecorder(NAMES, every=2), Killed(ShuffledBatches.of(LOG, config), *at), tmp_path)
    resumed = InterferenceRecorder(NAMES, every=2)
    assert_same_weights(train(resumed, checkpoint=tmp_path), expected)
    assert torch.equal(resumed.interference().grams, whole.interference().grams)
    assert resumed.table().equals(whole.table())
    finished = InterferenceRecorder(NAMES, every=2)
    train(finished, checkpoint=tmp_path)  # nothing left to train: the records come from the checkpoint
    assert finished.table().equals(whole.table())


def test_a_second_run_starts_afresh() -> None:
    recorder = InterferenceRecorder(NAMES, every=2)
    train(recorder)
    first = recorder.interference().grams
    train(recorder)
    assert torch.equal(recorder.interference().grams, first)


def test_by_default_a_training_costs_five_per_cent_more() -> None:
    """2 T / (3 every), and one step sooner would be more."""
    for n_tasks in (1, 2, 7, 20, 31):
        every = InterferenceRecorder([f"task {t}" for t in range(n_tasks)]).every
        assert every == sparing_every(n_tasks)
        assert 2 * n_tasks / (3 * every) <= 0.05 < 2 * n_tasks / (3 * (every - 1))
    assert [sparing_every(n) for n in (7, 31)] == [94, 414]
    assert sparing_every(7, cost=100.0) == 1
    recorder = InterferenceRecorder(NAMES)
    train(recorder)
    assert len(recorder.interference().grams) == 1  # the first of 15 steps


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="`every` must be at least 1, got 0"):
        InterferenceRecorder(NAMES, every=0)
    recorder = InterferenceRecorder(["click"])
    with pytest.raises(ValueError, match=r"`task_names` must hold one name per loss, got 1 for losses of shape \(2,\)"):
        train(recorder)
