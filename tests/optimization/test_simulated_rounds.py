"""The loop of rounds in a synthetic marketplace: what it hands to the search, and how it judges what comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.marketplace.policy import RankerTable
from features.world import World
from optimization.online.rounds import Rounds
from optimization.online.simulated import (
    ONLINE,
    ORACLE,
    Market,
    SimulatedRounds,
    measure_groups,
    simulate_rounds,
)
from optimization.online.true_utility import TrueUtility, oracle_weights
from optimization.search.space import SearchSpace
from ranking import Ranker, Utility

VALUES = {"closeup": 0.1, "click": 0.3, "long_click": 1.0, "save": 2.0}
HAND = {"closeup": 0.1, "click": 0.2, "long_click": 0.5, "save": 0.2}
BAD = {"closeup": 1.0, "click": 0.0, "long_click": 0.0, "save": 0.0}


class FixedSearch:
    """Proposes the same groups every round, keeps what it is given, and never finds anything better."""

    def __init__(
        self, folder: Path, heads: dict[str, int], baseline: dict[str, float], metric: str, **_: object
    ) -> None:
        assert metric == "utility"
        self.heads, self.baseline, self.given, self.round = list(heads), baseline, list[pd.DataFrame](), 0

    def propose(self) -> pd.DataFrame:
        self.round += 1
        rows = [
            {"group": f"r{self.round}-control", "round": self.round, "kind": "control", **self.baseline},
            {"group": f"r{self.round}-a", "round": self.round, "kind": "treatment", **BAD},
        ]
        return pd.DataFrame(rows)

    def ingest(self, source: pd.DataFrame) -> None:
        self.given.append(source)

    def best(self) -> Utility | None:
        return None


@pytest.fixture(scope="module")
def market(ranker: Ranker) -> Market:
    world = World.generate(seed=3, properties=300, users=4000)  # the session's ranker was fitted on this world's log
    return Market(world, RankerTable.of(world, ranker), VALUES, candidates=20, shown=5, seed=1)


@pytest.fixture(scope="module")
def played(market: Market, tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulatedRounds, FixedSearch]:
    made: list[FixedSearch] = []

    def create(folder: Path, **design: object) -> FixedSearch:
        made.append(FixedSearch(folder, **design))  # type: ignore[arg-type]
        return made[-1]

    policies = {"hand-picked": HAND, "bad": BAD}
    found = simulate_rounds(
        market, policies, create, tmp_path_factory.mktemp("fixed"), rounds=2, requests_per_group=1500, judged_on=1500
    )
    return found, made[0]


def test_the_search_gets_a_mean_and_an_error_per_group_and_round(played: tuple[SimulatedRounds, FixedSearch]) -> None:
    found, search = played
    assert [table["group"].tolist() for table in search.given] == [["r1-control", "r1-a"], ["r2-control", "r2-a"]]
    given = pd.concat(search.given)
    assert set(given["metric"]) == {"utility"}
    assert (given["standard_error"] > 0).all()
    pd.testing.assert_frame_equal(
        found.groups[["group", "value", "standard_error"]], given.drop(columns="metric").reset_index(drop=True)
    )
    assert given["value"].is_unique  # every round has requests and reactions of its own


def test_policies_are_judged_by_the_truth_over_the_same_requests(
    market: Market, played: tuple[SimulatedRounds, FixedSearch]
) -> None:
    """Lift and regret are paired differences over the judge's requests, in percent, recomputed here."""
    table = played[0].policies.set_index(["policy", "round"])
    judge = TrueUtility(market.world, market.ranker, VALUES, requests=1500, candidates=20, shown=5, days=(2, 3), seed=1)
    heads = list(market.ranker.heads)
    worth = {
        name: judge.per_request(table.loc[(name, 0), heads].to_numpy(float)) for name in ("hand-picked", "bad", ORACLE)
    }
    for name, per_request in worth.items():
        assert table.loc[(name, 0), "utility"] == pytest.approx(per_request.mean(), rel=1e-12)
        difference = per_request - worth["hand-picked"]
        scale = 100 / worth["hand-picked"].mean()
        error = difference.std(ddof=1) / np.sqrt(1500)
        expected = [difference.mean() * scale, (difference.mean() - 1.959964 * error) * scale]
        assert table.loc[(name, 0), ["lift", "low"]].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-9)
        regret = 100 * (1 - per_request.mean() / worth[ORACLE].mean())
        assert table.loc[(name, 0), "regret"] == pytest.approx(regret, abs=1e-9)


