"""Whoever watches a training run between its epochs, and may change the model there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from multitask.resume import TrainingState


class Observer:
    """Called by `fit` around the epochs of one run; every method does nothing by default.

    An observer may change the model's parameters, also their shapes, through `TrainingState.replace`: then the
    optimiser's moments and the averaged weights follow. It says so by `TrainingState.forget_best`, and the best epoch
    is one of those after the change. No step's graph outlives a change: whoever logs losses detaches them.

    Under `torchrun` every process calls its own observer, and all must make the same change: sum over the processes
    what decides about it first (`distributed.gather_to_all`).

    >>> class Rates(Observer):
    ...     def __init__(self):
    ...         self.losses = []
    ...     def after_epoch(self, state):
    ...         self.losses.append(state.position.history.epochs[-1].train_loss)
    """

    def before_training(self, state: TrainingState) -> None:
        """Once, before the first step; after `load_tensors` and all the rest where the run is resumed."""

    def after_epoch(self, state: TrainingState) -> None:
        """After every epoch, the last one too: it has been validated and no checkpoint of it written yet.

        `state.position.epoch` is the number (from 0) of the epoch that has just ended; the model is in evaluation mode
        and holds its own weights, not the averaged ones. `state.position.finished`: it is the last of
        `config.epochs`, and nothing that is changed now is trained or validated any more. Whether the run stops early
        is decided after the observers.
        """

    def settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that wrote the checkpoint, by name; plain JSON."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, by name; asked for within an epoch too. Any shapes, on any device.

        Under `torchrun` each process's tensors are kept and given back to that process.
        """
        return {}

    def load_tensors(self, tensors: dict[str, Tensor], state: TrainingState) -> None:
        """Takes back what `tensors` gave, on the CPU, when a run is resumed.

        `state.position` is the checkpoint's already; the model, the optimiser and the average are not: they are
        compared with the checkpoint and loaded right after this. An observer that had changed shapes must bring the
        model to the checkpoint's shapes here, by `state.replace`; which numbers fill them does not matter.
        """
