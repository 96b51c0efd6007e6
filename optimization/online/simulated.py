"""The loop of online rounds, played in a synthetic marketplace: what do k groups a round find, judged by the truth?

[Pinterest 2020] closes with the plan: pseudo-random weights for the first treatment groups, a Bayesian model of their
metrics, candidates of the model for the next experiment, and the best group against the hand-picked weights. Here the
marketplace answers each group with drawn reactions of its own users, `Rounds` sees their mean and standard error as it
would see an experiment platform's, and only the judge sees the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from evaluation.checks import FloatArray
from evaluation.estimate import normal_interval
from evaluation.marketplace.experiment import run_experiment
from evaluation.marketplace.policy import RankerTable
from evaluation.marketplace.requests import CANDIDATES, SHOWN
from features.world.world import World
from optimization.online.true_utility import TrueUtility, oracle_weights
from optimization.search.space import SearchSpace
from ranking import Utility

METRIC = "utility"
ORACLE, ONLINE = "oracle", "online-tuned"


class OnlineSearch(Protocol):
    """What the loop asks of `Rounds`."""

    def propose(self) -> pd.DataFrame:
        """The groups of the open round: columns group, round, kind and one weight per head."""
        ...

    def ingest(self, source: pd.DataFrame) -> Any:
        """Take the groups' metrics in: columns group, metric, value, standard_error."""
        ...

    def best(self) -> Utility | None:
        """The weights to go on with after the rounds so far; None: none is better than nothing."""
        ...


@dataclass(frozen=True)
class Market:
    """A world, the ranker that serves it, what its engagements are worth, and how a request is answered.

    Attributes:
        world: The marketplace.
        ranker: Its probabilities; its heads are what weights mix.
        values: Head -> what one engagement is worth; what the online metric `utility` sums.
        candidates, shown: C candidates per request, of which K are shown.
        days_per_round: Tastes drift meanwhile, and a ranker fitted on the log grows stale: after weeks, what rounds
            have found is of yesterday, and so is what they started from.
        seed: Of all draws.
    """

    world: World
    ranker: RankerTable
    values: Mapping[str, float]
    candidates: int = CANDIDATES
    shown: int = SHOWN
    days_per_round: int = 1
    seed: int = 0

    def days_of(self, number: int) -> tuple[int, int]:
        """When round `number` (from 1) takes place: (first, end) in days after the log's end."""
        return (number - 1) * self.days_per_round, number * self.days_per_round

    def true_utility(self, requests: int, part: str, number: int) -> TrueUtility:
        """True expected utility over fresh requests of the days of round `number`; `part` names their draw."""
        return TrueUtility(
            self.world, self.ranker, self.values, requests=requests, candidates=self.candidates, shown=self.shown,
            days=self.days_of(number), seed=self.seed, part=part,
        )  # fmt: skip


@dataclass(frozen=True)
class SimulatedRounds:
    """What the rounds found, and what it is worth.

    Attributes:
        policies: One row per set of weights: policy, round (0: before any), one weight per head, utility (true, per
            request), lift (percent over the control) with low and high, regret (percent below the oracle's weights)
            with its 95 % interval regret_low and regret_high. Intervals are paired over the judge's requests.
        gains: What online-tuned weights are worth beyond each other set of weights: round, against, gain (percent of
            the control's utility) with low and high; paired like the lifts.
        groups: One row per group of every round: group, round, kind, weights, the metric's value and standard_error as
            measured, and its true utility.
    """

    policies: pd.DataFrame
    gains: pd.DataFrame
    groups: pd.DataFrame


