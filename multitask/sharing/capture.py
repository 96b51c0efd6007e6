"""Listening to the gradients at the branching point of a network while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Self

import torch
from torch import Tensor

from multitask.sharing.branches import Branches
from multitask.sharing.signals import (
    DEFAULT_RANK,
    SIGNALS,
    gradient_cores,
    response_rows,
    tt_input_similarity,
    weight_gradient,
)
from multitask.sharing.step_sum import StepSum


class Capture:
    """Sums a signal's similarities K `(G, G)` over training steps.

    Each step's backward pass leaves what it adds as `pending`; it is added when the next step begins or the sum is
    asked for. So what counts is the last gradient that came by: gradients that somebody else takes of the same graph
    before the step's backward pass (an `InterferenceRecorder`) are not counted.

    Args:
        branches: where to listen; of several forward passes in a step each counts with its rows.
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
        self.sum = StepSum(_of_responses if signal == "response" else _of_similarities)
        self.pending: dict[int, Tensor] = {}  # by forward pass: m `(G, B)` for "response", else K `(G, G)`
        self.passes = 0

    def step(self) -> Self:
        """For `with`: the block holds one training step's forward pass."""
        return self

    def __enter__(self) -> None:
        self._commit()
        if self.steps % self.every == 0:
            self.branches.listeners.add(self._listen)
        self.steps += 1

    def __exit__(self, *_: object) -> None:
        self.branches.listeners.discard(self._listen)

    def total(self) -> Tensor:
        """`(G, G)` the sum so far, in float64."""
        self._commit()
        total, groups = self.sum.total(), self.branches.n_groups
        if total is None:
            return torch.zeros(groups, groups, dtype=torch.float64, device=self.branches.group_of.device)
        return total

    def clear(self) -> None:
        """Forgets the sum: the next epoch begins."""
        self.sum.clear()
        self.pending, self.steps = {}, 0

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint, with `steps`."""
        self._commit()
        return self.sum.tensors("similarity")

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `tensors` gave."""
        self.pending = {}
        self.sum.load("similarity", tensors, self.branches.group_of.device)

    def _commit(self) -> None:
        for term in self.pending.values():
            self.sum.add(term)
        self.pending, self.passes = {}, 0

    def _listen(self, z: Tensor, x: Tensor) -> None:
        """Called in the forward pass, see `Branches`."""
        if not z.requires_grad:
            return
        if self.signal == "response":
            z.register_hook(partial(self._note_response, self.passes, x.ndim == 3))
        else:
            z.register_hook(partial(self._note_weight_gradient, self.passes, x.detach()))
        self.passes += 1

    def _note_response(self, number: int, own_inputs: bool, dz: Tensor) -> None:
        """From dz `(G, B, out)`, or `(T, B, out)` if every task has its own input."""
        m = response_rows(dz.detach())
        self.pending[number] = self._sum_of_groups(m.square()).sqrt() if own_inputs else m

    def _note_weight_gradient(self, number: int, x: Tensor, dz: Tensor) -> None:
        """The same for the signals that need dL/dW."""
        gradient = weight_gradient(dz.detach(), x)
        if x.ndim == 3:
            gradient = self._sum_of_groups(gradient)
        if self.signal == "tt_input":
            self.pending[number] = tt_input_similarity(gradient, self.rank)
        else:
            cores = gradient_cores(gradient, self.rank)
            self.pending[number] = cores @ cores.T

    def _sum_of_groups(self, of_tasks: Tensor) -> Tensor:
        """`(T, ...)` to `(G, ...)`: a group's are those of all its tasks."""
        sums = of_tasks.new_zeros(self.branches.n_groups, *of_tasks.shape[1:])
        return sums.index_add_(0, self.branches.group_of, of_tasks)


def _of_responses(terms: list[Tensor]) -> Tensor:
    """K = M M^T from the columns M of several steps, m `(G, B)` each."""
    m = torch.cat(terms, dim=1)
    return m @ m.T


def _of_similarities(terms: list[Tensor]) -> Tensor:
    """The sum of several steps' K `(G, G)`."""
    return torch.stack(terms).sum(0)
