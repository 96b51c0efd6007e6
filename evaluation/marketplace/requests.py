"""Requests that nobody has answered yet: who asks, when, and which properties could be shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import Fault, InputError
from features.world.policy import draw_candidates
from features.world.world import DAY, START, World

WEEK = (0, 7)  # days after the log's end
# A request has more candidates than places, as a feed has: were all of them shown, a ranking would decide their
# positions only, and engagements that do not depend on the position (saves) would be the same under every policy.
CANDIDATES, SHOWN = 60, 10


@dataclass(frozen=True)
class Requests:
    """R requests with C candidates each.

    Attributes:
        user: `(R,)` user ids.
        items: `(R, C)` ids of different properties, each row ascending.
        time: `(R,)` seconds, as `World.probabilities` takes them.
    """

    user: NDArray[np.int64]
    items: NDArray[np.int64]
    time: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)


def draw_requests(
    world: World,
    random: np.random.Generator,
    requests: int,
    candidates: int,
    *,
    days: tuple[int, int] = WEEK,
    items: NDArray[np.int64] | None = None,
) -> Requests:
    """Fresh requests from after the end of the world's log: users, candidates and moments are uniform draws.

    A log of this world draws its candidates alike, so a ranker fitted on it meets nothing that it was not trained for.

    Args:
        world: Without query items.
        random: Where the draws come from.
        requests: R >= 1.
        candidates: C, at most the number of properties to choose from.
        days: (first, end) after the log's end, 0 <= first < end; the drift of tastes goes on.
        items: Ids of the properties to choose from; None = all of them.

    Raises:
        InputError: an argument out of range, all of them at once; a world whose requests look at a property.

    >>> world = World.generate(properties=50, users=10)
    >>> some = draw_requests(world, np.random.default_rng(0), 3, 5)
    >>> some.items.shape, bool((some.time >= START + 28 * DAY).all())
    ((3, 5), True)
    """
    pool = np.arange(len(world.properties)) if items is None else np.unique(items)
    faults = []
    if world.query > 0:
        faults.append(
            Fault("requests of a world with query items cannot be drawn: `query` must be 0", value=world.query)
        )
    if requests < 1:
        faults.append(Fault("`requests` must satisfy requests >= 1", value=requests))
    if not 0 <= days[0] < days[1]:
        faults.append(Fault("`days` must satisfy 0 <= first < end", value=days))
    if not 1 <= candidates <= len(pool):
        faults.append(Fault(f"`candidates` must satisfy 1 <= candidates <= properties = {len(pool)}", value=candidates))
    if faults:
        raise InputError(faults)
    return Requests(
        user=random.integers(0, len(world.users), requests),
        items=pool[draw_candidates(random, requests, candidates, len(pool))],
        time=START + world.days * DAY + random.integers(days[0] * DAY, days[1] * DAY, requests),
    )
