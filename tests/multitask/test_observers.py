"""Observers of a run: when they are called, what they may change, and resuming with them to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multitask.arrays import ShuffledBatches
from multitask.averaging import WeightAverage
from multitask.checkpoint import CheckpointError
from multitask.config import TrainingConfig
from multitask.history import History
from multitask.observers import Observer
from multitask.optimizers import make_optimizer
from multitask.resume import Position, TrainingState
from multitask.stacked import StackedLinear
from multitask.training import fit

STEPS = 5


class Log:
    """190 rows, 5 features, one label."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(4)
        self.x = torch.randn(190, 5, generator=generator)
        self.y = self.x[:, 0] - self.x[:, 1].abs() + 0.1 * torch.randn(190, generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


LOG = Log()


class Stack(nn.Module):
    """The mean of G networks; `spare` gets no gradient. Loads a state of another number of networks."""

    def __init__(self, networks: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(5, 8)
        self.stack = StackedLinear(networks, 8, 1)
        self.spare = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.stack(torch.relu(self.body(x)))[..., 0]
        return y.mean(0)

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("weight", "bias"):
            parameter: nn.Parameter = getattr(self.stack, name)
            parameter.data = torch.empty_like(state[f"{prefix}stack.{name}"])
        self.stack.groups = len(self.stack.weight)
        super()._load_from_state_dict(state, prefix, *rest)  # type: ignore[arg-type]


class Halve(Observer):
    """Merges the stack's networks by pairs after epochs 1 and 3, and sums up the losses of each epoch's steps."""

    def __init__(self) -> None:
        self.sums: list[float] = []
        self.running = torch.zeros((), dtype=torch.float64)
        self.seen: list[tuple[int, int, bool]] = []

    def watch(self, loss: Callable[[nn.Module, Any], Tensor]) -> Callable[[nn.Module, Any], Tensor]:
        def watched(model: nn.Module, batch: Any) -> Tensor:
            value = loss(model, batch)
            self.running = self.running + value.detach().double()
            return value

        return watched

    def after_epoch(self, state: TrainingState) -> None:
        epoch = state.position.epoch
        self.seen.append((epoch, len(state.position.history.epochs), state.model.training))
        self.sums.append(self.running.item())
        self.running = torch.zeros((), dtype=torch.float64)
        if epoch in (1, 3):
            merge(state, lambda x: (x[::2] + x[1::2]) / 2)

    def tensors(self) -> dict[str, Tensor]:
        return {"running": self.running, "sums": torch.tensor(self.sums, dtype=torch.float64)}

    def load_tensors(self, tensors: dict[str, Tensor], state: TrainingState) -> None:
        self.running, self.sums = tensors["running"], tensors["sums"].tolist()
        n = 4 // 2 ** sum(epoch in (1, 3) for epoch in range(state.position.epoch))
        merge(state, lambda x: torch.zeros(n, *x.shape[1:]))


def merge(state: TrainingState, change: Callable[[Tensor], Tensor]) -> None:
    model = state.model
    assert isinstance(model, Stack)
    state.replace(model.stack.weight, change)
    assert model.stack.bias is not None
    state.replace(model.stack.bias, change)
    model.stack.groups = len(model.stack.weight)


def squared_error(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    value: Tensor = (model(batch[0]) - batch[1]).square().mean()
    return value


def settings(**changes: Any) -> TrainingConfig:
    base = {"epochs": 5, "batch_size": 32, "learning_rate": 0.02, "ema_every": 2, "precision": "float32", "seed": 3}
    return TrainingConfig(**{**base, **changes})


def train(
    config: TrainingConfig,
    *,
    killed_at: int | None = None,
    checkpoint: Path | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
) -> tuple[Stack, Halve, History]:
    model, observer, calls = Stack(), Halve(), 0

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == killed_at:
            raise Killed
        return squared_error(net, batch)

    history = fit(
        model, observer.watch(loss), ShuffledBatches.of(LOG, config), config, validate=validate, observers=[observer],
        checkpoint=checkpoint, progress=False, device="cpu",
    )  # fmt: skip
    return model, observer, history


class Killed(Exception):
    pass


def assert_same_bits(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


OPTIMIZERS = [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.5}, {"optimizer": "sgd"},
              {"optimizer": "adagrad"}]  # fmt: skip


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(str(v) for v in o.values()))
def test_a_killed_run_that_shrank_resumes_to_the_same_bits(
    optimizer: dict[str, Any], ema_decay: float, tmp_path: Path
) -> None:
    config = settings(checkpoint_steps=2, ema_decay=ema_decay, clip_norm=1.0, **optimizer)
    whole, observer, history = train(config)
    assert whole.stack.weight.shape == (1, 1, 8)
    for step in (9, 2 * STEPS + 1, 3 * STEPS + 4, 5 * STEPS):  # before, right after and long after a change of shapes
        folder = tmp_path / str(step)
        with pytest.raises(Killed):
            train(config, killed_at=step, checkpoint=folder)
        torch.manual_seed(999)
        resumed, again, history_again = train(config, checkpoint=folder)
        assert_same_bits(resumed, whole)
        assert again.sums == observer.sums
        assert [e.train_loss for e in history_again.epochs] == [e.train_loss for e in history.epochs]


@pytest.mark.parametrize("best", [0, 2, 4])
def test_the_best_epoch_is_loaded_with_the_shapes_that_it_had(best: int, tmp_path: Path) -> None:
    states: list[dict[str, Tensor]] = []

    def validate(model: nn.Module) -> dict[str, float]:
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"v": abs(len(states) - 1 - best)}

    model, _, history = train(settings(monitor="v", patience=5), validate=validate, checkpoint=tmp_path)
    assert history.best_epoch == best
    assert [len(state["stack.weight"]) for state in states] == [4, 4, 2, 2, 1]
    torch.testing.assert_close(dict(model.state_dict()), states[best], rtol=0, atol=0)
    again, _, _ = train(settings(monitor="v", patience=5), validate=validate, checkpoint=tmp_path)  # a finished run
    assert_same_bits(again, model)


class Another(Halve):
    """Says that the model has become another one."""

    def after_epoch(self, state: TrainingState) -> None:
        shape = state.model.stack.weight.shape  # type: ignore[union-attr]
        super().after_epoch(state)
        if state.model.stack.weight.shape != shape:  # type: ignore[union-attr]
            state.forget_best()


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_after_a_change_the_best_epoch_is_looked_for_anew(ema_decay: float, tmp_path: Path) -> None:
    values, states = iter([0.1, 0.0, 0.3, 0.2, 0.9, 0.5, 0.7]), []

    def validate(model: nn.Module) -> dict[str, float]:
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"v": next(values)}

    model, config = Stack(), settings(monitor="v", patience=9, epochs=7, ema_decay=ema_decay)
    batches = ShuffledBatches.of(LOG, config)
    history = fit(model, squared_error, batches, config, validate=validate, observers=[Another()], device="cpu")
    assert (history.best_epoch, history.best_value) == (5, 0.5)
    torch.testing.assert_close(dict(model.state_dict()), states[5], rtol=0, atol=0)


