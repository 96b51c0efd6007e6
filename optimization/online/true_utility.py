"""What weights are truly worth in a synthetic marketplace, and the best that any search could find there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from evaluation.marketplace.policy import RankerTable
from evaluation.marketplace.requests import CANDIDATES, SHOWN, WEEK, draw_requests
from evaluation.marketplace.truth import ValueTable
from features.world.seeds import generator
from features.world.world import World
from optimization.search.space import SearchSpace


class TrueUtility:
    """True expected utility per request of a ranker's weights, over one set of requests for all weights.

        U(w) = mean over requests of sum_h value_h x expected engagements of h when ranked by sum_t w_t p_t

    The expectation is the world's own (`ValueTable`), the p_t are the ranker's: what its probabilities get wrong, no
    weights can mend. All weights meet the same requests, so differences between them have small errors.

    Args:
        world: Whose users answer.
        ranker: Its probabilities.
        values: What one engagement of each head is worth.
        requests, candidates, shown, days: Of the fresh requests, as in `run_experiment`.
        seed: Of their draw.
        part: Names the draw: another part, other requests.
    """

    def __init__(
        self,
        world: World,
        ranker: RankerTable,
        values: Mapping[str, float],
        *,
        requests: int = 10_000,
        candidates: int = CANDIDATES,
        shown: int = SHOWN,
        days: tuple[int, int] = WEEK,
        seed: int = 0,
        part: str = "judge",
    ) -> None:
        self.ranker = ranker
        random = generator(seed, f"true utility {part}")
        self._truth = ValueTable(world, draw_requests(world, random, requests, candidates, days=days), values, shown)

    def per_request(self, weights: npt.ArrayLike) -> FloatArray:
        """`(R,)` expected utility of every request under weights `(T,)` in the order of the ranker's heads."""
        mix = dict(zip(self.ranker.heads, np.asarray(weights, dtype=np.float64).tolist(), strict=True))
        return self._truth.of(self.ranker.policy(mix))

    def mean(self, weights: npt.ArrayLike) -> float:
        """U of weights `(T,)`."""
        return float(self.per_request(weights).mean())


def oracle_weights(utility: TrueUtility, space: SearchSpace, *, sweep: int = 256, polish: int = 60) -> FloatArray:
    """The weights `(T,)` of the highest true utility that a dense search finds: nobody has this in production.

    A Sobol sweep over the space, then Nelder-Mead from its best point in log-ratio coordinates (the utility of a finite
    set of requests is piecewise constant, so nothing finer is of use). Search on other requests than those that judge:
    the best of many on the same requests would look better than it is. It is no upper bound: on 10,000 requests the
    defaults came .02 % short of a search twice as dense on 40,000, so regrets below that mean no more than 0.

    Args:
        utility: On its own requests.
        space: The weights allowed; its heads are the ranker's, in the same order.
        sweep: Sobol points.
        polish: Evaluations of Nelder-Mead.

    Raises:
        ValueError: other heads than the ranker's.
    """
    from scipy.optimize import minimize

    if space.heads != utility.ranker.heads:
        raise ValueError(f"`space` must have the heads {utility.ranker.heads}, got {space.heads}")
    shares = space.sobol(sweep, seed=0)
    worth = [utility.mean(weights) for weights in space.weights(shares)]
    best = shares[int(np.argmax(worth))]

    def loss(logits: FloatArray) -> float:
        return -utility.mean(space.weights(space.fill(np.exp(logits - logits.max())))[0])

    found = minimize(loss, np.log(np.maximum(best, 1e-4)), method="Nelder-Mead", options={"maxfev": polish})
    if -found.fun <= max(worth):
        return space.weights(best)[0]
    return space.weights(space.fill(np.exp(found.x - found.x.max())))[0]
