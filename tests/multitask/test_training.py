"""The training loop: what it keeps, when it stops, what it refuses; resuming to the same bits."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import multitask.training
from multitask.arrays import ShuffledBatches
from multitask.checkpoint import CheckpointError
from multitask.config import TrainingConfig
from multitask.dropout import Dropout
from multitask.history import History
from multitask.losses import masked_losses
from multitask.progress import Event
from multitask.tasks import Task
from multitask.training import fit
from multitask.weighting import Uncertainty

TASKS = [Task("click"), Task("price", "regression")]
Batch = tuple[Tensor, Tensor]


class Log:
    """210 rows, 6 features, two tasks, some labels missing."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(11)
        self.x = torch.randn(210, 6, generator=generator)
        signal_ = self.x @ torch.tensor([[1.0, 0.5], [-1, 0.2], [0.5, 1], [0, 0], [0, -1], [0, 0]])
        noise = torch.randn(210, 2, generator=generator)
        self.y = torch.stack([(signal_[:, 0] + noise[:, 0] > 0).float(), signal_[:, 1] + noise[:, 1]], dim=1)
        self.y[torch.rand(210, 2, generator=generator) < 0.2] = torch.nan

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> Batch:
        return self.x[index], self.y[index]


LOG = Log()


class Net(nn.Module):
    """Embedding-free network with dropout, batch statistics and a learned weighting: everything that has state."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), Dropout(0.2), nn.Linear(16, 2))
        self.weighting = Uncertainty(TASKS)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y


def loss(model: nn.Module, batch: Batch) -> Tensor:
    x, y = batch
    value: Tensor = model.weighting(*masked_losses(TASKS, model(x), y))  # type: ignore[operator]
    return value


def validate(model: nn.Module) -> dict[str, float]:
    losses, _ = masked_losses(TASKS, model(LOG.x), LOG.y)
    return {"validation_loss": losses.sum().item(), "click": -losses[0].item()}


def settings(**changes: Any) -> TrainingConfig:
    base: dict[str, Any] = {
        "epochs": 4, "batch_size": 32, "learning_rate": 0.02, "ema_every": 2, "precision": "float32", "seed": 3,
    }  # fmt: skip
    return TrainingConfig(**{**base, **changes})


def train(config: TrainingConfig, **options: Any) -> tuple[Net, History]:
    model = Net()
    options = {"validate": validate, "progress": False, "device": "cpu", "loss": loss, **options}
    batches = options.pop("batches", None) or ShuffledBatches.of(LOG, config)
    return model, fit(model, options.pop("loss"), batches, config, **options)


def bits(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_bits(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(bits(one), bits(other), rtol=0, atol=0)


def without_time(history: History) -> dict[str, Any]:
    state = history.to_dict()
    for epoch in state["epochs"]:
        del epoch["seconds"], epoch["rows_per_second"]
    return state


class Killed(Exception):
    pass


def killed_at(step: int) -> Callable[[nn.Module, Batch], Tensor]:
    """A loss that dies at its step-th call, as a process does under SIGKILL: no handler runs."""
    calls = 0

    def dying(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == step:
            raise Killed
        return loss(model, batch)

    return dying


# ---------------------------------------------------------------------------------------------------- training


def test_it_learns_and_the_best_averaged_weights_are_kept() -> None:
    seen: list[tuple[float, dict[str, Tensor]]] = []

    def watch(model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        metrics = validate(model)
        seen.append((metrics["validation_loss"], bits(model)))
        return metrics

    model, history = train(settings(epochs=8), validate=watch)
    values = [value for value, _ in seen]
    assert [epoch.metrics["validation_loss"] for epoch in history.epochs] == values
    assert history.best_value == min(values) < 0.8 * values[0]
    assert history.best_epoch == values.index(min(values))
    torch.testing.assert_close(bits(model), seen[history.best_epoch][1], rtol=0, atol=0)
    assert not model.training
    assert list(history.table()["epoch"]) == list(range(len(values)))


@pytest.mark.parametrize(("direction", "values"), [("min", [3, 2, 1, 2, 1, 0]), ("max", [1, 2, 3, 2, 3, 4])])
def test_it_stops_after_patience_epochs_without_a_better_value(direction: str, values: list[float]) -> None:
    left = iter(values)
    config = settings(epochs=10, patience=2, monitor="ap", direction=direction)
    _, history = train(config, validate=lambda model: {"ap": next(left)})
    assert len(history.epochs) == 5  # an equal value is not better
    assert history.best_epoch == 2
    assert history.stopped_early


def test_without_validation_the_last_averaged_weights_are_kept() -> None:
    model, history = train(settings(epochs=3), validate=None)
    validated, _ = train(settings(epochs=3, monitor="x"), validate=lambda model: {"x": -len(bits_seen(model))})
    assert len(history.epochs) == 3
    assert history.best_epoch is None
    assert_same_bits(model, validated)


_SEEN: list[nn.Module] = []


def bits_seen(model: nn.Module) -> list[nn.Module]:
    """Grows by one at every call, so that each epoch is better than the one before."""
    _SEEN.append(model)
    return _SEEN


def test_the_loop_equals_a_plain_loop() -> None:
    """No averaging, one epoch: the same bits as torch's Adam over the same batches."""
    config = settings(epochs=1, ema_decay=0.0)
    model, history = train(config, validate=None)
    plain = Net()
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.02, fused=True)
    torch.manual_seed(config.seed)
    values = []
    for batch in ShuffledBatches.of(LOG, config).epoch(0):
        optimizer.zero_grad()
        value = loss(plain, batch)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert_same_bits(model, plain)
    assert history.epochs[0].train_loss == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = Net()
    torch.set_rng_state(before)
    fit(model, loss, ShuffledBatches.of(LOG, settings()), settings(epochs=1), progress=False, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "adamw", "weight_decay": 0.1}, {"weight_decay": 0.1}, {"schedule": "cosine"},
        {"warmup_steps": 3}, {"clip_norm": 0.01}, {"precision": "bfloat16"}, {"seed": 8}, {"learning_rate": 0.01},
        {"ema_decay": 0.0}, {"ema_every": 3}, {"batch_size": 16}, {"optimizer": "sgd"}, {"optimizer": "adagrad"},
    ],
)  # fmt: skip
def test_every_setting_changes_the_outcome(change: dict[str, Any]) -> None:
    plain, _ = train(settings(epochs=2))
    changed, _ = train(settings(epochs=2, **change))
    assert not torch.equal(plain.body[0].weight, changed.body[0].weight)
    assert torch.isfinite(changed.body[0].weight).all()