@pytest.mark.parametrize(("patience", "epochs"), [(1, 6), (2, 7), (3, 8)])
def test_a_change_restarts_the_patience(patience: int, epochs: int) -> None:
    """Never better: from the change after epoch 3 on, epoch 4 is the best and `patience` more follow."""
    count = iter(range(99))
    model, config = Stack(), settings(monitor="v", patience=patience, epochs=20)
    history = fit(model, squared_error, ShuffledBatches.of(LOG, config), config, device="cpu", observers=[Another()],
                  validate=lambda _: {"v": next(count)})  # fmt: skip
    assert (len(history.epochs), history.best_epoch, history.stopped_early) == (epochs, 4, True)


@pytest.mark.parametrize("validated", [False, True])
def test_a_change_after_the_last_epoch_is_kept_as_it_is(validated: bool, tmp_path: Path) -> None:
    config = settings(monitor="v", epochs=4, ema_decay=0.9)
    validate = (lambda _: {"v": 0.0}) if validated else None
    states: list[dict[str, Tensor]] = []
    for _ in range(2):  # the second time from the checkpoint of the finished run
        model = Stack()
        history = fit(model, squared_error, ShuffledBatches.of(LOG, config), config, validate=validate,
                      observers=[Another()], checkpoint=tmp_path, device="cpu")  # fmt: skip
        assert len(model.stack.weight) == 1
        assert history.best_epoch is None
        states.append(dict(model.state_dict()))
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_an_observer_that_does_nothing_changes_nothing(tmp_path: Path) -> None:
    def plain(observers: list[Observer], checkpoint: Path | None = None) -> Stack:
        model, config = Stack(), settings(epochs=2)
        batches = ShuffledBatches.of(LOG, config)
        fit(model, squared_error, batches, config, observers=observers, checkpoint=checkpoint, device="cpu")
        return model

    assert_same_bits(plain([]), plain([Observer(), Observer()], tmp_path))
    assert_same_bits(plain([]), plain([Observer(), Observer()], tmp_path))


