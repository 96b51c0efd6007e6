"""A marketplace to simulate in: its world, rankers fitted on its log, and its offline-tuned weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.marketplace.policy import RankerTable
from evaluation.marketplace.requests import SHOWN
from features import Dataset, make_world
from features.world.world import World
from multitask import TrainingConfig
from optimization.guardrails import Guardrails
from optimization.online.rounds import Rounds
from optimization.online.simulated import ONLINE, ORACLE, Market, SimulatedRounds, simulate_rounds
from optimization.score_table import ScoreTable
from optimization.tune import tune
from ranking import NetworkConfig, Prepared, Ranker, RankerConfig, fit_prepared, prepare

HAND, OFFLINE, VALUED, DECLARED = "hand-picked", "offline-tuned", "offline by value", "declared values"
HAND_PICKED = {"closeup": 0.1, "click": 0.2, "long_click": 0.5, "save": 0.2}  # the example of the library
# What one engagement is worth: the rarer and the closer to what the business lives on, the more.
VALUES = {"closeup": 0.1, "click": 0.3, "long_click": 1.0, "save": 2.0}
OBJECTIVE, FLOOR = "long_click", 0.98  # the article's objective; no other head may lose more than the gate allows
SWEEP, CHECKS = 256, 60
NEGATIVE_RATE = 0.1
# Users of the experiments, of the same kind as those of the log. So many that each sends two or three requests in a
# round: many requests of one user say less than as many of several.
POPULATION = 1_000_000
# Of a group in a round: its mean utility then has an error of about .1 %; what is to be found is often only .3 %.
REQUESTS_PER_GROUP = 500_000
JUDGED_ON = 20_000  # requests; the difference of two policies then has an error of about .03 %


@dataclass(frozen=True)
class Sizes:
    """How large a world and its log are, and how long its rankers are trained."""

    properties: int = 2000
    requests: int = 50_000
    epochs: int = 8

    def config(self, seed: int, objective: str = "multi_head") -> RankerConfig:
        """The network of all rankers; `objective` "importance" is the single head of [Pinterest 2020] eq. (1).

        Its importance weights are in the proportions of the hand-picked utility weights: both rankers are told the same
        about what matters, and what differs is when it is applied.
        """
        smallest = min(HAND_PICKED.values())
        importance = {head: weight / smallest for head, weight in HAND_PICKED.items()}
        return RankerConfig.model_validate(
            {
                "seed": seed,
                "objective": objective,
                "importance": importance if objective == "importance" else {},
                "network": NetworkConfig(dropout=0.1),
                "training": TrainingConfig(seed=seed, epochs=self.epochs, batch_size=2048, patience=self.epochs),
            }
        )


class FittedWorld:
    """One world in a folder: made once, fitted once per ranker; a run that was killed goes on with what is there.

    Args:
        folder: Where it lies.
        seed: Of the world and the rankers.
        sizes: How large.
        say: Gets a line per step.
    """

    def __init__(self, folder: Path, seed: int, sizes: Sizes, say: Callable[[str], None]) -> None:
        self.folder, self.seed, self.sizes, self.say = folder, seed, sizes, say
        self._prepared: Prepared | None = None
        # Everybody of the population; properties, tastes' drift and prices are those of the log's world.
        self.world = World.generate(seed=seed, properties=sizes.properties, users=POPULATION)

    def dataset(self) -> Dataset:
        """The log."""
        description = self.folder / "world" / "dataset.toml"  # written last: a folder with it is complete
        if not description.is_file():
            self.say(f"generating a marketplace: a log of {self.sizes.requests:,} requests")
            make_world(
                self.folder / "world", seed=self.seed, properties=self.sizes.properties, requests=self.sizes.requests,
                negative_rate=NEGATIVE_RATE,
            )  # fmt: skip
        return Dataset.open(description)

    def ranker(self, objective: str = "multi_head") -> Ranker:
        """The ranker with a head per engagement, or the importance-weighted single head."""
        model = self.folder / objective
        if not model.is_dir():
            if self._prepared is None:
                self._prepared = prepare(self.dataset(), self.sizes.config(self.seed), lambda _: None)
            self.say(f"fitting: {objective.replace('_', ' ')}")
            fit_prepared(self._prepared, self.sizes.config(self.seed, objective), device="cpu").save(model)
        return Ranker.load(model)

    def table(self, objective: str = "multi_head") -> RankerTable:
        """The ranker's answers for everybody and everything in the world."""
        return RankerTable.of(self.world, self.ranker(objective))

    def offline_tuned(self) -> dict[str, float]:
        """Weights that maximise PR-AUC of long clicks on the tune rows under guardrails, the article's way.

        Found by a sweep and Nelder-Mead instead of Ax: an evaluation costs milliseconds, and what is compared here is
        offline evidence with online evidence, not one search with another. Where nothing beats the hand-picked weights
        within the guardrails, these remain.
        """
        return self._tuned(OBJECTIVE, "pr_auc", {head: FLOOR for head in HAND_PICKED if head != OBJECTIVE})

    def offline_by_value(self) -> dict[str, float]:
        """Weights of the highest expected utility on the tune rows: offline evidence with the goal of the rounds.

        What `offline_tuned` lacks of these is its goal. What these lack of the online-tuned weights is what offline
        evidence lacks, here also that a logged request has 20 candidates to choose from and a served one 60.
        """
        return self._tuned(VALUES, f"expected_utility@{SHOWN}", {})

    def _tuned(
        self, objective: str | Mapping[str, float], metric: str, floors: Mapping[str, float]
    ) -> dict[str, float]:
        scored = ScoreTable.from_ranker(self.ranker(), self.dataset(), "tune")
        signs = dict(zip(scored.heads, scored.signs, strict=True))
        rails = Guardrails(baseline=HAND_PICKED, signs=signs, floors=floors)
        tuning = tune(
            scored, rails, objective, metric=metric, sweep=SWEEP, trials=0, cross_checks=CHECKS, seed=self.seed
        )
        best: Mapping[str, float] = HAND_PICKED if tuning.utility is None else tuning.utility.weights
        return dict(best)


