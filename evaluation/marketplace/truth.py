"""What a ranking is truly worth: expected engagements from the world's own probabilities, without a single draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.marketplace.policy import Policy, show
from evaluation.marketplace.requests import Requests
from features.world.reactions import HEADS, Probabilities
from features.world.world import World

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Per request and head (closeup, click, long_click, save), exactly.

    Attributes:
        volume: `(R, T)` expected engagements, sum_k p_k over what is shown.
        propensity: `(R, T)` probability of at least one, 1 - prod_k (1 - p_k): properties engage independently.
    """

    volume: Floats
    propensity: Floats

    @classmethod
    def together(cls, parts: Sequence[Truth]) -> Truth:
        """The truth about several sets of requests as one."""
        return cls(np.concatenate([p.volume for p in parts]), np.concatenate([p.propensity for p in parts]))


def true_value(world: World, requests: Requests, policy: Policy, shown: int) -> Truth:
    """What users are expected to do when `policy` shows its `shown` best candidates at positions 1, 2, ...

    >>> from features.world import World
    >>> from evaluation.marketplace.requests import draw_requests
    >>> world = World.generate(properties=50, users=10)
    >>> some = draw_requests(world, np.random.default_rng(0), 4, 6)
    >>> true_value(world, some, lambda r: np.zeros(r.items.shape), shown=3).volume.shape
    (4, 4)
    """
    items = np.take_along_axis(requests.items, show(policy(requests), shown), axis=1)  # (R, K)
    p = _probabilities(world, requests, items, np.arange(1, shown + 1)[None, :])
    stacked = np.stack([getattr(p, head).reshape(items.shape) for head in HEADS], axis=2)  # (R, K, T)
    return Truth(volume=stacked.sum(1), propensity=1 - np.prod(1 - stacked, axis=1))


class ValueTable:
    """The expected value of every candidate at every position, so that a ranking costs one sort and one gather.

    Args:
        world: Whose truth it is.
        requests: R of them with C candidates; the table has R x C x K numbers of 4 bytes.
        values: What one engagement of each head is worth; a head that is not named is worth nothing.
        shown: K positions.

    Raises:
        ValueError: a value for a head that the world has not.
    """

    def __init__(self, world: World, requests: Requests, values: Mapping[str, float], shown: int) -> None:
        unknown = [head for head in values if head not in HEADS]
        if unknown:
            raise ValueError(f"`values` must name heads among {', '.join(HEADS)}, got {', '.join(unknown)}")
        self.requests, self.shown = requests, shown
        self.table = np.empty((shown, *requests.items.shape), dtype=np.float32)  # (K, R, C)
        for position in range(1, shown + 1):
            p = _probabilities(world, requests, requests.items, np.full((1, 1), position))
            total = sum(value * getattr(p, head) for head, value in values.items())
            self.table[position - 1] = np.asarray(total).reshape(requests.items.shape)

    def of(self, policy: Policy) -> Floats:
        """sum_h value_h x expected engagements of h, `(R,)`, when the policy ranks these requests."""
        columns = show(policy(self.requests), self.shown)  # (R, K)
        rows = np.arange(len(columns))
        return np.asarray(sum(self.table[k, rows, columns[:, k]].astype(np.float64) for k in range(self.shown)))


def _probabilities(world: World, requests: Requests, items: NDArray[np.int64], position: NDArray) -> Probabilities:
    """True probabilities of `items` `(R, M)` at positions that broadcast with them."""
    each = items.shape[1]
    return world.probabilities(
        user=np.repeat(requests.user, each),
        item=items.ravel(),
        position=np.broadcast_to(position, items.shape).ravel(),
        time=np.repeat(requests.time, each),
    )
