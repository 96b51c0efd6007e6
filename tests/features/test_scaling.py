"""Robust scaling: quartiles, tails, gaps and the sample that the quartiles are taken of."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import RobustScaler as Reference

from features.errors import InputError
from features.scaling import CLIP, RobustScaler, ValueSample, numbers


def test_equals_scikit_learn_where_quartiles_are_values() -> None:
    values = np.random.default_rng(0).lognormal(4.0, 0.5, 4001)  # 4001 = 4k + 1: every quartile is a value
    expected = Reference().fit_transform(values[:, None])[:, 0]
    scaled = RobustScaler.fit("price", values).transform(values)
    assert scaled.dtype == np.float32
    assert np.allclose(scaled, np.clip(expected, -CLIP, CLIP), atol=1e-6)


def test_large_numbers_keep_their_differences() -> None:
    seconds = 1_600_000_000 + np.arange(101)  # float32 alone would round these to 128 s
    scaled = RobustScaler.fit("time", seconds).transform(seconds)
    assert np.allclose(scaled, (np.arange(101) - 50) / 50, atol=1e-6)


def test_a_rare_flag_is_divided_by_its_standard_deviation() -> None:
    flag = np.array([0] * 9 + [1])
    scaler = RobustScaler.fit("flag", flag)
    assert scaler.scale == pytest.approx(flag.std())
    assert RobustScaler.fit("constant", np.full(5, 0.1)).scale == 1.0
    assert RobustScaler.fit("empty", np.empty(0)) == RobustScaler("empty")


def test_missing_is_the_median_and_is_told() -> None:
    scaler = RobustScaler.fit("price", np.array([1.0, 2.0, 3.0, 4.0, 5.0]), indicator=True)
    told = np.empty(4, np.float32)
    for column in (pa.array([3.0, None, float("nan"), 5.0]), np.array([3.0, np.nan, np.nan, 5.0])):
        assert scaler.transform(column, None, told).tolist() == [0.0, 0.0, 0.0, 1.0]
        assert told.tolist() == [0.0, 1.0, 1.0, 0.0]
    scaler.transform(pa.array([1, 2, 3, 4]), None, told)
    assert not told.any()


@given(st.lists(st.floats(width=64, allow_infinity=False), min_size=1, max_size=20))
def test_whatever_comes_the_result_is_finite_and_clipped(values: list[float]) -> None:
    scaled = RobustScaler("x", 1.0, 3.0).transform(np.array(values))
    assert np.isfinite(scaled).all()
    assert (np.abs(scaled) <= CLIP).all()


@pytest.mark.parametrize("values", [[1.0, np.inf, np.nan], [np.nan, -np.inf], [np.inf], [1.0, np.inf]])
def test_infinite_values_are_refused_beside_missing_ones_and_alone(values: list[float]) -> None:
    row = next(i for i, value in enumerate(values) if np.isinf(value))
    for column in (np.array(values), np.array(values, np.float32), pa.array(values)):
        with pytest.raises(InputError) as caught:
            RobustScaler("x").transform(column)
        fault = caught.value.faults[0]
        assert (fault.column, fault.row, fault.value, fault.count) == ("x", row, values[row], 1)


@given(
    values=st.lists(st.integers(-50, 50), min_size=1, max_size=30),
    seed=st.integers(0, 100),
)
def test_weights_equal_repetition(values: list[int], seed: int) -> None:
    array = np.array(values, np.float64)
    weights = np.random.default_rng(seed).integers(0, 4, len(array))
    weighted, repeated = RobustScaler.fit("x", array, weights), RobustScaler.fit("x", np.repeat(array, weights))
    assert weighted.center == repeated.center
    assert weighted.scale == pytest.approx(repeated.scale)


def test_round_trip() -> None:
    scaler = RobustScaler("price", 1.5, 0.25, True)
    assert RobustScaler(**scaler.state()) == scaler


@given(
    cuts=st.lists(st.integers(0, 500), max_size=6),
    limit=st.integers(3, 600),
)
def test_the_sample_does_not_depend_on_the_batches(cuts: list[int], limit: int) -> None:
    stream = np.arange(500.0)
    whole, parts = ValueSample(limit), ValueSample(limit)
    whole.add(stream)
    for part in np.split(stream, sorted(cuts)):
        parts.add(part)
    assert np.array_equal(whole.values(), parts.values())
    assert len(parts.values()) <= limit
    assert np.array_equal(parts.values(), stream[:: parts.stride])


def test_the_sample_is_exact_up_to_its_limit_and_skips_what_is_not_finite() -> None:
    sample = ValueSample(limit=4)
    sample.add(np.array([1.0, np.nan, 2.0, np.inf]))
    sample.add(np.array([3, 4]))
    assert sample.values().tolist() == [1.0, 2.0, 3.0, 4.0]


def test_numbers_of_every_arrow_kind() -> None:
    for column in (
        pa.array([1, None], pa.int8()),
        pa.array([True, None]),
        pa.array([1.0, None], pa.float16()),
        pa.array([Decimal("1.0"), None]),
        pa.array([1, None]).dictionary_encode(),
    ):
        values, missing = numbers(column, "x")
        assert missing is not None
        assert missing.tolist() == [False, True]
        assert values[0] == 1
    for column in (pa.array(["1"]), np.array(["1"]), pa.array([0], pa.date32()), pa.array([[1]])):
        with pytest.raises(InputError, match="column `x`: must hold numbers, got type"):
            numbers(column, "x")
