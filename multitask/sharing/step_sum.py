"""A sum over training steps that takes hardly any time of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

STEPS = 16


class StepSum:
    """Keeps a small tensor of each training step, and adds what `STEPS` of them amount to at a time.

    Between the large operations of a step a small one finds cold caches and costs several times what it does alone: so
    a step is left with as few as possible. It is always the first sixteen steps that are added together, the next
    sixteen and so on, also if `total` or `tensors` are asked for in between: a resumed run goes on to the same bits.

    Args:
        amount: from the terms of some steps, what they add, in float64.

    >>> squares = StepSum(lambda terms: torch.cat(terms, dim=1).double().square().sum(1))
    >>> squares.add(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
    >>> squares.add(torch.tensor([[3.0], [0.0]]))
    >>> squares.total()
    tensor([14.,  1.], dtype=torch.float64)
    """

    def __init__(self, amount: Callable[[list[Tensor]], Tensor]) -> None:
        self.amount = amount
        self.clear()

    def clear(self) -> None:
        """Forgets all steps."""
        self.added: Tensor | None = None
        self.terms: list[Tensor] = []

    def add(self, term: Tensor) -> None:
        """A step's matrix, which must not be changed afterwards; all have as many rows."""
        self.terms.append(term)
        if len(self.terms) == STEPS:
            self.added, self.terms = self.total(), []

    def total(self) -> Tensor | None:
        """The sum so far, None before the first step."""
        if not self.terms:
            return self.added
        amount = self.amount(self.terms)
        return amount if self.added is None else self.added + amount

    def tensors(self, name: str) -> dict[str, Tensor]:
        """For a checkpoint: `name`, what is added; `name.terms` and `name.sizes`, what is not yet."""
        held = {} if self.added is None else {name: self.added}
        if self.terms:
            held[f"{name}.terms"] = torch.cat(self.terms, dim=1)
            held[f"{name}.sizes"] = torch.tensor([term.shape[1] for term in self.terms])
        return held

    def load(self, name: str, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Takes back what `tensors` gave."""
        self.clear()
        if name in tensors:
            self.added = tensors[name].to(device, copy=True)
        if f"{name}.terms" in tensors:
            terms = tensors[f"{name}.terms"].to(device, copy=True)
            self.terms = list(terms.split(tensors[f"{name}.sizes"].tolist(), dim=1))
