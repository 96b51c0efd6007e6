"""Listening to the gradients at the branching point of a network while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from multitask.sharing.branches import Branches
from multitask.sharing.signals import (
    DEFAULT_RANK,
    SIGNALS,
    gradient_cores,
    response_rows,
    tt_input_similarity,
    weight_gradient,
)


class Capture:
    """Sums a signal's similarities K `(G, G)` over training steps.

    Each step's backward pass leaves what it adds as `pending`; it is added when the next step begins or `total` is
    asked for. So what counts is the last gradient that came by: gradients that somebody else takes of the same graph
    before the step's backward pass (an `InterferenceRecorder`) are not counted.

    Args:
        branches: where to listen; one forward pass per step is expected.
        signal: one of `SIGNALS`.
        rank: singular vectors, for "tt_input" and "gradient" only; None = 4.
        every: listen at every so many steps.

    >>> branches = Branches(3, 8, hidden=(4,))
    >>> capture = Capture(branches)
    >>> with capture.step():
    ...     loss = branches(torch.randn(5, 8)).square().mean()
    >>> loss.backward()
    >>> capture.total().shape
    torch.Size([3, 3])
    """

    def __init__(self, branches: Branches, signal: str = "response", rank: int | None = None, every: int = 1) -> None:
        if signal not in SIGNALS:
            raise ValueError(f"`signal` must be one of {SIGNALS}, got {signal!r}")
        if signal == "response" and rank is not None:
            raise ValueError(f"`rank` must be left out with the signal 'response', got {rank}")
        if rank is not None and rank < 1:
            raise ValueError(f"`rank` must be at least 1, got {rank}")
        if every < 1:
            raise ValueError(f"`every` must be at least 1, got {every}")
        self.branches, self.signal, self.rank, self.every = branches, signal, rank or DEFAULT_RANK, every
        self.steps = 0
        self.sum: Tensor | None = None  # (G, G) float64
        self.pending: Tensor | None = None  # K itself for "tt_input", else F `(G, n)` with K = F F^T

    @contextmanager
    def step(self) -> Iterator[None]:
        """The block holds one training step's forward pass."""
        self._commit()
        listen = self.steps % self.every == 0
        self.steps += 1
        if not listen:
            yield
            return
        handle = self.branches.tap.register_forward_hook(self._attach)
        try:
            yield
        finally:
            handle.remove()

    def total(self) -> Tensor:
        """`(G, G)` the sum so far, in float64."""
        self._commit()
        if self.sum is None:
            groups = self.branches.n_groups
            self.sum = torch.zeros(groups, groups, dtype=torch.float64, device=self.branches.group_of.device)
        return self.sum

    def clear(self) -> None:
        """Forgets the sum: the next epoch begins."""
        self.sum, self.pending, self.steps = None, None, 0

    def _commit(self) -> None:
        pending, self.pending = self.pending, None
        if pending is None:
            return
        if self.sum is None:
            groups = len(pending)
            self.sum = pending.new_zeros(groups, groups)
        if self.signal == "tt_input":
            self.sum.add_(pending)
        else:
            self.sum.addmm_(pending, pending.T)

    def _attach(self, _module: nn.Module, inputs: tuple[Any, ...], z: Tensor) -> None:
        if not z.requires_grad:
            return
        x = inputs[1].detach() if self.signal != "response" else None

        def keep(dz: Tensor) -> None:
            self.pending = self._signal(dz.detach(), x)

        z.register_hook(keep)

    def _signal(self, dz: Tensor, x: Tensor | None) -> Tensor:
        """`pending` from dz `(G, B, out)`, or `(T, B, out)` if every task has its own input."""
        of_groups = dz.shape[0] == self.branches.n_groups
        if x is None:
            return response_rows(dz if of_groups else self._sum_of_groups(dz.float().square()).sqrt())
        gradient = weight_gradient(dz, x)
        gradient = gradient if of_groups else self._sum_of_groups(gradient)
        return (tt_input_similarity if self.signal == "tt_input" else gradient_cores)(gradient, self.rank)

    def _sum_of_groups(self, of_tasks: Tensor) -> Tensor:
        """`(T, ...)` to `(G, ...)`: a group's are those of all its tasks."""
        sums = of_tasks.new_zeros(self.branches.n_groups, *of_tasks.shape[1:])
        return sums.index_add_(0, self.branches.group_of, of_tasks)
