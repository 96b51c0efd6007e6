"""Thinning a log: protected rows stay, weights recover the totals, batches do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from features.errors import InputError
from features.sampling import downsample_negatives, negative_rates, negative_sample_mask


def a_log(rows: int = 40_000, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "row": np.arange(rows),
            "request": np.repeat(rng.permutation(rows // 4) + 2**60, 4),
            "click": (rng.random(rows) < 0.05).astype(np.int8),
            "save": pa.array((rng.random(rows) < 0.02).astype(float), mask=rng.random(rows) < 0.1),
            "price": rng.lognormal(4.0, 1.0, rows),
        }
    )


@pytest.mark.parametrize("unit", ["row", "request"])
@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_weighted_totals_recover_the_log(unit: str, rate: float) -> None:
    """E[sum of kept x / keep_prob] = sum of x, within 4 standard errors (methods 1.2, general sampling)."""
    log = a_log()
    thin = downsample_negatives(log, rate, ["click", "save"], unit=unit, request="request", seed=3)
    weight = 1.0 / thin["keep_prob"].to_numpy()
    for name in ("price", "click"):
        x = log[name].to_numpy().astype(float)
        dropped = log.to_pandas().assign(x=x)
        engaged = (dropped["click"] == 1) | (dropped["save"] == 1)
        key = dropped["row"] if unit == "row" else dropped["request"]
        unit_total = dropped["x"].groupby(key).sum()[~engaged.groupby(key).any()]
        error = np.sqrt((unit_total**2).sum() * (1 - rate) / rate)
        found = (thin[name].to_numpy() * weight).sum()
        assert abs(found - x.sum()) <= 4 * error + 1e-9
    assert 0.8 * rate < thin.num_rows / log.num_rows < 1


def test_protected_rows_are_all_there_with_probability_one() -> None:
    log = a_log()
    thin = downsample_negatives(log, 0.1, ["click", "save"], seed=1).to_pandas()
    full = log.to_pandas()
    engaged = full[(full["click"] == 1) | (full["save"] == 1)]
    kept = thin[thin["keep_prob"] == 1.0]
    assert kept["row"].tolist() == engaged["row"].tolist()
    assert set(thin.loc[thin["keep_prob"] < 1, "keep_prob"]) == {0.1}


def test_requests_stay_whole() -> None:
    log = a_log()
    thin = downsample_negatives(log, 0.3, ["click"], unit="request", request="request").to_pandas()
    assert (thin.groupby("request").size() == 4).all()
    assert (thin.groupby("request")["keep_prob"].nunique() == 1).all()
    protected = thin.groupby("request")["click"].max() == 1
    assert ((thin.groupby("request")["keep_prob"].first() == 1.0) == protected).all()


def test_batches_equal_the_whole() -> None:
    log = a_log(8000)
    whole = downsample_negatives(log, 0.2, ["click"], seed=5)
    parts = [
        downsample_negatives(log.slice(s, 1000), 0.2, ["click"], seed=5, first_row=s) for s in range(0, 8000, 1000)
    ]
    assert pa.concat_tables(parts).equals(whole)
    by_request = {"unit": "request", "request": "request", "seed": 5}
    whole = downsample_negatives(log, 0.2, ["click"], **by_request)
    parts = [downsample_negatives(log.slice(s, 1000), 0.2, ["click"], **by_request) for s in range(0, 8000, 1000)]
    assert pa.concat_tables(parts).equals(whole)


def test_the_seed_decides_and_frames_equal_tables() -> None:
    log = a_log(8000)
    one, again, other = (downsample_negatives(log, 0.5, ["click"], seed=s) for s in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)
    frame = downsample_negatives(log.to_pandas(), 0.5, ["click"], seed=1)
    assert isinstance(frame, pd.DataFrame)
    assert frame["row"].tolist() == one["row"].to_pylist()
    assert frame["keep_prob"].tolist() == one["keep_prob"].to_pylist()
    assert one.schema.field("keep_prob").type == pa.float64()


def test_string_requests() -> None:
    log = a_log(4000)
    named = log.set_column(1, "request", log["request"].cast(pa.string()))
    thin = downsample_negatives(named, 0.3, ["click"], unit="request", request="request")
    assert 0 < thin.num_rows < 4000
    assert (thin.to_pandas().groupby("request").size() == 4).all()


def test_an_existing_keep_prob_is_multiplied() -> None:
    log = a_log()
    once = downsample_negatives(log, 0.5, ["click"], seed=1)
    twice = downsample_negatives(once, 0.4, ["click"], seed=2)
    probability = twice["keep_prob"].to_numpy()
    assert set(np.round(probability, 12)) == {1.0, 0.2}
    assert twice.schema.names == once.schema.names
    n_negative = int((log["click"].to_numpy() == 0).sum())
    found = (probability < 1).sum() / 0.2
    assert abs(found - n_negative) < 4 * np.sqrt(n_negative * 0.8 / 0.2)


def test_a_rate_per_row() -> None:
    log = a_log()
    rate = np.where(np.arange(log.num_rows) % 2 == 0, 1.0, 0.25)
    thin = downsample_negatives(log.append_column("rate", pa.array(rate)), "rate", ["click"])
    kept = thin["row"].to_numpy()
    assert (kept % 2 == 0).sum() == log.num_rows // 2
    negative = thin["click"].to_numpy() == 0
    assert np.array_equal(thin["keep_prob"].to_numpy()[negative], rate[kept[negative]])


def test_rate_one_keeps_everything() -> None:
    log = a_log(400)
    assert downsample_negatives(log, 1.0, ["click"]).drop_columns("keep_prob").equals(log)


def test_faults() -> None:
    log = a_log(400)
    with pytest.raises(InputError) as error:
        downsample_negatives(log, "rate", ["click", "hide"])
    assert [fault.column for fault in error.value.faults] == ["hide", "rate"]
    with pytest.raises(ValueError, match=r"0 < rate <= 1, got 0\.0"):
        downsample_negatives(log, 0.0, ["click"])
    rates = log.append_column("rate", pa.array(np.linspace(0.1, 1.5, 400)))
    with pytest.raises(InputError, match="column `rate`, row 257: must satisfy 0 < rate <= 1"):
        downsample_negatives(rates, "rate", ["click"])
    with pytest.raises(ValueError, match=r"0 < rate <= 1, got 1\.5"):
        negative_sample_mask(np.zeros(3), 1.5, seed=0)
    mixed = log.append_column("rate", pa.array(np.linspace(0.1, 0.9, 400)))
    with pytest.raises(InputError, match="must be one rate per request"):
        downsample_negatives(mixed, "rate", ["click"], unit="request", request="request")
    with pytest.raises(ValueError, match="`request` must name a column"):
        downsample_negatives(log, 0.5, ["click"], unit="request")
    with pytest.raises(ValueError, match="`unit` must be"):
        downsample_negatives(log, 0.5, ["click"], unit="session")
    with pytest.raises(ValueError, match="`protected_by` must name"):
        downsample_negatives(log, 0.5, [])


@pytest.mark.parametrize("kind", ["arrow", "pandas", "mapping"])
def test_rates_of_a_table_are_checked_with_row_and_value(kind: str) -> None:
    def table(values: list[float | None]) -> Any:
        arrow = pa.table({"rate": pa.array(values, pa.float64())})
        return {"arrow": arrow, "pandas": arrow.to_pandas(), "mapping": {"rate": arrow["rate"].to_numpy()}}[kind]

    rates = negative_rates(table([0.5, 1.0, 0.01]), "rate")
    assert rates.dtype == np.float64
    assert rates.tolist() == [0.5, 1.0, 0.01]
    with pytest.raises(InputError) as caught:
        negative_rates(table([0.5, None, 0.0, 1.5, None]), "rate")
    missing, wrong = caught.value.faults
    assert (missing.column, missing.row, missing.value, missing.count) == ("rate", 1, None, 2)
    assert (wrong.column, wrong.row, wrong.value, wrong.count) == ("rate", 2, 0.0, 2)
    with pytest.raises(InputError, match="column `other`: is missing"):
        negative_rates(table([0.5]), "other")
    with pytest.raises(InputError, match="must satisfy 0 < rate <= 1, got inf"):
        negative_rates(table([float("inf")]), "rate")


@pytest.mark.parametrize("requests", [None, np.zeros(4, np.int64)])
def test_a_mask_cannot_be_drawn_where_protection_is_unknown(requests: np.ndarray | None) -> None:
    unknown = torch.tensor([0.0, 1.0, float("nan"), float("nan")])
    with pytest.raises(ValueError, match=r"got NaN in 2 rows \(the first is row 2\).*keep every row"):
        negative_sample_mask(unknown, 0.5, seed=0, requests=requests)
    assert negative_sample_mask(unknown[:2], 0.5, seed=0).tolist()[1] is True


def test_mask_keeps_the_protected_and_the_rate_of_the_others() -> None:
    protected = torch.from_numpy((np.random.default_rng(0).random(50_000) < 0.1).astype(np.float32))
    mask = negative_sample_mask(protected, 0.2, seed=1)
    engaged = protected.numpy() == 1
    assert mask[engaged].all()
    n = int((~engaged).sum())
    assert abs(mask[~engaged].sum() - 0.2 * n) < 4 * np.sqrt(n * 0.2 * 0.8)
    assert not np.array_equal(mask, negative_sample_mask(protected, 0.2, seed=2))
    assert negative_sample_mask(protected, 1.0, seed=1).all()


def test_mask_by_row_number_does_not_depend_on_the_other_rows() -> None:
    protected = np.zeros(1000)
    whole = negative_sample_mask(protected, 0.5, seed=1, rows=np.arange(1000))
    chosen = np.arange(0, 1000, 3)
    assert np.array_equal(negative_sample_mask(protected[chosen], 0.5, seed=1, rows=chosen), whole[chosen])


def test_mask_keeps_requests_whole() -> None:
    rng = np.random.default_rng(0)
    requests, protected = rng.integers(0, 3000, 9000), rng.random(9000) < 0.02
    mask = negative_sample_mask(protected, 0.3, 1, torch.from_numpy(requests))
    frame = pd.DataFrame({"request": requests, "protected": protected, "kept": mask}).groupby("request")
    assert (frame["kept"].nunique() == 1).all()
    assert frame["kept"].first()[frame["protected"].any()].all()
    free = frame["kept"].first()[~frame["protected"].any()]
    assert abs(free.sum() - 0.3 * len(free)) < 4 * np.sqrt(len(free) * 0.21)


def test_thinning_a_thinned_log_draws_anew() -> None:
    """The log's own sampling and the mask use different streams: the same seed must not keep the same rows again."""
    log = a_log(20_000)
    rows = log["row"].to_numpy()
    first = downsample_negatives(log, 0.5, ["click"], seed=1)["row"].to_numpy()
    second = negative_sample_mask(log["click"].to_numpy(), 0.5, seed=1, rows=rows)
    negative = (log["click"].to_numpy() == 0)[first]
    assert abs(second[first][negative].mean() - 0.5) < 4 * 0.5 / np.sqrt(negative.sum())