def play_world(
    fitted: FittedWorld, *, rounds: int, groups: int, requests_per_group: int, days_per_round: int
) -> SimulatedRounds:
    """Hand-picked, offline-tuned and online-tuned weights of one world, judged by the truth.

    Beside them the declared values themselves as weights, which is what calibrated probabilities are for: nothing has
    to be tuned then. What the rounds kept in the folder is removed first: the same seed plays the same rounds.
    """
    market = Market(fitted.world, fitted.table(), VALUES, days_per_round=days_per_round, seed=fitted.seed)
    total = sum(VALUES.values())
    policies = {
        HAND: HAND_PICKED,
        OFFLINE: fitted.offline_tuned(),
        VALUED: fitted.offline_by_value(),
        DECLARED: {head: value / total for head, value in VALUES.items()},
    }
    journal = fitted.folder / "rounds"
    shutil.rmtree(journal, ignore_errors=True)
    return simulate_rounds(
        market, policies, Rounds.create, journal, control=HAND, rounds=rounds, groups=groups,
        requests_per_group=requests_per_group, judged_on=JUDGED_ON, say=fitted.say,
    )  # fmt: skip


def across_worlds(worlds: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Online-tuned weights after each round against other weights, over worlds that are independent of each other.

    After 0 rounds the hand-picked weights stand, which the rounds start from: what those rows show needs no rounds.

    Args:
        worlds: `SimulatedRounds.policies` of each.

    Returns:
        One row per number of rounds (from 0) and policy compared with (oracle excepted): rounds, against, worlds, mean
        (difference of true expected utility in percent of the control's, online minus the other) with its 95 %
        t-interval low and high over worlds, better, equal and worse (in how many worlds), share better of those that
        differ with its exact 95 % interval (Clopper and Pearson), and p of the two-sided sign test; these are NaN where
        no world differs.

    >>> one = pd.DataFrame({"policy": ["hand-picked", "online-tuned"], "round": [0, 1], "lift": [0.0, 1.0]})
    >>> across_worlds([one, one.assign(lift=[0.0, 2.0])])[["rounds", "worlds", "mean", "better"]].values.tolist()
    [[1.0, 2.0, 1.5, 2.0]]
    """
    from scipy.stats import binomtest, t

    lifts = pd.concat(worlds, keys=range(len(worlds)), names=["world"]).reset_index("world")
    still = lifts[(lifts["round"] == 0) & (lifts["policy"] != ORACLE)]
    online = lifts[lifts["policy"] == ONLINE].pivot(index="world", columns="round", values="lift")
    online.insert(0, 0, still[still["policy"] == HAND].set_index("world")["lift"])
    records = []
    for number in online.columns:
        for policy in still["policy"].drop_duplicates():
            if number == 0 and policy == HAND:
                continue
            other = still[still["policy"] == policy].set_index("world")["lift"]
            difference = (online[number] - other).dropna().to_numpy()
            count, mean = len(difference), float(difference.mean())
            error = difference.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
            half = float(t.ppf(0.975, max(1, count - 1)) * error)
            better, worse = int((difference > 0).sum()), int((difference < 0).sum())
            record = {"rounds": number, "against": policy, "worlds": count, "mean": mean}
            record |= {"low": mean - half, "high": mean + half}
            record |= {"better": better, "equal": count - better - worse, "worse": worse}
            record |= dict.fromkeys(("share", "share_low", "share_high", "p"), np.nan)
            if better + worse:
                test = binomtest(better, better + worse)
                interval = test.proportion_ci(method="exact")
                record |= {"share": test.statistic, "share_low": interval.low, "share_high": interval.high}
                record |= {"p": test.pvalue}
            records.append(record)
    return pd.DataFrame(records)
