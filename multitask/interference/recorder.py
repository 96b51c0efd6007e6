"""The interference of the tasks while they are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from multitask.interference.gradients import gradient_gram, shared_parameters
from multitask.interference.summary import Interference
from multitask.observers import Observer
from multitask.task_losses import TaskLosses

if TYPE_CHECKING:
    import pandas as pd

    from multitask.resume import TrainingState


class InterferenceRecorder(Observer):
    """Records every k-th training step's inner products of the tasks' gradients, and cuts them into epochs.

    No step changes by a bit: the step's own graph is used, without a further forward pass, and neither gradients nor
    random states are touched. A recorded step costs one more backward pass per task that is in the batch, so training
    takes about 2 T / (3 every) longer (a backward pass is two thirds of a step). By default `every` keeps that at 5 %
    (`sparing_every`): every 94th step with 7 tasks, every 414th with 31. So few minibatches say little: K of them give
    a ratio near one half to +-1 / sqrt(K), and 1,000 steps of 7 tasks are 11 minibatches, +-30 points. For a figure
    that tells tasks apart (K = 100: +-10 points) record more often and pay for it, `every = 10` in 1,000 steps, 47 % at
    7 tasks; or take the `diagnostic` of the trained model, whose batches are large. Some of the tasks more often would
    tell less: T passes give all T^2 pairs.

    Under `torchrun` every process records its own slices of the batches, in checkpoints too: report rank 0's.

    Args:
        task_names: the T names, in the order of the losses.
        every: k; the first step is recorded, then every k-th. None = `sparing_every(T)`.
        parameters: where the gradients are compared; None = `shared_parameters(model)`.

    Raises:
        ValueError: if `every` is below 1, or the losses are not one per name.

    >>> from multitask import ShuffledBatches, TrainingConfig, fit
    >>> from multitask.task_losses import combined
    >>> class Rows:
    ...     x = torch.linspace(-1, 1, 64)[:, None]
    ...     def __len__(self):
    ...         return 64
    ...     def select(self, index):
    ...         return self.x[index]
    >>> def task_losses(model, x):  # one task wants 2 x, the other -2 x
    ...     y = model(x)
    ...     return torch.stack([(y - 2 * x).square().mean(), (y + 2 * x).square().mean()]), torch.full((2,), len(x))
    >>> config = TrainingConfig(epochs=2, batch_size=16, precision="float32")
    >>> recorder = InterferenceRecorder(["up", "down"], every=2)
    >>> loss = combined(recorder.watch(task_losses))
    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = fit(model, loss, ShuffledBatches.of(Rows(), config), config, observers=[recorder])
    >>> recorder.table().to_dict("records")[0]
    {'epoch': 0, 'task': 'up', 'other': 'down', 'minibatches': 2, 'ucr': 0.0, 'cosine': -1.0}
    """

    def __init__(
        self, task_names: Sequence[str], every: int | None = None, *, parameters: Sequence[nn.Parameter] | None = None
    ) -> None:
        self.task_names = tuple(task_names)
        self.every = sparing_every(len(self.task_names)) if every is None else every
        if self.every < 1:
            raise ValueError(f"`every` must be at least 1, got {every}")
        self.parameters = None if parameters is None else list(parameters)
        self._clear()

    def _clear(self) -> None:
        self._step = self._epoch = 0
        self._grams: list[Tensor] = []  # (T, T) each, on the CPU
        self._epochs: list[int] = []  # of each Gram matrix

    def watch(self, task_losses: TaskLosses) -> TaskLosses:
        """`task_losses` that record as they pass; in evaluation mode and without gradients they only pass."""

        def watched(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
            losses, counts = task_losses(model, batch)
            if model.training and torch.is_grad_enabled():
                if self._step % self.every == 0:
                    self._record(model, losses, counts)
                self._step += 1
            return losses, counts

        return watched

    def _record(self, model: nn.Module, losses: Tensor, counts: Tensor) -> None:
        if losses.shape != (len(self.task_names),):
            raise ValueError(
                f"`task_names` must hold one name per loss, got {len(self.task_names)} for losses of shape "
                f"{tuple(losses.shape)}"
            )
        parameters = shared_parameters(model) if self.parameters is None else self.parameters
        self._grams.append(gradient_gram(losses, parameters, counts).cpu())
        self._epochs.append(self._epoch)

    def interference(self, epoch: int | None = None) -> Interference:
        """What was recorded in an epoch; None = in the whole run.

        Raises:
            ValueError: if nothing was.
        """
        chosen = [gram for gram, e in zip(self._grams, self._epochs, strict=True) if epoch is None or e == epoch]
        if not chosen:
            there = sorted(set(self._epochs))
            raise ValueError(f"`epoch` must be one of the recorded {there}, got {epoch}")
        return Interference(self.task_names, torch.stack(chosen))

    def compliance(self, epoch: int | None = None) -> Tensor:
        """`(T, T)` Update Compliance Ratios of an epoch; None = of the whole run."""
        return self.interference(epoch).compliance

    def table(self) -> pd.DataFrame:
        """One row per epoch and pair of tasks: epoch, task, other, minibatches, ucr, cosine."""
        import pandas as pd

        parts = []
        for epoch in dict.fromkeys(self._epochs):
            part = self.interference(epoch).table()
            part.insert(0, "epoch", epoch)
            parts.append(part)
        columns = ["epoch", "task", "other", "minibatches", "ucr", "cosine"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def conflict_table(self) -> pd.DataFrame:
        """One row per epoch: epoch, minibatches, conflict (`conflict_index`)."""
        import pandas as pd

        rows = [
            (epoch, self._epochs.count(epoch), self.interference(epoch).conflict)
            for epoch in dict.fromkeys(self._epochs)
        ]
        return pd.DataFrame(rows, columns=["epoch", "minibatches", "conflict"])

    def settings(self) -> dict[str, Any]:
        """The names, and how often is recorded."""
        return {"task_names": list(self.task_names), "every": self.every}

    def before_training(self, state: TrainingState) -> None:
        """Forgets an earlier run, unless this one goes on from its checkpoint."""
        if state.position.epoch == state.position.step == 0:
            self._clear()
        self._epoch = state.position.epoch

    def after_epoch(self, state: TrainingState) -> None:
        """Cuts: what is recorded from here on belongs to the next epoch."""
        self._epoch = state.position.epoch + 1

    def tensors(self) -> dict[str, Tensor]:
        """grams `(K, T, T)`, epochs `(K,)`, and the number of steps seen."""
        n = len(self.task_names)
        grams = torch.stack(self._grams) if self._grams else torch.zeros(0, n, n, dtype=torch.float64)
        return {
            "grams": grams,
            "epochs": torch.tensor(self._epochs, dtype=torch.int64),
            "step": torch.tensor(self._step),
        }

    def load_tensors(self, tensors: Mapping[str, Tensor], state: TrainingState) -> None:
        """The inverse of `tensors`."""
        self._grams = [gram.clone() for gram in tensors["grams"]]
        self._epochs, self._step = tensors["epochs"].tolist(), int(tensors["step"])


def sparing_every(n_tasks: int, cost: float = 0.05) -> int:
    """The fewest steps from one record of T tasks to the next that take no more than `cost` of the training time.

    2 T / (3 every) <= cost.

    >>> sparing_every(2), sparing_every(7), sparing_every(31)
    (27, 94, 414)
    """
    return max(1, math.ceil(2 * n_tasks / (3 * cost)))
