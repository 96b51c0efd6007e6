"""The next round: a control with the baseline, and treatment groups, pseudo-random at first and then by the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.checks import FloatArray
from optimization.online.model import OBJECTIVE, Arms, Posterior, choose, expected_lifts, slack_names
from optimization.online.store import CONTROL, REPEAT, TREATMENT, RoundState, round_record
from optimization.search.ax_search import Propose
from optimization.search.space import SearchSpace

DECIMALS = 6


def next_round(state: RoundState, propose: Propose, posterior: Posterior, *, confirm: bool = False) -> dict[str, Any]:
    """The record of the round after those in `state`, a pure function of it.

    Args:
        state: The experiment so far; the numbers of its last round may be incomplete.
        propose: The search.
        posterior: Its model, which says which weights are the best so far.
        confirm: Repeat these in one of the groups, unless they are the baseline, which is measured anyway.
    """
    design, number = state.design, state.rounds + 1
    count, space = design.groups, design.space
    arms = Arms.of(state)
    observations = arms.observations(state)
    repeated = shares = np.zeros((0, len(space.heads)))
    if len(observations) < 2:  # nothing to learn from: the first round, or one whose groups were all given up
        how, shares = "sobol", space.sobol(count * number, design.seed)[-count:]
    else:
        how = "model"
        if confirm:
            chosen = choose(arms, expected_lifts(arms, state, posterior))
            repeated = arms.weights[[chosen] if chosen else []]
        if wanted := count - len(repeated):
            shares = propose(
                space, observations, objectives=(OBJECTIVE,), constraints=slack_names(state), count=wanted,
                seed=round_seed(design.seed, number),
            )  # fmt: skip
    baseline = np.array([design.baseline[head] for head in design.heads])
    weights = np.vstack([baseline, repeated, space.weights(plain_shares(space, shares))])
    kinds = [CONTROL, *[REPEAT] * len(repeated), *[TREATMENT] * len(shares)]
    return round_record(number, how, kinds, weights.tolist())


def round_seed(seed: int, number: int) -> int:
    """The seed of one round's proposal: a resumed experiment proposes what an uninterrupted one would have."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def plain_shares(space: SearchSpace, shares: FloatArray) -> FloatArray:
    """Shares (V, T) of six decimals, which people copy and platforms store without loss, where the space allows it.

    >>> plain_shares(SearchSpace.of({"click": 1, "save": 1}), np.array([[1 / 3, 2 / 3]])).tolist()
    [[0.333333, 0.666667]]
    """
    plain = np.round(shares, DECIMALS)
    rows, largest = np.arange(len(plain)), plain.argmax(axis=1)
    plain[rows, largest] = 0.0
    plain[rows, largest] = np.round(1.0 - plain.sum(axis=1), DECIMALS)
    return np.where(space.contains(plain)[:, None], plain, shares)
