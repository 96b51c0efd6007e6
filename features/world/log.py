"""The log: requests, the candidates shown to them, what the users did, and how probable that truly was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import raise_faults
from features.world.checks import log_faults
from features.world.policy import draw_candidates, draw_queries, order_by_plackett_luce, position_propensity
from features.world.reactions import HEADS, SHARED_NOISE_SD, conditional, marginal, react
from features.world.seeds import generator
from features.world.world import DAY, START, World

ROLES = ("train", "calibrate", "tune", "test")
ROLE_FRACTIONS = (0.6, 0.15, 0.1, 0.15)
SAMPLED_ROLES = ("train", "calibrate")
BLOCK_ROWS = 65_536
EVENTS = (*HEADS, "any")


def draw_log(world: World, *, requests: int, candidates: int, negative_rate: float = 1.0) -> Iterator[pa.Table]:
    """The log of a world in the order of time, a block of whole requests at a time.

    Candidates are a uniform draw from all properties, ordered by Plackett-Luce over the world's `policy_score`. The
    first 60 % of the requests have role train, then 15 % calibrate, 10 % tune, 15 % test. With `negative_rate` < 1,
    rows of train and calibrate without any engagement are kept with that probability, and `keep_prob` says so.

    In a world with a query every request looks at a property that is none of its candidates, at random.

    Columns: request_id, user_id, item_id, query_item_id (only in a world with a query), timestamp (int64), position
    (int32), role (string), closeup, click, long_click, save (int8), propensity (of the item at its position), keep_prob
    (float64; only if negative_rate < 1), and in float32 what is true: true_* the probabilities marginal over the shared
    noise, conditional_* given it, true_affinity, true_taste_match, true_mismatch, true_photo_quality.

    Parameters
    ----------
    world : World
    requests, candidates : int
        Requests in the log; candidates of each, at most the world's properties.
    negative_rate : float
        alpha, 0 < alpha <= 1.

    Yields
    ------
    pa.Table
        About 65,536 rows before sampling.

    Raises
    ------
    InputError
        Naming every argument out of range.

    Examples
    --------
    >>> world = World.generate(properties=50, users=10)
    >>> log = pa.concat_tables(draw_log(world, requests=3, candidates=5))
    >>> log.num_rows, log["position"].to_pylist()[:5]
    (15, [1, 2, 3, 4, 5])
    """
    size = len(world.properties)
    raise_faults(
        log_faults(
            requests=requests, candidates=candidates, properties=size, negative_rate=negative_rate, query=world.query
        )
    )
    return _blocks(world, requests, candidates, negative_rate)


def _blocks(world: World, requests: int, candidates: int, negative_rate: float) -> Iterator[pa.Table]:
    arrivals = generator(world.seed, "requests")
    time = START + np.sort(arrivals.integers(0, world.days * DAY, requests))
    user = arrivals.integers(0, len(world.users), requests)
    # role of each request by its place in time; the edges are rounded so that .6 + .15 means what it says
    edges = np.round(np.cumsum(ROLE_FRACTIONS)[:-1] * requests)
    role = np.searchsorted(edges, np.arange(requests), side="right")
    parts = {part: generator(world.seed, part) for part in ("candidates", "order", "outcomes", "sampling", "queries")}
    step = max(1, BLOCK_ROWS // candidates)
    for first in range(0, requests, step):
        block = np.arange(first, min(first + step, requests))
        shown = draw_candidates(parts["candidates"], len(block), candidates, len(world.properties))
        looked_at = {}
        if world.query > 0:
            query = draw_queries(parts["queries"], shown, len(world.properties))
            looked_at["query_item_id"] = np.repeat(query, candidates)
        order = order_by_plackett_luce(parts["order"], world.policy_score[shown])
        shown = np.take_along_axis(shown, order, axis=1)  # (R, C) in the order shown
        columns: dict[str, NDArray] = {
            "request_id": np.repeat(block, candidates),
            "user_id": np.repeat(user[block], candidates),
            "item_id": shown.ravel(),
            **looked_at,
            "timestamp": np.repeat(time[block], candidates),
            "position": np.tile(np.arange(1, candidates + 1, dtype=np.int32), len(block)),
        }
        labels, truth = _reactions(world, columns, parts["outcomes"])
        propensity = position_propensity(world.policy_score[shown]).ravel()
        columns |= labels | {"propensity": propensity.astype(np.float32)}
        block_role = np.repeat(role[block], candidates)
        # drawn also where nothing is dropped: the same engagements come with every rate
        uniform = parts["sampling"].random(len(block_role))
        keep = np.ones(len(block_role), dtype=bool)
        if negative_rate < 1:
            engaged = (labels["closeup"] | labels["click"] | labels["save"]) == 1
            sampled = np.isin(block_role, [ROLES.index(name) for name in SAMPLED_ROLES]) & ~engaged
            columns["keep_prob"] = np.where(sampled, negative_rate, 1.0)
            keep = ~sampled | (uniform < negative_rate)
        table = pa.table({name: values[keep] for name, values in (columns | truth).items()})
        names = pa.array(ROLES).take(pa.array(block_role[keep]))
        yield table.add_column(table.column_names.index("position") + 1, "role", names)


def _reactions(
    world: World, columns: dict[str, NDArray], random: np.random.Generator
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """What happened, and the truth about it: (labels, true columns)."""
    drivers = world.drivers(columns["user_id"], columns["item_id"], columns["position"], columns["timestamp"],
                            columns.get("query_item_id"))  # fmt: skip
    average = marginal(drivers)
    given = conditional(drivers, random.normal(0, SHARED_NOISE_SD, len(columns["item_id"])))
    truth = {f"true_{event}": getattr(average, event) for event in EVENTS}
    truth |= {f"conditional_{event}": getattr(given, event) for event in EVENTS}
    truth |= {"true_affinity": drivers.affinity, "true_taste_match": drivers.taste_match,
              "true_mismatch": drivers.mismatch, "true_photo_quality": drivers.photo_quality}  # fmt: skip
    labels = react(given, drivers, random)
    return dict(labels), {name: values.astype(np.float32) for name, values in truth.items()}
