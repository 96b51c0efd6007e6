"""An A/B test in the synthetic marketplace: users are split by hash, each arm's policy ranks, users react."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.marketplace.policy import Policy, show
from evaluation.marketplace.requests import CANDIDATES, SHOWN, WEEK, Requests, draw_requests
from features import Fault, InputError, raise_faults
from features.ids import hash_ids, mix
from features.world.reactions import HEADS, SHARED_NOISE_SD, conditional, react
from features.world.seeds import generator
from features.world.world import World

Floats = NDArray[np.float64]
BLOCK = 8192  # requests worked on at once: the candidates' arrays stay at a few MB


@dataclass(frozen=True)
class Arm:
    """What the users of one arm did, summed per user: the unit that was randomised, and that intervals cluster by.

    Attributes:
        requests: `(U,)` requests of each user who sent any.
        volume: `(U, T)` engagements of each head, in the order of `HEADS`.
        propensity: `(U, T)` requests with at least one engagement of each head.
    """

    requests: Floats
    volume: Floats
    propensity: Floats

    def mean(self, measure: str, values: Mapping[str, float]) -> tuple[float, float]:
        """A measure per request and its standard error, clustered by user.

        The mean m = sum_u y_u / sum_u n_u is a ratio of sums over users; to first order user u adds
        (y_u - m n_u) / sum n to its error (delta method).

        Args:
            measure: "volume" (engagements per request) or "propensity" (share of requests with at least one).
            values: What one of each head counts: `{"click": 1.0}` for clicks, several for a utility.

        Returns:
            (mean, standard error).

        Raises:
            ValueError: a value for a head that the world has not.
        """
        unknown = [head for head in values if head not in HEADS]
        if unknown:
            raise ValueError(f"`values` must name heads among {', '.join(HEADS)}, got {', '.join(unknown)}")
        per_user = {"volume": self.volume, "propensity": self.propensity}[measure]
        y = per_user @ np.array([values.get(head, 0.0) for head in HEADS])
        total = self.requests.sum()
        mean = float(y.sum() / total)
        influence = (y - mean * self.requests) / total
        users = len(y)
        return mean, float(np.sqrt(np.sum(influence**2) * users / (users - 1)))


@dataclass(frozen=True)
class Experiment:
    """The arms of one experiment by name."""

    arms: dict[str, Arm]


def run_experiment(
    world: World,
    policies: Mapping[str, Policy],
    *,
    requests: int,
    candidates: int = CANDIDATES,
    shown: int = SHOWN,
    days: tuple[int, int] = WEEK,
    seed: int = 0,
    name: str = "experiment",
    items: NDArray[np.int64] | None = None,
) -> Experiment:
    """Send fresh requests, let each user's arm rank them, and draw what the users do with what they are shown.

    A candidate that is not among the `shown` is not seen, so it cannot be engaged with.

    Args:
        world: The marketplace.
        policies: Arm -> its ranking; two or more (or one, to see what it does).
        requests: In all arms together; each goes to the arm of its user.
        candidates, shown: C candidates per request, of which the best K are shown at positions 1..K.
        days: (first, end) after the log's end.
        seed: Of the users, the moments, the candidates and the reactions.
        name: Of the experiment: it salts the hash, so that another experiment splits the same users anew.
        items: Ids of the properties to choose candidates from; None = all.

    Returns:
        Sums per user of every arm.

    Raises:
        InputError: as `draw_requests`; fewer than two users in an arm.

    >>> world = World.generate(properties=50, users=200)
    >>> rank = lambda r: -r.items.astype(float)
    >>> found = run_experiment(world, {"a": rank, "b": rank}, requests=300, candidates=8, shown=4)
    >>> sorted(found.arms), int(sum(arm.requests.sum() for arm in found.arms.values()))
    (['a', 'b'], 300)
    """
    raise_faults([] if requests >= 1 else [Fault("`requests` must satisfy requests >= 1", value=requests)])
    random = generator(seed, f"experiment {name}")
    arm_of = split_users(len(world.users), len(policies), f"{seed} {name}")
    users = np.empty(requests, dtype=np.int64)
    happened = np.empty((2, len(HEADS), requests), dtype=np.int16)  # volume and propensity of every request
    for first in range(0, requests, BLOCK):
        rows = slice(first, min(first + BLOCK, requests))
        some = draw_requests(world, random, rows.stop - first, candidates, days=days, items=items)
        users[rows], arm = some.user, arm_of[some.user]
        placed = np.empty((len(some), shown), dtype=np.int64)  # (R, K) the properties in the order shown
        for index, policy in enumerate(policies.values()):
            own = np.flatnonzero(arm == index)
            part = Requests(some.user[own], some.items[own], some.time[own])
            placed[own] = np.take_along_axis(part.items, show(policy(part), shown), axis=1)
        for column, engaged in enumerate(_reactions(world, some, placed, random)):
            happened[0, column, rows] = engaged.sum(1)
            happened[1, column, rows] = engaged.any(1)
    counts = np.bincount(users, minlength=len(world.users)).astype(np.float64)
    volume, propensity = (
        np.stack([np.bincount(users, weights=head, minlength=len(counts)) for head in measure], axis=1).astype(float)
        for measure in happened
    )
    arms = {}
    for index, arm_name in enumerate(policies):
        own = np.flatnonzero((arm_of == index) & (counts > 0))
        if len(own) < 2:
            raise InputError(f"arm {arm_name!r} must have two users or more, got {len(own)}: send more requests")
        arms[arm_name] = Arm(counts[own], volume[own], propensity[own])
    return Experiment(arms)


def split_users(users: int, arms: int, salt: str) -> NDArray[np.int64]:
    """The arm `(U,)` of every user: by a salted hash of the id, so each user has one arm in the whole experiment.

    >>> np.bincount(split_users(10_000, 2, "a")).tolist() == np.bincount(split_users(10_000, 2, "a")).tolist()
    True
    """
    salted = mix(hash_ids(pa.array(np.arange(users))) ^ np.uint64(zlib.crc32(salt.encode())))
    uniform = (salted >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.floor(uniform * arms).astype(np.int64)


def _reactions(
    world: World, requests: Requests, items: NDArray[np.int64], random: np.random.Generator
) -> list[NDArray[np.int8]]:
    """Per head (R, K): what happened to each property shown."""
    shown = items.shape[1]
    drivers = world.drivers(
        np.repeat(requests.user, shown), items.ravel(), np.tile(np.arange(1, shown + 1), len(items)),
        np.repeat(requests.time, shown),
    )  # fmt: skip
    given = conditional(drivers, random.normal(0, SHARED_NOISE_SD, items.size))
    happened = react(given, drivers, random)
    return [happened[head].reshape(items.shape) for head in HEADS]
