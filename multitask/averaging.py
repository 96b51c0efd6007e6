"""Averaged weights: the exponential moving average of a training run's steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """v <- d v + (1 - d) w, a moving average of the weights w over the steps of a run [Polyak 1992].

    Averaging takes the noise of the last batches out of the weights; on sampled logs it is also what keeps the
    predicted rates near the observed ones. Two changes against the plain recursion:

    - it is updated every `every` steps with d^every: the same horizon, at 1/every of the cost;
    - d is at most (1 + n) / (10 + n) after n steps, and v starts as w: the average covers the last tenth of a run
      that is shorter than its horizon, instead of the random start (no bias to correct).

    `torch.optim.swa_utils.AveragedModel` copies the whole model and has no such warm-up.

    Args:
        parameters: the live weights; the average has the same shapes and devices. None of them = nothing is averaged.
        decay: d per step, 0 <= d < 1.
        every: steps between updates.

    >>> weight = torch.zeros(1)
    >>> average = WeightAverage([weight], decay=0.5, every=1)
    >>> for value in (1.0, 3.0):
    ...     _ = weight.fill_(value)
    ...     average.step()
    >>> round(average.values[0].item(), 3)  # d = 3/12 after 2 steps: 0.25 * 1 + 0.75 * 3
    2.5
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float, every: int = 1) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must satisfy 0 <= decay < 1, got {decay}")
        if every < 1:
            raise ValueError(f"`every` must be at least 1, got {every}")
        self.parameters = list(parameters)
        self.values = [parameter.detach().clone() for parameter in parameters]
        self.decay, self.every, self.steps = decay, every, 0

    def step(self) -> None:
        """Counts one optimiser step, and updates the average if it is time."""
        self.steps += 1
        if self.steps % self.every:
            return
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps)) ** self.every
        if self.steps == self.every:  # the first update forgets the start
            decay = 0.0
        if self.values:
            with torch.no_grad():
                torch._foreach_lerp_(self.values, self.parameters, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the live weights and the average, in place."""
        for live, average in zip(self.parameters, self.values, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)

    def replace(self, parameter: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        """The average of `parameter` becomes `change(average)`; nothing if it is not averaged."""
        for i, own in enumerate(self.parameters):
            if own is parameter:
                self.values[i] = change(self.values[i]).clone(memory_format=torch.contiguous_format)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The live weights are the average inside the block, and themselves again after it.

        Before the first update there is no average: the weights stay as they are.
        """
        if self.steps < self.every:
            yield
            return
        self.swap()
        try:
            yield
        finally:
            self.swap()
