"""The one training loop: whatever is trained in this project goes through `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from multitask import distributed
from multitask.averaging import WeightAverage
from multitask.config import TrainingConfig
from multitask.history import Epoch, History
from multitask.interrupt import Interrupt
from multitask.loss_window import WINDOW_STEPS, LossWindow
from multitask.malloc import keep_freed_memory
from multitask.observers import Observer
from multitask.optimizers import make_optimizer, rate_factor, set_learning_rate
from multitask.precision import autocast
from multitask.progress import Event, Reporter, reporter
from multitask.resume import Position, TrainingState

Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)


class Batches(Protocol[Batch_co]):
    """Epochs of batches, on the model's device. The order may depend on the epoch's number and on nothing that came
    before, so that a resumed run can start at any step. An attribute `rows` (rows of an epoch) is reported as speed.
    """

    def __len__(self) -> int:
        """Steps per epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch_co]:
        """The batches of epoch `number` from step `start` on."""


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    batches: Batches[Batch],
    config: TrainingConfig | None = None,
    *,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    observers: Sequence[Observer] = (),
    checkpoint: Path | None = None,
    progress: bool | Reporter | None = None,
    device: torch.device | str | None = None,
) -> History:
    """Trains `model` in place and leaves the best epoch's weights in it, in evaluation mode.

    After each epoch the averaged weights (`WeightAverage`) are validated, and the run stops when `config.monitor` has
    not improved for `config.patience` epochs. The loop knows no metric: `validate` names them. Where an observer made
    another model of it (`TrainingState.forget_best`), the best epoch is one of those after the last such change.

    Resuming: with `checkpoint`, the run's whole state is written after each epoch (and every `checkpoint_steps`), and
    a run that finds its own checkpoint there goes on from it, to the same bits as if it had never stopped (CPU, same
    number of threads). SIGINT or SIGTERM writes a checkpoint at the next step and raises KeyboardInterrupt.

    Under `torchrun`: every process trains on its slice of each batch with averaged gradients (for a loss that is a
    mean over rows this is the one-process run; means over differently many labelled rows are averaged as they are),
    rank 0 validates and writes, all end with the same weights.

    Args:
        model: moved to `device`; see `optimizers.parameter_groups` for how it may group its parameters.
        loss: `(model, batch) -> scalar`, run under bf16 autocast if `config.precision` says so; compute the loss
            itself in float32, as `masked_losses` does.
        batches: `ShuffledBatches`, or anything of the protocol.
        config: settings; None = the defaults.
        validate: `(model) -> {metric: value}`, called in evaluation mode without gradients, on rank 0. None = all
            epochs are run and the last (averaged) weights kept.
        observers: called in this order after each epoch's validation; may change the model (`TrainingState.replace`).
        checkpoint: a folder for the checkpoint.
        progress: True = a bar on stderr, None = a bar if stderr is a terminal, False = silence, or a callable that
            gets `Event`s.
        device: None = CUDA if there is one, else the CPU.

    Raises:
        ValueError: if `config.monitor` is not among the metrics, or the loss is no scalar.
        CheckpointError: if the checkpoint is damaged or belongs to another run; a ValueError too.
        FloatingPointError: if the loss, a weight or `config.monitor` stops being finite; names epoch, step and
            learning rate.
        KeyboardInterrupt: after a signal, once the checkpoint is written.

    >>> from multitask.arrays import ShuffledBatches
    >>> class Rows:
    ...     x = torch.linspace(-1, 1, 64)[:, None]
    ...     def __len__(self):
    ...         return 64
    ...     def select(self, index):
    ...         return self.x[index]
    >>> model = nn.Linear(1, 1)
    >>> config = TrainingConfig(epochs=60, batch_size=16, learning_rate=0.05, precision="float32")
    >>> history = fit(model, lambda m, x: (m(x) - 2 * x).square().mean(), ShuffledBatches.of(Rows(), config), config)
    >>> len(history.epochs), round(model.weight.item(), 2)
    (60, 2.0)
    """
    config = config or TrainingConfig()
    target = distributed.default_device() if device is None else torch.device(device)
    distributed.join(target)
    if target.type == "cpu":
        keep_freed_memory()
    model.to(target)
    devices = [target] if target.type == "cuda" else []
    quiet = progress if distributed.rank() == 0 else False
    with torch.random.fork_rng(devices), Interrupt() as interrupt, reporter(quiet) as report:
        torch.manual_seed((config.seed + distributed.rank()) % 2**63)
        run = _Run(model, loss, batches, config, validate, observers, checkpoint, target, interrupt, report)
        while not run.state.position.finished:
            run.train_epoch()
            run.end_epoch()
        return run.finish()