def test_observers_are_called_in_order_around_each_epoch() -> None:
    calls: list[str] = []

    class Named(Observer):
        def __init__(self, name: str) -> None:
            self.name = name

        def before_training(self, state: TrainingState) -> None:
            calls.append(f"{self.name} before {state.position.epoch} {state.position.step}")

        def after_epoch(self, state: TrainingState) -> None:
            assert state.position.history.epochs[-1].number == state.position.epoch
            assert not state.model.training
            calls.append(f"{self.name} after {state.position.epoch} {state.position.finished}")

    def validate(model: nn.Module) -> dict[str, float]:
        calls.append("validate")
        return {"validation_loss": float(len(calls))}  # never better than at first

    model, config = Stack(), settings(epochs=9, patience=1)
    observers = [Named("a"), Named("b")]
    batches = ShuffledBatches.of(LOG, config)
    fit(model, squared_error, batches, config, validate=validate, observers=observers, device="cpu")
    assert calls == [
        "a before 0 0", "b before 0 0", "validate", "a after 0 False", "b after 0 False",
        "validate", "a after 1 False", "b after 1 False",
    ]  # fmt: skip


def test_the_observer_sees_the_live_weights_not_the_averaged_ones() -> None:
    validated: list[Tensor] = []
    live: list[Tensor] = []

    class Look(Observer):
        def after_epoch(self, state: TrainingState) -> None:
            assert isinstance(state.model, Stack)
            live.append(state.model.body.weight.detach().clone())

    def validate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Stack)
        validated.append(model.body.weight.detach().clone())
        return {"validation_loss": 0.0}

    for decay in (0.0, 0.99):
        config = settings(epochs=1, ema_decay=decay)
        batches = ShuffledBatches.of(LOG, config)
        fit(Stack(), squared_error, batches, config, validate=validate, observers=[Look()], device="cpu")
    assert torch.equal(live[0], live[1])
    assert torch.equal(live[0], validated[0])
    assert not torch.equal(live[1], validated[1])


def test_a_checkpoint_of_other_observers_is_refused(tmp_path: Path) -> None:
    train(settings(), checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"observers \['Halve'\] there, \[\] here"):
        fit(Stack(), squared_error, ShuffledBatches.of(LOG, settings()), settings(), checkpoint=tmp_path, device="cpu")


def test_an_observer_that_brings_back_other_shapes_is_refused(tmp_path: Path) -> None:
    class Forgetful(Halve):
        def load_tensors(self, tensors: dict[str, Tensor], state: TrainingState) -> None:
            pass

    Forgetful.__name__ = "Halve"
    train(settings(), checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"fit the model, got stack.bias \(1, 1\) torch.float32 there, \(4, 1\)"):
        fit(Stack(), squared_error, ShuffledBatches.of(LOG, settings()), settings(), observers=[Forgetful()],
            checkpoint=tmp_path, device="cpu")  # fmt: skip


# ---------------------------------------------------------------------------------------------------- replace


