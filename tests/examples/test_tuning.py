"""The tuning examples on tiny tables: the optimum is one, what is counted as broken is, regrets are regrets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "tuning"))

import landscapes
import marketplace
import synthetic

from evaluation.gallery.resumable import KeptResults
from galleryrank.simulate_worlds import Sizes
from optimization.evaluating import Evaluator


def test_the_dense_optimum_is_feasible_and_beats_every_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscapes, "ROWS", 6000)
    monkeypatch.setattr(landscapes, "GRID", 10)
    monkeypatch.setattr(landscapes, "REFINED", 30)
    monkeypatch.setattr(landscapes, "EVALUATIONS", landscapes.START)  # no proposals of Ax
    found = landscapes.reach_one(0)
    assert found["optimum"] >= found["sweep"] > 0.0
    table, rails = synthetic.synthetic_table(0, 6000), landscapes.rails(0.0)
    evaluator = Evaluator(table, rails, landscapes.OBJECTIVE)
    shares = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    best, value = landscapes.best_feasible(evaluator, np.vstack([shares, list(synthetic.BASELINE.values())]))
    assert evaluator.outcome(best).holds
    assert evaluator.outcome(best).objective == pytest.approx(value, abs=1e-12)
    assert value >= evaluator.baseline.objective


def test_what_is_counted_as_broken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table, rails = synthetic.synthetic_table(3, 20_000), landscapes.rails(2.5)
    assert landscapes.broken(rails, dict(synthetic.BASELINE), table) == []
    only = {"closeup": 0.0, "save": 0.0, "click": 0.0, "long_click": 1.0}
    assert set(landscapes.broken(rails, only, table)) == {"closeup", "save", "click"}
    kept = KeptResults(tmp_path)
    for seed in landscapes.MARGIN_SEEDS:  # the verdict of the study, from results that are there already
        for margin, fresh in ((0.0, ["save"]), (landscapes.MARGIN, [] if seed < 118 else ["save"])):
            settings = {"rows": landscapes.ROWS, "population": landscapes.POPULATION}
            settings |= {"evaluations": landscapes.EVALUATIONS, "seed": seed, "margin": margin}
            result = {"fresh": fresh, "population": [], "objective": 0.04, "weights": {}}
            kept.of(f"margin {margin:g} {seed}", settings, lambda result=result: result)
    assert landscapes.margin(kept)
    assert "| 2.5 | 18 of 20 | 20 of 20 |" in capsys.readouterr().out


def test_the_same_seed_makes_the_same_table() -> None:
    first, again, other = (synthetic.synthetic_table(seed, 1000) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.requests.count == 1000 / synthetic.CANDIDATES


def test_regret_is_measured_from_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marketplace, "TRIALS", 0)
    monkeypatch.setattr(marketplace, "SWEEP", 16)
    monkeypatch.setattr(marketplace, "REQUESTS", 400)
    monkeypatch.setattr(marketplace, "Sizes", lambda: Sizes(properties=300, requests=2000, epochs=1))
    found = marketplace.world(0)
    assert set(found["regret"]) == {"hand-picked", "equal", "tuned for long_click", "tuned for value"}
    assert "hand-picked" in found["said"]["long_click"]
    tuned = list(found["weights"]["tuned for value"].values())  # in the order of the heads
    monkeypatch.setattr(marketplace, "oracle_weights", lambda study, space: np.array(tuned))
    against = marketplace.world(0)["regret"]
    assert against["tuned for value"] == 0.0  # of itself
    assert against["equal"] != 0.0
    # 100 (o - w) / o from two oracles: the ratio of what any two weights lose to 100 % does not depend on the oracle
    scale = {name: (100 - found["regret"][name]) / (100 - against[name]) for name in against}
    assert list(scale.values()) == pytest.approx([scale["equal"]] * len(scale), rel=1e-9)