@pytest.mark.parametrize(
    ("plain", "changed"),
    [({"optimizer": "sgd"}, {"momentum": 0.5}), ({"optimizer": "adagrad"}, {"accumulator": 0.5})],
)
def test_an_optimizers_own_setting_changes_the_outcome(plain: dict[str, Any], changed: dict[str, Any]) -> None:
    one, _ = train(settings(epochs=1, **plain))
    other, _ = train(settings(epochs=1, **plain, **changed))
    assert not torch.equal(one.body[0].weight, other.body[0].weight)


def test_every_setting_is_read_by_the_package() -> None:
    folder = Path(multitask.training.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    unread = [name for name in TrainingConfig.model_fields if not re.search(rf"\bconfig\.{name}\b", source)]
    assert unread == []


def test_settings_report_all_faults_at_once() -> None:
    with pytest.raises(ValidationError) as error:
        TrainingConfig(epochs=0, patience=0, lerning_rate=1)  # type: ignore[call-arg]
    assert {fault["loc"][0] for fault in error.value.errors()} == {"epochs", "patience", "lerning_rate"}


def test_events_tell_where_the_run_stands() -> None:
    events: list[Event] = []
    train(settings(epochs=2), progress=events.append)
    ends = [event for event in events if event.metrics is not None]
    assert [(event.epoch, event.step, event.steps, event.epochs) for event in ends] == [(0, 6, 6, 2), (1, 6, 6, 2)]
    assert all(event.rows_per_second and event.rows_per_second > 0 for event in events)
    assert "validation_loss" in (ends[0].metrics or {})


def test_the_bar_writes_to_stderr_only_when_asked(capfd: pytest.CaptureFixture[str]) -> None:
    train(settings(epochs=1), progress=None)
    assert capfd.readouterr() == ("", "")
    train(settings(epochs=1), progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1/1" in err


# ---------------------------------------------------------------------------------------------------- refusals


def test_an_unknown_monitor_names_the_metrics() -> None:
    with pytest.raises(
        ValueError, match=r"`monitor` must be one of the metrics \['click', 'validation_loss'\], got 'ap'"
    ):
        train(settings(monitor="ap"))


def test_a_monitor_that_is_not_finite_is_refused() -> None:
    message = r"`monitor` 'ap' must be finite, got nan at epoch 1, step 6 of 6, learning rate 0.02; .* not defined on"
    with pytest.raises(FloatingPointError, match=message):
        train(settings(monitor="ap"), validate=lambda model: {"ap": float("nan")})


@pytest.mark.parametrize("batch_size", [32, 210])
@pytest.mark.parametrize("validated", [True, False])
def test_a_learning_rate_out_of_all_reason_is_named(batch_size: int, validated: bool) -> None:
    """With one step per epoch the divergence shows after the epoch first: in the weights or in the metric."""
    message = r"must be finite, got .* at epoch \d, step \d of \d, learning rate 1e\+30; a lower learning rate"
    with pytest.raises(FloatingPointError, match=message):
        train(settings(learning_rate=1e30, batch_size=batch_size), validate=validate if validated else None)


def test_weights_that_only_the_last_step_spoils_are_refused() -> None:
    """A finite loss with an infinite gradient, and no step after it whose loss would show that."""

    def steep(model: nn.Module, batch: Batch) -> Tensor:
        weight = model.body[0].weight  # type: ignore[index, union-attr]
        return loss(model, batch) + (weight - weight.detach()).sum().abs().sqrt()  # 0, with the slope inf * 0

    with pytest.raises(FloatingPointError, match="the weights must be finite"):
        train(settings(epochs=1, batch_size=210), loss=steep, validate=None)


def test_a_loss_that_diverges_names_epoch_step_and_learning_rate(tmp_path: Path) -> None:
    calls = 0

    def diverging(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        return loss(model, batch) * (torch.nan if calls == 10 else 1)

    message = "got nan at epoch 2, step 4 of 6, learning rate 0.02"
    with pytest.raises(FloatingPointError, match=message):
        train(settings(), loss=diverging, checkpoint=tmp_path)
    model, _ = train(settings(epochs=4), checkpoint=tmp_path)  # the last good checkpoint resumes
    assert_same_bits(model, train(settings(epochs=4))[0])


def test_a_loss_per_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`loss` must return a scalar, got shape \(32,\)"):
        train(settings(), loss=lambda model, batch: model(batch[0])[:, 0])


class TwoOfThree:
    def __len__(self) -> int:
        return 3

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        yield from [LOG.select(torch.arange(8))] * 2


def test_batches_that_end_early_are_refused() -> None:
    with pytest.raises(ValueError, match="`batches` must give 3 steps"):
        train(settings(), batches=TwoOfThree())


# ---------------------------------------------------------------------------------------------------- resuming

RESUMABLE = {"patience": 2, "schedule": "cosine", "warmup_steps": 5, "weight_decay": 0.01, "clip_norm": 1.0}


@pytest.mark.parametrize("checkpoint_steps", [None, 2])
@pytest.mark.parametrize("step", [3, 9, 12, 23])
def test_a_killed_run_resumes_to_the_same_bits(step: int, checkpoint_steps: int | None, tmp_path: Path) -> None:
    config = settings(checkpoint_steps=checkpoint_steps, **RESUMABLE)
    whole, history = train(config)
    with pytest.raises(Killed):
        train(config, loss=killed_at(step), checkpoint=tmp_path)
    torch.manual_seed(999)  # the global generator has no say in the resumed run
    resumed, again = train(config, checkpoint=tmp_path)
    assert_same_bits(resumed, whole)
    assert without_time(again) == without_time(history)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    config = settings(checkpoint_steps=2)
    with pytest.raises(Killed):
        train(config, loss=killed_at(6 + 5 + 1), checkpoint=tmp_path)  # in step 6 of epoch 2, after the one at step 4
    calls = 0

    def counting(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        return loss(model, batch)

    train(config, loss=counting, checkpoint=tmp_path)
    assert calls == 4 * 6 - (6 + 4)


def test_early_stopping_remembers_across_a_resume(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    config = settings(epochs=5, patience=3, monitor="v")

    def scripted(start: int) -> Callable[[nn.Module], Mapping[str, float]]:
        left = iter(values[start:])
        return lambda model: {"v": next(left)}

    whole, history = train(config, validate=scripted(0))
    with pytest.raises(Killed):
        train(config, validate=scripted(0), loss=killed_at(2 * 6 + 2), checkpoint=tmp_path)
    resumed, again = train(config, validate=scripted(2), checkpoint=tmp_path)
    assert len(again.epochs) == 4
    assert again.best_epoch == 0
    assert without_time(again) == without_time(history)
    assert_same_bits(resumed, whole)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    model, history = train(settings(), checkpoint=tmp_path)
    again, same = train(settings(), checkpoint=tmp_path, loss=killed_at(1))
    assert_same_bits(model, again)
    assert same == history


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_at_the_next_step(number: signal.Signals, tmp_path: Path) -> None:
    config = settings()
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    calls = 0

    def interrupted(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 8:
            signal.raise_signal(number)
        return loss(model, batch)

    with pytest.raises(KeyboardInterrupt, match=re.escape(str(tmp_path))):
        train(config, loss=interrupted, checkpoint=tmp_path)
    assert calls == 8
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    model, _ = train(config, loss=killed_at(4 * 6 - 8 + 1), checkpoint=tmp_path)  # exactly the other steps remain
    assert_same_bits(model, train(config)[0])


def test_a_checkpoint_of_another_run_says_what_differs(tmp_path: Path) -> None:
    train(settings(epochs=1), checkpoint=tmp_path)
    differing = r"epochs 1 there, 2 here; learning_rate 0.02 there, 0.01 here"
    with pytest.raises(CheckpointError, match=rf"{differing}\); train with the same settings to resume it, or delete"):
        train(settings(epochs=2, learning_rate=0.01), checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"steps per epoch 6 there, 3 here\); train on the same data to"):
        train(settings(epochs=1), batches=TwoOfThree(), checkpoint=tmp_path)
    wider = nn.Linear(6, 2)
    with pytest.raises(CheckpointError, match=r"fit the model, got bias none there, \(2,\) torch.float32 here; body"):
        fit(wider, loss, ShuffledBatches.of(LOG, settings()), settings(epochs=1), checkpoint=tmp_path, device="cpu")


def test_a_checkpoint_that_names_fewer_settings_had_the_defaults(tmp_path: Path) -> None:
    """As an earlier version wrote it."""
    whole, _ = train(settings())
    with pytest.raises(Killed):
        train(settings(), loss=killed_at(15), checkpoint=tmp_path)
    path = tmp_path / "checkpoint.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    for name in ("momentum", "accumulator", "observers"):
        del written["state"]["run"][name]
    path.write_text(json.dumps(written), encoding="utf-8")
    resumed, _ = train(settings(), checkpoint=tmp_path)
    assert_same_bits(resumed, whole)
    with pytest.raises(CheckpointError, match=r"optimizer 'adam' there, 'sgd' here; momentum 0.0 there, 0.5 here"):
        train(settings(optimizer="sgd", momentum=0.5), checkpoint=tmp_path)
