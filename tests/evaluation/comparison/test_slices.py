"""Slices: a partition of the rows, named as people would, whatever the column is made of."""

from __future__ import annotations

import datetime
import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.slicing.slices import Slices


def test_text_has_the_largest_slice_first_and_the_rare_together() -> None:
    values = ["c"] * 5 + ["a"] * 3 + ["b"] * 2 + ["x", "y", "z"]
    slices = Slices.of("country", values, most=2)
    assert slices.names == ("c", "a", "other (4 values)")
    assert slices.rows().tolist() == [5, 3, 5]


def test_one_value_too_many_keeps_its_name() -> None:
    assert Slices.of("country", ["a", "a", "b", "c"], most=2).names == ("a", "b", "c")


def test_expected_values_are_listed_empty_or_rare() -> None:
    slices = Slices.of("country", ["a"] * 9 + ["b"] * 5 + list("cdefg"), expected=["g", "none"], most=1)
    assert slices.names == ("a", "g", "none", "other (5 values)")
    assert slices.rows().tolist() == [9, 1, 0, 9]
    assert Slices.of("country", [], expected=["a"]).rows().tolist() == [0]


@pytest.mark.parametrize(
    ("values", "expected", "names"),
    [
        ([1.0, 2.0, 1.0], ["1.0", "2e0", "3.0", "3"], ("1", "2", "3.0")),
        ([1, 2], ["2.0", "0.5"], ("1", "2", "0.5")),
        (np.array([0.1, 0.5], np.float32), ["0.1", "0.50", "1e60"], ("0.10000000149011612", "0.5", "1e60")),
        (pa.array([2**60 + 1, None]), [str(2**60), f"{2**60 + 1}.0"], (str(2**60 + 1), str(2**60), "missing")),
        (pd.array([1.5, None], dtype="Float64"), ["1.50", "none", "nan"], ("1.5", "none", "nan", "missing")),
        (["1", "2"], ["1.0"], ("1", "2", "1.0")),  # text is text
        ([True, False], ["true", "1"], ("true", "false", "1")),
    ],
)
def test_expected_numbers_are_known_by_their_value(values: object, expected: list[str], names: tuple[str, ...]) -> None:
    assert Slices.of("x", values, expected=expected).names == names


def test_numbers_in_their_order_and_many_in_parts() -> None:
    assert Slices.of("stars", [3, 1, 3, 2]).names == ("1", "2", "3")
    slices = Slices.of("price", np.arange(1, 101), bins=4)
    assert slices.names == ("1 to 25", "26 to 50", "51 to 75", "76 to 100")
    assert slices.rows().tolist() == [25] * 4
    assert Slices.of("near", 1 + 1e-7 * np.arange(20), bins=2).names == ("1 to 1.0000009", "1.000001 to 1.0000019")


def test_equal_numbers_stay_together() -> None:
    slices = Slices.of("clicks", np.r_[np.zeros(90), np.arange(20)])
    assert slices.names == ("0", "1 to 19")
    assert slices.rows().tolist() == [91, 19]


@given(st.lists(st.one_of(st.none(), st.integers(-9, 9), st.floats(allow_nan=True)), max_size=60), st.integers(2, 6))
def test_parts_of_numbers_are_ordered_and_complete(values: list[float | None], bins: int) -> None:
    column = pd.Series(values, dtype="Float64").astype(float)
    slices = Slices.of("x", column, most=4, bins=bins)
    assert slices.rows().sum() == len(values)
    assert (slices.rows() > 0).all()
    ends = [(column[slices.codes == s].min(), column[slices.codes == s].max()) for s in range(slices.count)]
    numbers = [end for end, name in zip(ends, slices.names) if name != "missing"]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(numbers))
    assert ("missing" in slices.names) == bool(column.isna().any())


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, None, False, True], ("true", "false", "missing")),
        (pd.array([2, None, 1], dtype="Int64"), ("1", "2", "missing")),
        (pa.array(["a", "b", None, "a"]).dictionary_encode(), ("a", "b", "missing")),
        (pa.chunked_array([[2**60 + 1, None], [2**60]]), (str(2**60), str(2**60 + 1), "missing")),
        (pd.Categorical(["x", None, "x"], categories=["x", "unseen"]), ("x", "missing")),
        (pa.array([datetime.date(2024, 5, 1), None]), ("2024-05-01", "missing")),
        (pd.date_range("2024-01-01", periods=4, freq="h"), None),
        (["missing", None, ""], ("missing", "''", "missing (no value)")),
        (pa.array([None, None], pa.float64()), ("missing",)),
        ([1, "1", 2.5], ("1", "2.5")),
    ],
)
def test_kinds_of_columns(values: object, names: tuple[str, ...] | None) -> None:
    found = Slices.of("x", values).names
    assert found == names if names else len(found) == 4


def test_times_in_parts() -> None:
    days = pd.date_range("2024-01-01", periods=100)
    assert Slices.of("day", days, bins=2).names == ("2024-01-01 to 2024-02-19", "2024-02-20 to 2024-04-09")


@pytest.mark.parametrize("nested", [[["a"], ["b"]], pa.array([["a"], ["b"]]), np.ones((2, 2)), [(1, 2), (3, 4)]])
def test_lists_are_refused(nested: object) -> None:
    with pytest.raises(ValueError, match="`tags` must hold one value per row, got"):
        Slices.of("tags", nested)


def test_bad_arguments_are_named_together() -> None:
    with pytest.raises(ValueError, match=r"`most` must be at least 1, got 0; `bins` must be at least 2, got 1"):
        Slices.of("x", [1], most=0, bins=1)
    with pytest.raises(ValueError, match=r"`codes` of column 'x' must lie in 0 \.\. 0, got 0 \.\. 1"):
        Slices("x", ("a",), np.array([0, 1]))
    with pytest.raises(ValueError, match="must differ from one another"):
        Slices("x", ("a", "a"), np.array([0, 1]))
