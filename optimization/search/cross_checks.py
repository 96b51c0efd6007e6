"""Nelder-Mead as a cross-check of the Bayesian search: another method, the same number of evaluations.

J. A. Nelder, R. Mead: A simplex method for function minimization. The Computer Journal 7 (1965). A trial of the study
costs milliseconds, so a plain descent is an honest competitor; where both end at the same place, both are believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from optimization.search.space import SearchSpace

STEP = 0.7  # first steps in log-ratios: a share of 0.25 among four moves to 0.40
AT_REST = 1e-2  # log-ratios: the size of a simplex that has come to rest
FLOOR = 1e-2  # smallest proportion the start is given: the log of 0 has no neighbours


def nelder_mead(
    space: SearchSpace, evaluate: Callable[[FloatArray], float], start: npt.ArrayLike, budget: int, seed: int
) -> None:
    """Maximise by Nelder-Mead on log-ratios z of the shares, x = fill(softmax(z)); `evaluate` is called `budget` times.

    The first call is at `start` itself. When the descent has come to rest, it starts again from the best point with
    new first steps, drawn from `seed`, until the budget is used. Which points come depends on the arguments and on what
    `evaluate` returned only, so a study that answers known points from its journal resumes exactly.

    Args:
        space: where to search; every evaluated point lies in it.
        evaluate: score (higher is better) of shares (T,), guardrails included (see `penalised`); NaN counts as lowest.
        start: (T,) shares; off the space, the nearest point is taken.
        budget: number of evaluations, >= 1.
        seed: of the restarts.

    Raises:
        ValueError: budget below 1.

    >>> space = SearchSpace.of({"a": 1, "b": 1})
    >>> tried = []
    >>> nelder_mead(space, lambda x: tried.append(x[0]) or -(x[0] - 0.3) ** 2, [0.5, 0.5], budget=25, seed=0)
    >>> len(tried), float(tried[0]), round(float(min(tried, key=lambda x: abs(x - 0.3))), 2)
    (25, 0.5, 0.3)
    """
    from scipy.optimize import minimize

    if budget < 1:
        raise ValueError(f"`budget` must be >= 1, got {budget}")
    moving = space.movable
    best = space.nearest(start)[0]
    scores: list[float] = []

    def cost(shares: FloatArray) -> float:
        nonlocal best
        score = float(evaluate(shares))
        score = score if np.isfinite(score) else -1e300  # finite: the simplex subtracts costs
        if not scores or score > max(scores):
            best = shares
        scores.append(score)
        return -score

    rng = np.random.default_rng(seed)
    steps = np.full(space.dimensions, STEP)
    while len(scores) < budget:
        corner, asked_before = best, len(scores)
        logs = np.log(np.maximum(corner[moving], FLOOR))
        # Ratios to the largest share: against a share on its way to 0 all of them would have to grow together.
        largest = int(logs.argmax())
        origin = np.delete(logs - logs[largest], largest)

        def ask(
            ratios: FloatArray, origin: FloatArray = origin, corner: FloatArray = corner, largest: int = largest
        ) -> float:
            if np.array_equal(ratios, origin):
                return cost(corner) if not scores else -max(scores)  # a restart knows its first corner
            proportions = space.low  # of heads that do not move: `fill` puts them where they must stand
            proportions[moving] = np.exp(np.insert(ratios, largest, 0.0) - max(float(ratios.max()), 0.0))
            return cost(space.fill(proportions)[0])

        minimize(
            ask,
            origin,
            method="Nelder-Mead",
            options={
                "maxfev": budget - asked_before + (asked_before > 0),
                "initial_simplex": np.vstack([origin, origin + np.diag(steps)]),
                "xatol": AT_REST,
                "fatol": np.inf,
            },
        )
        steps = STEP * rng.choice([-1.0, 1.0], size=space.dimensions) * rng.uniform(0.3, 1.0, size=space.dimensions)


def penalised(objective: float, slacks: Iterable[float], weight: float = 10.0) -> float:
    """objective + weight * min(0, worst slack): what a search without constraints should maximise.

    An exact penalty: from a `weight` that exceeds the price of the guardrails on, its best point is feasible. In
    relative units (objective and slacks divided by the baseline's values) 10 says that a breach of 1 % costs as much as
    10 % of the objective.

    Args:
        objective: higher is better.
        slacks: of the guardrails, >= 0 where they hold.
        weight: > 0.

    >>> penalised(1.0, [0.2, -0.01]), penalised(1.0, [0.2])
    (0.9, 1.0)
    """
    return objective + weight * min(0.0, min(slacks, default=0.0))
