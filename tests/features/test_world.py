"""The generated marketplace as a data set: reproducible, coherent, and true to its own probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from features.schema import Schema
from features.world.log import EVENTS, ROLES
from features.world.make import make_world
from features.world.reactions import HEADS
from features.world.world import DAY, START, World

SIZES = {"properties": 400, "users": 1000, "requests": 6000}


def read(folder: Path, table: str = "impressions") -> pd.DataFrame:
    return pq.read_table(folder / f"{table}.parquet").to_pandas()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    make_world(folder, seed=5, **SIZES)
    return folder


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled")
    make_world(folder, seed=5, negative_rate=0.1, **SIZES)
    return folder


@pytest.fixture(scope="module")
def log(full: Path) -> pd.DataFrame:
    frame = read(full)
    return frame.assign(any=frame[list(HEADS)].max(axis=1))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path: Path) -> None:
    sizes = {"properties": 60, "users": 30, "requests": 50, "negative_rate": 0.5}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_world(tmp_path / name, seed=seed, **sizes)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert len(a) == 6
    assert a == b
    assert all(a[name] != c[name] for name in a if name.endswith(".parquet"))


def test_a_larger_log_starts_with_the_same_properties_and_users(full: Path, tmp_path: Path) -> None:
    make_world(tmp_path, seed=5, **{**SIZES, "requests": 50})
    for table in ("items", "users", "vectors"):
        assert (tmp_path / f"{table}.parquet").read_bytes() == (full / f"{table}.parquet").read_bytes()


@pytest.mark.parametrize("event", EVENTS)
def test_rates_lie_within_three_standard_errors_of_the_truth(log: pd.DataFrame, event: str) -> None:
    """Both truths: each is a mean of 0/1 outcomes given it; clustering by request is nil, noise is per impression."""
    for truth in (f"true_{event}", f"conditional_{event}"):
        p = log[truth].to_numpy(dtype=np.float64)
        error = (log[event].to_numpy() - p).mean()
        assert abs(error) < 3 * np.sqrt((p * (1 - p)).sum()) / len(p)
        # and where it is high as well as where it is low
        top = p > np.quantile(p, 0.9)
        assert abs((log[event].to_numpy() - p)[top].sum()) < 3.5 * np.sqrt((p * (1 - p))[top].sum())


def test_long_click_implies_click_on_every_row_and_in_truth(log: pd.DataFrame) -> None:
    assert (log["long_click"] <= log["click"]).all()
    assert log["long_click"].sum() > 0
    for truth in ("true", "conditional"):
        assert (log[f"{truth}_long_click"] <= log[f"{truth}_click"]).all()
        assert (log[f"{truth}_any"] >= log[[f"{truth}_{head}" for head in HEADS]].max(axis=1)).all()


def test_the_shared_noise_couples_the_engagements(log: pd.DataFrame) -> None:
    """Cov(closeup, click) over the noise is .09 c (1 - c) k (1 - k) to first order, per impression and summed."""
    c, k = log["true_closeup"].to_numpy(dtype=np.float64), log["true_click"].to_numpy(dtype=np.float64)
    given = (log["conditional_closeup"] * log["conditional_click"]).to_numpy(dtype=np.float64)
    expected = 0.09 * c * (1 - c) * k * (1 - k)
    excess = given - c * k
    assert excess.sum() == pytest.approx(expected.sum(), abs=4 * excess.std() * np.sqrt(len(log)))
    assert excess.sum() > 3 * excess.std() * np.sqrt(len(log))
    both = (log["closeup"] * log["click"]).to_numpy()
    assert abs((both - given).sum()) < 3.5 * np.sqrt((given * (1 - given)).sum())


def test_the_log_is_in_order_of_time_with_whole_requests(log: pd.DataFrame) -> None:
    assert log["timestamp"].is_monotonic_increasing
    assert log["timestamp"].between(START, START + 28 * DAY - 1).all()
    assert (log["request_id"].to_numpy() == np.repeat(np.arange(6000), 20)).all()
    assert (log["position"].to_numpy().reshape(-1, 20) == np.arange(1, 21)).all()
    assert not log.duplicated(["request_id", "item_id"]).any()
    share = log.groupby("role")["request_id"].nunique() / 6000
    assert share.to_dict() == {"train": 0.6, "calibrate": 0.15, "tune": 0.1, "test": 0.15}
    assert list(log["role"].unique()) == list(ROLES)


def test_the_world_answers_what_the_log_stores(full: Path, log: pd.DataFrame) -> None:
    world = World.generate(seed=5, properties=400, users=1000)
    rows = log.sample(500, random_state=0)
    p = world.probabilities(rows["user_id"], rows["item_id"], rows["position"], rows["timestamp"])
    for event in EVENTS:
        np.testing.assert_allclose(getattr(p, event), rows[f"true_{event}"], rtol=1e-6)
    top = world.probabilities(rows["user_id"], rows["item_id"], np.ones(len(rows)), rows["timestamp"])
    assert (top.click >= p.click).all()
    assert np.array_equal(top.save, p.save)  # a save does not depend on the position


def test_tastes_drift_slowly(log: pd.DataFrame) -> None:
    world = World.generate(seed=5, properties=400, users=1000)
    user, item, one = log["user_id"], log["item_id"], np.ones(len(log))
    start, end, next_day = (world.drivers(user, item, one, one * t) for t in (START, START + 28 * DAY, START + DAY))
    month = np.abs(end.taste_match - start.taste_match).mean()
    day = np.abs(next_day.taste_match - start.taste_match).mean()
    assert 28 * day == pytest.approx(month)
    assert 0.05 < month / np.std(start.taste_match) < 0.6


def test_sampling_drops_only_rows_without_engagement_of_train_and_calibrate(full: Path, sampled: Path) -> None:
    """The sampled world is the full one with rows left out: same outcomes, weights that count what is gone."""
    whole, kept = read(full), read(sampled)
    engaged = kept[list(HEADS)].max(axis=1) == 1
    dropped_from = kept["role"].isin(["train", "calibrate"])
    assert (kept.loc[engaged | ~dropped_from, "keep_prob"] == 1).all()
    assert (kept.loc[~engaged & dropped_from, "keep_prob"] == 0.1).all()
    same = kept.drop(columns="keep_prob").merge(whole, how="left", indicator=True)
    assert (same["_merge"] == "both").all()
    assert engaged.sum() == (whole[list(HEADS)].max(axis=1) == 1).sum()
    for role in ROLES:
        here, weights = whole["role"] == role, 1 / kept.loc[kept["role"] == role, "keep_prob"]
        count = here.sum()
        negatives = ((whole.loc[here, list(HEADS)].max(axis=1)) == 0).sum()
        assert abs(weights.sum() - count) <= 4 * np.sqrt(negatives * 0.9 / 0.1) * (role in ("train", "calibrate"))


def test_the_sampled_log_reads_as_the_correction_says(sampled: Path) -> None:
    """P(kept) = 1 - (1 - alpha)(1 - p_any), on average over the rows of the full log (weights 1 / pi)."""
    kept = read(sampled)
    kept = kept[kept["role"].isin(["train", "calibrate"])]
    weight = (1 / kept["keep_prob"]).to_numpy()
    p_any = kept["true_any"].to_numpy(dtype=np.float64)
    expected = (weight * (1 - 0.9 * (1 - p_any))).sum()
    assert len(kept) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("file", ["dataset.toml", "dataset_oracle.toml"])
@pytest.mark.parametrize("kind", ["full", "sampled"])
def test_the_descriptions_are_sound_and_name_columns_that_exist(
    file: str, kind: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)
    schema = Schema.load(folder / file)
    assert schema.head_names == list(HEADS)
    assert schema.parent("long_click") == "click"
    assert (schema.sampling is not None) == (kind == "sampled")
    tables = [table for table in ("impressions", "items", "users") if getattr(schema.files, table)]
    found = [name for table in tables for name in pq.read_schema(folder / f"{table}.parquet").names]
    for name in schema.named_columns:
        # the ids are in the log and in the side table that they key; any other name twice would be ambiguous
        expected = 2 if name in ("item_id", "user_id") and "items" in tables else 1
        assert found.count(name) == expected, name
    truth = [name for name in schema.feature_columns if name.startswith(("true_", "taste_", "latent_", "conditional_"))]
    assert bool(truth) == (file == "dataset_oracle.toml")


def test_base_rates_and_the_best_possible_auc(tmp_path: Path) -> None:
    """Plausible rates. Click without the users' own tastes and without the position ranks at about .776 (methods 7)."""
    from sklearn.metrics import roc_auc_score

    from features.world.users import PRICE_SENSITIVITY, SEGMENT_TASTES

    make_world(tmp_path, users=5000, requests=5000)
    log = read(tmp_path)
    assert 0.13 < log["closeup"].mean() < 0.19
    assert 0.04 < log["click"].mean() < 0.065
    assert 0.02 < log["long_click"].mean() < 0.045
    assert 0.045 < log["save"].mean() < 0.075
    world = World.generate(users=5000)
    segment, item = world.users.segment[log["user_id"]], log["item_id"].to_numpy()
    match = (SEGMENT_TASTES[segment] * world.properties.latents[item]).sum(axis=1)
    affinity = 0.8 * match - PRICE_SENSITIVITY[segment] * world.properties.price[item]
    assert 0.755 < roc_auc_score(log["click"], affinity) < 0.795
    assert roc_auc_score(log["click"], log["true_click"]) > 0.82


def test_all_bad_arguments_are_named_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make_world(tmp_path / "w", properties=1, users=0, requests=0, candidates=3, negative_rate=0.0, days=0, seed=-1)
    assert len(caught.value.faults) == 7
    assert "`negative_rate` must satisfy 0 < negative_rate <= 1, got 0.0" in str(caught.value)
    assert not (tmp_path / "w").exists()


def test_unknown_ids_and_positions_are_refused() -> None:
    world = World.generate(properties=10, users=5)
    with pytest.raises(InputError, match=r"(?s)`user` must lie in 0\.\.4.*`item`.*`position` must satisfy"):
        world.probabilities([5], [-1], [0], [START])