class _Run:
    """One run of `fit`: its state and the two halves of an epoch."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, Any], Tensor],
        batches: Batches[Any],
        config: TrainingConfig,
        validate: Callable[[nn.Module], Mapping[str, float]] | None,
        observers: Sequence[Observer],
        checkpoint: Path | None,
        device: torch.device,
        interrupt: Interrupt,
        report: Reporter,
    ) -> None:
        self.model, self.loss, self.batches, self.config = model, loss, batches, config
        self.validate, self.checkpoint, self.device = validate, checkpoint, device
        self.interrupt, self.report = interrupt, report
        self.steps = len(batches)
        if self.steps < 1:
            raise ValueError("`batches` must hold at least one step per epoch, got 0")
        distributed.copy_from_first([*model.parameters(), *model.buffers()])
        optimizer = make_optimizer(model, config)
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        average = WeightAverage(self.parameters if config.ema_decay else [], config.ema_decay, config.ema_every)
        self.state = TrainingState(model, optimizer, average, Position(), observers=observers)
        if checkpoint is not None:
            self.state.restore(checkpoint, config, self.steps, device)
        self.constant_rate = config.schedule == "constant" and config.warmup_steps == 0
        for observer in observers:
            observer.before_training(self.state)
        self.average_gradients = self._gradient_average()
        self.losses = LossWindow(device)

    def _gradient_average(self) -> distributed.GradientAverage | None:
        return distributed.GradientAverage(self.parameters, self.device) if distributed.world_size() > 1 else None

    def train_epoch(self) -> None:
        """The rest of the current epoch, from the position on."""
        position, every = self.state.position, self.config.checkpoint_steps
        self.model.train()
        self.losses.start()
        for batch in self.batches.epoch(position.epoch, position.step):
            stop = self._step(batch)
            position.step += 1
            due = every is not None and position.step % every == 0 and position.step < self.steps
            if stop or due or self.losses.due:
                self._read_losses()
            if stop or due:
                self._save()
            if stop:
                self._raise_interrupt()
        self._read_losses()
        if position.step != self.steps:
            raise ValueError(f"`batches` must give {self.steps} steps (its length) in an epoch, got {position.step}")

    def _step(self, batch: Any) -> bool:
        """One optimiser step; True if the run has been asked to stop."""
        optimizer, position = self.state.optimizer, self.state.position
        if not self.constant_rate:
            set_learning_rate(optimizer, self._rate_factor())
        with autocast(self.config.precision, self.device):
            value = self.loss(self.model, batch)
        if value.ndim != 0:
            raise ValueError(f"`loss` must return a scalar, got shape {tuple(value.shape)}")
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        stop = self.interrupt.requested
        if self.average_gradients is not None:
            flag = self.average_gradients(stop)
            # On CUDA reading the flag waits for the device, so it is read as rarely as the losses.
            readable = self.device.type == "cpu" or (position.step + 1) % WINDOW_STEPS == 0
            stop = readable and bool(flag > 0)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        optimizer.step()
        self.state.average.step()
        self.losses.add(value)
        return stop

    def _rate_factor(self) -> float:
        position = self.state.position
        return rate_factor(self.config, position.epoch * self.steps + position.step, self.config.epochs * self.steps)

    def _read_losses(self) -> None:
        """Adds the window to the epoch's sum, in the steps' order, and reports."""
        position = self.state.position
        values, seconds = self.losses.read()
        for number, value in enumerate(values, start=position.step - len(values) + 1):
            if not isfinite(value):
                raise self._diverged("the training loss", value, number)
            position.loss_sum += value
        position.seconds += seconds
        self.report(self._event(None))

    def _diverged(self, what: str, value: float | str, step: int, more: str = "") -> FloatingPointError:
        rates = sorted({group["lr"] for group in self.state.optimizer.param_groups})
        return FloatingPointError(
            f"{what} must be finite, got {value} at epoch {self.state.position.epoch + 1}, step {step} of "
            f"{self.steps}, learning rate {', '.join(f'{rate:g}' for rate in rates)}; a lower learning rate, "
            f"warm-up or `clip_norm` may help{more}"
        )

    def _event(self, metrics: Mapping[str, float] | None) -> Event:
        position = self.state.position
        mean = position.loss_sum / max(1, position.step)
        return Event(position.epoch, self.config.epochs, position.step, self.steps, mean, self._speed(), metrics)

    def _speed(self) -> float | None:
        rows, position = getattr(self.batches, "rows", None), self.state.position
        return None if rows is None else rows * position.step / self.steps / max(position.seconds, 1e-9)

    def end_epoch(self) -> None:
        """Validates, decides whether this was the best epoch and whether it was the last, and writes a checkpoint."""
        position, config = self.state.position, self.config
        history = position.history
        # The last step's gradient shows in no loss of this epoch, and a metric of such weights may be anything.
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters):
            raise self._diverged("the weights", "infinities or NaN", position.step)
        losses = distributed.gather_to_all(torch.tensor(position.loss_sum, dtype=torch.float64))
        train_loss = losses.mean().item() / self.steps
        self.model.eval()
        with self.state.average.applied():
            metrics = self._validate()
            last = position.epoch + 1 == config.epochs
            better = self.validate is not None and self._better(metrics, history.best_value)
            if better:
                self._keep()
        history.epochs.append(Epoch(position.epoch, train_loss, metrics, position.seconds, self._speed()))
        self.report(self._event(metrics))
        if self.validate is not None:
            if better:
                history.best_epoch, history.best_value = position.epoch, metrics[config.monitor]
            position.stale_epochs = 0 if better else position.stale_epochs + 1
        position.finished = last
        for observer in self.state.observers:
            observer.after_epoch(self.state)
        if self.state.observers:
            self.average_gradients = self._gradient_average()  # it holds the parameters' sizes
        if last and not self.state.best:
            with self.state.average.applied():
                self._keep()
        history.stopped_early = not last and self.validate is not None and position.stale_epochs >= config.patience
        position.finished = last or history.stopped_early
        position.epoch, position.step, position.loss_sum, position.seconds = position.epoch + 1, 0, 0.0, 0.0
        self._save()
        if self.interrupt.requested and (self.average_gradients is None or position.finished):
            self._raise_interrupt()

    def _keep(self) -> None:
        self.state.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def _validate(self) -> dict[str, float]:
        if self.validate is None:
            return {}
        metrics: dict[str, float] = {}
        if distributed.rank() == 0:
            with torch.no_grad():
                metrics = {name: float(value) for name, value in self.validate(self.model).items()}
        metrics = distributed.from_first(metrics)
        monitor = self.config.monitor
        if monitor not in metrics:
            raise ValueError(f"`monitor` must be one of the metrics {sorted(metrics)}, got {monitor!r}")
        if not isfinite(metrics[monitor]):
            raise self._diverged(
                f"`monitor` {monitor!r}", metrics[monitor], self.state.position.step,
                "; where training has not diverged, the metric is not defined on the validation rows",
            )  # fmt: skip
        return metrics

    def _better(self, metrics: Mapping[str, float], best: float | None) -> bool:
        if best is None:
            return True
        value = metrics[self.config.monitor]
        return value < best if self.config.direction == "min" else value > best

    def _save(self) -> None:
        if self.checkpoint is not None:
            self.state.save(self.checkpoint, self.config, self.steps, self.device)

    def _raise_interrupt(self) -> None:
        where = "nothing was saved" if self.checkpoint is None else f"the checkpoint in {self.checkpoint} resumes it"
        raise KeyboardInterrupt(f"training was interrupted; {where}")

    def finish(self) -> History:
        """Loads the best weights, the same ones on every rank."""
        self.model.load_state_dict(self.state.best)
        distributed.copy_from_first(list(self.model.state_dict().values()))
        self.model.eval()
        return self.state.position.history