def stepped(config: TrainingConfig) -> tuple[Stack, TrainingState]:
    """A stack after three steps, with its optimiser and average."""
    model = Stack()
    optimizer = make_optimizer(model, config)
    average = WeightAverage(list(model.parameters()), config.ema_decay, 1)
    for _ in range(3):
        optimizer.zero_grad()
        squared_error(model, (LOG.x, LOG.y)).backward()
        optimizer.step()
        average.step()
    return model, TrainingState(model, optimizer, average, Position())


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [({"optimizer": "adam"}, {"exp_avg", "exp_avg_sq"}), ({"optimizer": "adamw"}, {"exp_avg", "exp_avg_sq"}),
     ({"optimizer": "sgd", "momentum": 0.5}, {"momentum_buffer"}), ({"optimizer": "sgd"}, set()),
     ({"optimizer": "adagrad"}, {"sum"})],
)  # fmt: skip
def test_replace_keeps_the_chosen_part_of_everything_bit_for_bit(optimizer: dict[str, Any], moments: set[str]) -> None:
    model, state = stepped(settings(**optimizer))
    weight = model.stack.weight
    number = next(i for i, own in enumerate(state.average.parameters) if own is weight)
    before, average = weight.detach().clone(), state.average.values[number].clone()
    held = {name: value.clone() for name, value in state.optimizer.state.get(weight, {}).items()}
    others = {id(p): p.detach().clone() for p in model.parameters() if p is not weight}
    assert held.keys() - {"step"} == moments
    kept = torch.tensor([3, 1])
    state.replace(weight, lambda x: x[kept])
    assert model.stack.weight is weight
    assert weight.grad is None
    assert torch.equal(weight, before[kept])
    assert torch.equal(state.average.values[number], average[kept])
    for name, value in state.optimizer.state.get(weight, {}).items():
        assert torch.equal(value, held[name] if name == "step" else held[name][kept])
    assert all(torch.equal(p, others[id(p)]) for p in model.parameters() if p is not weight)


def test_the_next_step_is_of_the_kept_moments() -> None:
    """SGD by hand: b <- 0.9 b[kept] + g, w <- w[kept] - rate b."""
    model, state = stepped(settings(optimizer="sgd", momentum=0.9))
    weight = model.stack.weight
    momentum = state.optimizer.state[weight]["momentum_buffer"][1:3].clone()
    merge(state, lambda x: x[1:3])
    start = weight.detach().clone()
    squared_error(model, (LOG.x, LOG.y)).backward()
    assert weight.grad is not None
    assert weight.grad.shape == (2, 1, 8)
    state.optimizer.step()
    torch.testing.assert_close(weight.detach(), start - 0.02 * (0.9 * momentum + weight.grad))


def test_replace_while_an_earlier_graph_is_held() -> None:
    """Without a fresh start the graph's node of the parameter refuses gradients of the new shape."""
    model, state = stepped(settings())
    held = squared_error(model, (LOG.x, LOG.y))
    merge(state, lambda x: x[1:3])
    squared_error(model, (LOG.x, LOG.y)).backward()
    assert model.stack.weight.grad is not None
    assert model.stack.weight.grad.shape == (2, 1, 8)
    assert held.requires_grad


def test_settings_of_two_observers_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    class Every(Observer):
        def __init__(self, every: int) -> None:
            self.every = every

        def settings(self) -> dict[str, Any]:
            return {"every": self.every}

    def run(*every: int) -> None:
        config = settings(epochs=1)
        observers = [Every(number) for number in every]
        fit(Stack(), squared_error, ShuffledBatches.of(LOG, config), config, observers=observers, checkpoint=tmp_path,
            device="cpu")  # fmt: skip

    run(1, 2)
    run(1, 2)
    with pytest.raises(CheckpointError, match=r"Every 2.every 2 there, 3 here"):
        run(1, 3)


def test_replace_of_a_scalar_leaves_the_step_count_alone() -> None:
    scale = nn.Parameter(torch.ones(()))
    model = nn.Module()
    model.scale = scale
    optimizer = make_optimizer(model, settings())
    scale.square().backward()
    optimizer.step()
    state = TrainingState(model, optimizer, WeightAverage([], 0.0), Position())
    state.replace(scale, lambda x: x * 0)
    assert optimizer.state[scale]["step"].item() == 1
    assert optimizer.state[scale]["exp_avg"].item() == 0


def test_replace_before_the_first_step_and_of_a_parameter_that_is_not_trained() -> None:
    model = Stack()
    model.spare.requires_grad_(False)
    optimizer = make_optimizer(model, settings())
    state = TrainingState(model, optimizer, WeightAverage([model.stack.weight], 0.9), Position())
    for parameter in (model.spare, model.stack.weight):
        state.replace(parameter, lambda x: x[:2])
    assert model.spare.shape == (2,)
    assert state.average.values[0].shape == (2, 1, 8)
    assert not optimizer.state  # no empty entry either
    state.replace(model.stack.weight, lambda x: x)
    assert state.average.values[0].data_ptr() != model.stack.weight.data_ptr()
