"""How the losses of several tasks become one number to minimise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor, nn

from multitask.tasks import Task

WEIGHTINGS = ("equal", "fixed", "inverse_variance", "uncertainty")


class LossWeighting(nn.Module):
    """Maps `(T,)` losses and `(T,)` counts, as `masked_losses` returns them, to one scalar."""

    def forward(self, losses: Tensor, counts: Tensor) -> Tensor:
        raise NotImplementedError


class Equal(LossWeighting):
    """sum_t L_t: the plain choice that [Booking] and [Pinterest 2020] found enough.

    >>> Equal()(torch.tensor([1.0, 2.0]), torch.tensor([8.0, 8.0])).item()
    3.0
    """

    def forward(self, losses: Tensor, counts: Tensor) -> Tensor:
        return losses.sum()


class Fixed(LossWeighting):
    """sum_t TaskWeight(t) L_t, [Pinterest 2020] eq. 2 with weights set by hand.

    Args:
        weights: `(T,)`, finite and not negative, at least one above 0.

    >>> Fixed([1.0, 0.5])(torch.tensor([1.0, 2.0]), torch.tensor([8.0, 8.0])).item()
    2.0
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        for t, weight in enumerate(weights):
            if not (isfinite(weight) and weight >= 0):
                raise ValueError(f"`weights` must be finite and not negative, got {weight} for task {t}")
        if not any(weights):
            raise ValueError(f"`weights` must hold at least one value above 0, got {list(weights)}")
        self.register_buffer("weights", torch.tensor(list(weights), dtype=torch.float32), persistent=False)

    def forward(self, losses: Tensor, counts: Tensor) -> Tensor:
        return (self.weights * losses).sum()


class InverseVariance(LossWeighting):
    """Pseudo-uniform weights: sum CE + sum BCE + sum MSE / var_train [Booking].

    A squared error over its target's variance is 1 for a constant guess, whatever the unit.

    >>> price = Task("price", "regression", variance=400.0)
    >>> InverseVariance([Task("click"), price])(torch.tensor([0.5, 100.0]), torch.tensor([8.0, 8.0])).item()
    0.75
    """

    scale: Tensor

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([1 / task.variance for task in tasks]), persistent=False)

    def forward(self, losses: Tensor, counts: Tensor) -> Tensor:
        return (self.scale * losses).sum()


class Uncertainty(LossWeighting):
    """Homoscedastic uncertainty: every task learns its own noise sigma_t [Kendall 2018].

    sum_classification L / sigma^2 + sum_regression L / (2 sigma^2) + sum log sigma, with s = log sigma^2 learned.
    The minimum over sigma is at sigma^2 = 2 L for a classification and sigma^2 = L for a regression. A task that is
    absent from the batch drops its log sigma too; otherwise its sigma would shrink by not being seen.

    The squared error of a regression is first divided by `Task.variance`, so sigma^2 is a share of the target's
    variance; a price's raw squared error would push s against its bound. s is kept in [-6, 6]: outside, one task's
    weight is beyond e^6 and the sum is that task. The bound is a projection of s before each training step, because
    a clamp in the formula has no gradient outside and would hold s there for good.

    `no_weight_decay` names s for the optimiser's groups: decay would pull every task's noise towards 1.

    >>> two = Uncertainty([Task("click"), Task("price", "regression")])
    >>> two(torch.tensor([0.5, 1.0]), torch.tensor([8.0, 8.0])).item()  # sigma = 1 at first
    1.0
    """

    no_weight_decay: ClassVar[tuple[str, ...]] = ("log_variance",)
    bound: ClassVar[float] = 6.0
    factor: Tensor

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        factor = [(0.5 if task.kind == "regression" else 1.0) / task.variance for task in tasks]
        self.register_buffer("factor", torch.tensor(factor), persistent=False)
        self.log_variance = nn.Parameter(torch.zeros(len(tasks)))  # s = log sigma^2, (T,)

    def forward(self, losses: Tensor, counts: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.log_variance.clamp_(-self.bound, self.bound)
        s = self.log_variance.clamp(-self.bound, self.bound)  # the identity after the projection; for evaluation
        present = (counts > 0).to(losses.dtype)
        return (self.factor * torch.exp(-s) * losses + present * s / 2).sum()


def make_weighting(
    name: str, tasks: Sequence[Task], weights: Mapping[str, float] | Sequence[float] | None = None
) -> LossWeighting:
    """The weighting called `name`: "equal", "fixed", "inverse_variance" or "uncertainty".

    Args:
        name: see `WEIGHTINGS`.
        tasks: the T tasks.
        weights: for "fixed" only, and needed there: one weight per task, by name or in the tasks' order.

    Raises:
        ValueError: if the name is unknown, or the weights do not name every task exactly once.

    >>> make_weighting("fixed", [Task("click"), Task("save")], {"save": 2.0, "click": 1.0}).weights.tolist()
    [1.0, 2.0]
    """
    if name not in WEIGHTINGS:
        raise ValueError(f"`name` of a weighting must be one of {WEIGHTINGS}, got {name!r}")
    if name != "fixed" and weights is not None:
        raise ValueError(f"`weights` must be left out with the weighting {name!r}, got {weights!r}")
    if name == "equal":
        return Equal()
    if name == "inverse_variance":
        return InverseVariance(tasks)
    if name == "uncertainty":
        return Uncertainty(tasks)
    names = [task.name for task in tasks]
    if weights is None:
        raise ValueError(f"`weights` must give one weight for each of {names} with the weighting 'fixed', got None")
    if isinstance(weights, Mapping):
        if set(weights) != set(names):
            raise ValueError(f"`weights` must name exactly {names}, got {list(weights)}")
        weights = [weights[task] for task in names]
    if len(weights) != len(names):
        raise ValueError(f"`weights` must give one weight for each of {names}, got {len(weights)}")
    return Fixed(list(weights))
