"""One A/B in the marketplace, beside the truth about both of its arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.marketplace.experiment import run_experiment
from evaluation.marketplace.lifts import lifts, true_lifts
from evaluation.marketplace.policy import Policy
from evaluation.marketplace.requests import CANDIDATES, SHOWN, draw_requests
from evaluation.marketplace.truth import Truth, true_value
from evaluation.metrics_json import jsonable
from features.world.seeds import generator
from features.world.world import World

# Requests over which the truth of an A/B is averaged: with fewer, their draw would blur it more than the experiment is.
TRUTH_BLOCKS, TRUTH_BLOCK = 10, 20_000


def compare_arms(
    world: World,
    arms: Mapping[str, Policy],
    title: str,
    requests: int,
    seed: int,
    items: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Run the experiment, and ask the truth of other requests of the same days.

    Args:
        world: The marketplace.
        arms: Name -> ranking, the treatment first and the control second.
        title: Of the experiment: it salts the split of the users.
        requests: Of both arms together.
        seed: Of everything drawn.
        items: Ids of the properties to choose candidates from; None = all.

    Returns:
        JSON-able: title, treatment, control, arms (users and requests of each), lifts (rows of `lifts` with the column
        true_lift).
    """
    treatment, control = arms
    experiment = run_experiment(
        world, arms, requests=requests, candidates=CANDIDATES, shown=SHOWN, seed=seed, name=f"ab {title}", items=items
    )
    random = generator(seed, f"truth {title}")
    parts: dict[str, list[Truth]] = {name: [] for name in arms}
    for _ in range(TRUTH_BLOCKS):
        same = draw_requests(world, random, TRUTH_BLOCK, CANDIDATES, items=items)
        for name, policy in arms.items():
            parts[name].append(true_value(world, same, policy, SHOWN))
    truths = {name: Truth.together(found) for name, found in parts.items()}
    truth = true_lifts(truths[treatment], truths[control])
    return {
        "title": title,
        "treatment": treatment,
        "control": control,
        "arms": {n: {"users": len(a.requests), "requests": int(a.requests.sum())} for n, a in experiment.arms.items()},
        "lifts": jsonable(lifts(experiment, treatment, control).merge(truth, on=["head", "measure"])),
    }