def test_gains_are_paired_differences_to_every_other_set_of_weights(
    market: Market, played: tuple[SimulatedRounds, FixedSearch]
) -> None:
    gains = played[0].gains
    assert gains[["round", "against"]].to_numpy().tolist() == [
        [number, other] for number in (1, 2) for other in ("hand-picked", "bad", ORACLE)
    ]
    judge = TrueUtility(market.world, market.ranker, VALUES, requests=1500, candidates=20, shown=5, days=(2, 3), seed=1)
    online, bad = (judge.per_request([w[head] for head in market.ranker.heads]) for w in (HAND, BAD))
    difference = 100 * (online - bad) / online.mean()
    half = 1.959964 * difference.std(ddof=1) / np.sqrt(1500)
    row = gains.set_index(["round", "against"]).loc[(2, "bad")]
    expected = [difference.mean(), difference.mean() - half, difference.mean() + half]
    assert row.tolist() == pytest.approx(expected, rel=1e-5)
    assert row["low"] > 0


def test_a_search_that_finds_nothing_leaves_the_control(played: tuple[SimulatedRounds, FixedSearch]) -> None:
    table = played[0].policies.set_index(["policy", "round"])
    for number in (1, 2):
        assert table.loc[(ONLINE, number), "lift"] == 0.0
        assert table.loc[(ONLINE, number), "utility"] == table.loc[("hand-picked", 0), "utility"]


def test_measured_groups_agree_with_the_truth_of_their_days(market: Market) -> None:
    heads = list(market.ranker.heads)
    proposed = pd.DataFrame([{"group": "a", **HAND}, {"group": "b", **BAD}])
    measured = measure_groups(market, proposed, 6000, 2).set_index("group")
    truth = TrueUtility(
        market.world, market.ranker, VALUES, requests=6000, candidates=20, shown=5, days=(1, 2), part="check"
    )
    for group, row in proposed.set_index("group").iterrows():
        expected = truth.per_request(row[heads].to_numpy(float))
        spread = np.hypot(measured.loc[group, "standard_error"], 2 * expected.std() / np.sqrt(len(expected)))
        assert abs(measured.loc[group, "value"] - expected.mean()) < 4.5 * spread


def test_the_oracle_is_at_least_as_good_as_every_point_of_its_sweep(market: Market) -> None:
    study = TrueUtility(market.world, market.ranker, VALUES, requests=400, candidates=20, shown=5)
    space = SearchSpace(market.ranker.heads, (1,) * 4)
    best = oracle_weights(study, space, sweep=32, polish=30)
    assert bool(space.contains(space.shares(best)).all())
    assert study.mean(best) >= max(study.mean(w) for w in space.weights(space.sobol(32, seed=0)))
    with pytest.raises(ValueError, match="`space` must have the heads"):
        oracle_weights(study, SearchSpace(("a", "b"), (1, 1)))


def test_only_the_order_of_candidates_counts(market: Market) -> None:
    """Scaling all weights changes no ranking, so it changes no utility."""
    truth = TrueUtility(market.world, market.ranker, VALUES, requests=200, candidates=20, shown=5)
    weights = np.array([0.1, 0.2, 0.5, 0.2])
    np.testing.assert_array_equal(truth.per_request(weights), truth.per_request(weights * 8))


def test_rounds_of_the_library_play_and_play_again_alike(market: Market, tmp_path: Path) -> None:
    """`Rounds` with a cheap search in the place of Ax: groups, ingestion and the best weights are its own."""

    def propose(space: SearchSpace, observations: object, *, count: int, seed: int, **_: object) -> np.ndarray:
        return space.random(count, seed)

    def posterior(space: SearchSpace, observations: list, metric: str, shares: np.ndarray) -> tuple:
        known = {tuple(np.round(o.shares, 9)): o.values[metric][0] for o in observations}
        return np.array([known[tuple(np.round(x, 9))] for x in np.atleast_2d(shares)]), np.ones(len(shares))

    def play(folder: Path) -> SimulatedRounds:
        return simulate_rounds(
            market,
            {"hand-picked": HAND},
            lambda folder, **design: Rounds.create(folder, **design, propose=propose, posterior=posterior),
            folder,
            rounds=3,
            groups=3,
            requests_per_group=400,
            judged_on=300,
        )

    first, again = play(tmp_path / "a"), play(tmp_path / "b")
    assert first.groups["group"].tolist()[:5] == ["r1-control", "r1-a", "r1-b", "r1-c", "r2-control"]
    pd.testing.assert_frame_equal(first.groups, again.groups)
    pd.testing.assert_frame_equal(first.policies, again.policies)
    online = first.policies[first.policies["policy"] == ONLINE]
    assert online["round"].tolist() == [1, 2, 3]
    heads = list(market.ranker.heads)
    measured = {tuple(row) for row in first.groups[heads].to_numpy().round(9).tolist()}
    assert {tuple(row) for row in online[heads].to_numpy().round(9).tolist()} <= measured


def test_weights_of_the_control_are_needed(market: Market, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights for the control 'hand-picked'"):
        simulate_rounds(market, {"bad": BAD}, FixedSearch, tmp_path, requests_per_group=100)