def simulate_rounds(
    market: Market,
    policies: Mapping[str, Mapping[str, float]],
    create: Callable[..., OnlineSearch],
    folder: Path,
    *,
    control: str = "hand-picked",
    rounds: int = 5,
    groups: int = 4,
    requests_per_group: int,
    judged_on: int = 20_000,
    say: Callable[[str], None] = lambda _: None,
) -> SimulatedRounds:
    """Play `rounds` rounds of an experiment and judge what stands after each of them.

    In a round each of the k + 1 groups (the control among them) answers `requests_per_group` fresh requests, its users
    drawn by hash; `Rounds` gets the mean utility per request of each group with its standard error, clustered by user.
    All weights, the rounds' as well as those of `policies`, are then judged by their true expected utility over the
    same requests of the days after the last round.

    Args:
        market: Where it happens.
        policies: Name -> weights of every head, judged beside the rounds; `control` is one of them.
        create: `Rounds.create`, or anything that takes its arguments.
        folder: Where the rounds keep their journal; new.
        control: The weights in production: the rounds' control group.
        rounds, groups: Rounds, and treatment groups of each.
        requests_per_group: Requests that each group answers in a round.
        judged_on: Requests of the judge (the oracle searches on half as many others).
        say: Gets a line per round.

    Raises:
        ValueError: no weights for `control`.
    """
    if control not in policies:
        raise ValueError(f"`policies` must have weights for the control {control!r}, got {', '.join(policies)}")
    heads = market.ranker.heads
    space = SearchSpace(heads, (1,) * len(heads))
    baseline = _vector(policies[control], heads)
    judge = market.true_utility(judged_on, "judge", rounds + 1)
    study = market.true_utility(max(1, judged_on // 2), "study", rounds + 1)
    found: list[tuple[str, int, FloatArray]] = [(name, 0, _vector(w, heads)) for name, w in policies.items()]
    search = create(
        folder, heads=dict(zip(heads, space.signs)), baseline=dict(zip(heads, baseline.tolist())), metric=METRIC,
        groups=groups, seed=market.seed,
    )  # fmt: skip
    seen = []
    for number in range(1, rounds + 1):
        proposed = search.propose()
        measured = measure_groups(market, proposed, requests_per_group, number)
        search.ingest(measured)
        best = search.best()
        weights = baseline if best is None else _vector(best.weights, heads)
        found.append((ONLINE, number, weights))
        seen.append(proposed.merge(measured.drop(columns="metric"), on="group"))
        say(f"round {number}: {len(proposed)} groups, now {dict(zip(heads, weights.round(3).tolist()))}")
    found.append((ORACLE, 0, oracle_weights(study, space)))
    of_groups = pd.concat(seen, ignore_index=True)
    of_groups["true_utility"] = [judge.mean(w) for w in of_groups[list(heads)].to_numpy()]
    worth = [judge.per_request(weights) for _, _, weights in found]
    of_control = judge.per_request(baseline)
    return SimulatedRounds(_judged(found, worth, of_control, heads), _gains(found, worth, of_control), of_groups)


def measure_groups(market: Market, proposed: pd.DataFrame, requests_per_group: int, number: int) -> pd.DataFrame:
    """What an experiment platform would report of one round: columns group, metric, value, standard_error.

    Args:
        market: Where it happens.
        proposed: Columns group and one weight per head.
        requests_per_group: On average: users are split by hash.
        number: Of the round, from 1; each round splits the users anew.
    """
    heads = list(market.ranker.heads)
    weights = dict(zip(proposed["group"], proposed[heads].to_dict("records")))
    experiment = run_experiment(
        market.world,
        {group: market.ranker.policy(mix) for group, mix in weights.items()},
        requests=requests_per_group * len(weights),
        candidates=market.candidates,
        shown=market.shown,
        days=market.days_of(number),
        seed=market.seed,
        name=f"round {number}",
    )
    rows = [(group, METRIC, *arm.mean("volume", market.values)) for group, arm in experiment.arms.items()]
    return pd.DataFrame(rows, columns=["group", "metric", "value", "standard_error"])


def _judged(
    found: Sequence[tuple[str, int, FloatArray]],
    worth: Sequence[FloatArray],
    of_control: FloatArray,
    heads: tuple[str, ...],
) -> pd.DataFrame:
    of_oracle = next(each for (name, _, _), each in zip(found, worth, strict=True) if name == ORACLE)
    records = []
    for (name, number, weights), each in zip(found, worth, strict=True):
        lift, low, high = _percent(each - of_control, of_control)
        regret, regret_low, regret_high = _percent(of_oracle - each, of_oracle)
        records.append(
            {"policy": name, "round": number, **dict(zip(heads, weights.tolist())), "utility": float(each.mean())}
            | {"lift": lift, "low": low, "high": high}
            | {"regret": regret, "regret_low": regret_low, "regret_high": regret_high}
        )
    return pd.DataFrame(records)


def _gains(
    found: Sequence[tuple[str, int, FloatArray]], worth: Sequence[FloatArray], of_control: FloatArray
) -> pd.DataFrame:
    records = []
    for (name, number, _), each in zip(found, worth, strict=True):
        for (other, _, _), of_other in zip(found, worth, strict=True):
            if name == ONLINE and other != ONLINE:
                gain, low, high = _percent(each - of_other, of_control)
                records.append({"round": number, "against": other, "gain": gain, "low": low, "high": high})
    return pd.DataFrame(records)


def _percent(difference: FloatArray, of: FloatArray) -> tuple[float, float, float]:
    """A paired mean difference in percent of the mean of `of`, with its 95 % interval."""
    scale = 100 / of.mean()
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    low, high = normal_interval(float(difference.mean()), error)
    return float(difference.mean() * scale), float(low * scale), float(high * scale)


def _vector(weights: Mapping[str, float], heads: tuple[str, ...]) -> FloatArray:
    return np.array([weights.get(head, 0.0) for head in heads], dtype=np.float64)
