"""The losses of the last steps, kept on the device until they are read together."""

from __future__ import annotations

import time

import torch
from torch import Tensor

WINDOW_STEPS, WINDOW_SECONDS = 50, 0.5


class LossWindow:
    """Up to `WINDOW_STEPS` losses. Reading one waits for the device to catch up, so they are read rarely.

    It also keeps the time between two readings, which is the time that the steps took.

    >>> window = LossWindow(torch.device("cpu"))
    >>> window.add(torch.tensor(0.5))
    >>> window.read()[0]
    [0.5]
    """

    def __init__(self, device: torch.device) -> None:
        self.losses = torch.zeros(WINDOW_STEPS, device=device)
        self.pending = 0  # losses that were not read yet
        self.marked = time.perf_counter()  # when the window was read last, seconds

    def start(self) -> None:
        """The time runs from now on."""
        self.marked = time.perf_counter()

    def add(self, loss: Tensor) -> None:
        """Appends a scalar."""
        self.losses[self.pending] = loss.detach()
        self.pending += 1

    @property
    def due(self) -> bool:
        """Whether it is full, or has not been read for `WINDOW_SECONDS`."""
        return self.pending == WINDOW_STEPS or time.perf_counter() - self.marked > WINDOW_SECONDS

    def read(self) -> tuple[list[float], float]:
        """The losses since the last reading, in the steps' order, and the seconds since then; it is empty after."""
        values = self.losses[: self.pending].tolist()
        self.pending = 0
        now = time.perf_counter()
        seconds, self.marked = now - self.marked, now
        return values, seconds
