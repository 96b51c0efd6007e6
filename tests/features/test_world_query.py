"""Requests that look at a property: what they add to the truth, and that without them nothing changes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from features.schema import Schema
from features.world import World, make_world
from features.world.log import EVENTS
from features.world.policy import draw_queries

SIZES = {"properties": 120, "users": 200, "requests": 1500}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("query")
    make_world(target, seed=4, query=2.0, **SIZES)
    return target


@pytest.fixture(scope="module")
def log(folder: Path) -> pd.DataFrame:
    return pq.read_table(folder / "impressions.parquet").to_pandas()


def test_likeness_by_hand() -> None:
    """s = (1 / 6) sum over the latents of the product of the standardised values."""
    world = World.generate(seed=1, properties=50, users=1)
    z = world.properties.latents
    expected = 0.0
    for latent in range(6):
        mean, sd = z[:, latent].mean(), z[:, latent].std()
        expected += (z[3, latent] - mean) / sd * (z[8, latent] - mean) / sd / 6
    assert world.likeness([3], [8])[0] == pytest.approx(expected, rel=1e-12)
    assert world.likeness([8], [3])[0] == world.likeness([3], [8])[0]


def test_the_log_s_truth_is_the_world_s_with_the_query(log: pd.DataFrame) -> None:
    world = World.generate(seed=4, properties=120, users=200, query=2.0)
    asked = [log[name] for name in ("user_id", "item_id", "position", "timestamp")]
    p = world.probabilities(*asked, log["query_item_id"])
    for event in EVENTS:
        np.testing.assert_allclose(getattr(p, event), log[f"true_{event}"], rtol=1e-6)
    with_query, without = world.drivers(*asked, log["query_item_id"]), world.drivers(*asked)
    added = 2.0 * world.likeness(log["query_item_id"], log["item_id"])
    np.testing.assert_allclose(with_query.affinity, without.affinity + added, rtol=1e-12)
    assert np.array_equal(with_query.taste_match, without.taste_match)
    np.testing.assert_allclose(with_query.affinity, log["true_affinity"], rtol=1e-6, atol=1e-6)


def test_what_happened_agrees_with_the_truth(log: pd.DataFrame) -> None:
    for event in ("closeup", "click", "long_click", "save"):
        p = log[f"true_{event}"].to_numpy(dtype=np.float64)
        assert abs((log[event] - p).sum()) < 3.5 * np.sqrt((p * (1 - p)).sum())


def test_a_request_looks_at_one_property_that_is_none_of_its_candidates(log: pd.DataFrame) -> None:
    assert (log.groupby("request_id")["query_item_id"].nunique() == 1).all()
    assert not (log["query_item_id"] == log["item_id"]).any()
    assert list(log.columns[:4]) == ["request_id", "user_id", "item_id", "query_item_id"]


def test_queries_are_uniform_over_the_rest() -> None:
    """Of 6 properties with candidates {1, 2, 4}: 0, 3 and 5, a third each."""
    sets = np.tile([1, 2, 4], (30_000, 1))
    drawn = np.bincount(draw_queries(np.random.default_rng(0), sets, 6), minlength=6) / 30_000
    assert (drawn[[1, 2, 4]] == 0).all()
    np.testing.assert_allclose(drawn[[0, 3, 5]], 1 / 3, atol=4 * np.sqrt(2 / 9 / 30_000))


def test_the_description_names_the_column(folder: Path) -> None:
    assert Schema.load(folder / "dataset.toml").columns.query_item == "query_item_id"
    assert "query_item" not in tomllib.loads((folder / "dataset_oracle.toml").read_text())["columns"]


def test_a_query_changes_the_outcomes_only(folder: Path, log: pd.DataFrame, tmp_path: Path) -> None:
    make_world(tmp_path, seed=4, **SIZES)
    for name in ("items", "users", "vectors"):
        assert (tmp_path / f"{name}.parquet").read_bytes() == (folder / f"{name}.parquet").read_bytes()
    plain = pq.read_table(tmp_path / "impressions.parquet").to_pandas()
    assert "query_item_id" not in plain
    for name in ("request_id", "user_id", "item_id", "timestamp", "position", "role", "propensity"):
        assert plain[name].equals(log[name])
    assert not plain["true_click"].equals(log["true_click"])


def test_bad_queries_are_refused(tmp_path: Path) -> None:
    world = World.generate(properties=10, users=5, query=1.0)
    with pytest.raises(InputError, match=r"`query_item` must lie in 0\.\.9"):
        world.drivers([0], [1], [1], [0], [10])
    with pytest.raises(InputError, match="must leave a property to look at"):
        make_world(tmp_path / "w", properties=20, users=5, requests=5, candidates=20, query=1.0)
    with pytest.raises(InputError, match="`query` must be a finite number >= 0, got nan"):
        World.generate(properties=10, users=5, query=float("nan"))
