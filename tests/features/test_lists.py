"""Padded lists: equal to a loop over rows, in every layout Arrow has."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from features.lists import encode_lists, first_elements
from features.vocabulary import Vocabulary

LISTS = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.sampled_from("abcd")), max_size=6)), max_size=12)


def by_hand(rows: list[list[str | None] | None], length: int, offset: int) -> list[list[int]]:
    table = {"b": 1, "a": 2}
    padded = []
    for row in rows:
        codes = [table.get(value or "", 0) + offset for value in (row or [])[:length]]
        padded.append(codes + [0] * (length - len(codes)))
    return padded


@given(rows=LISTS, length=st.integers(1, 5), start=st.integers(0, 3))
def test_equals_a_loop(rows: list[list[str | None] | None], length: int, start: int) -> None:
    vocabulary = Vocabulary("filters", "string", ["b", "a"])
    column = pa.array(rows, pa.list_(pa.string()))
    layouts = [column, column.cast(pa.large_list(pa.large_string())), pa.array(rows, pa.list_view(pa.string()))]
    for layout in layouts:
        sliced = layout.slice(start)
        out = np.empty((len(sliced), length), np.int32)
        encode_lists(sliced, vocabulary, 40, out)
        assert out.tolist() == by_hand(rows[start:], length, 40)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_fixed_size_lists(length: int) -> None:
    rows = [["a", "b"], None, ["x", None], ["b", "b"]]
    column = pa.array(rows, pa.list_(pa.string(), 2))
    for start in (0, 1, 2):
        out = np.empty((4 - start, length), np.int32)
        encode_lists(column.slice(start), Vocabulary("filters", "string", ["b", "a"]), 7, out)
        assert out.tolist() == by_hand(rows[start:], length, 7)


def test_values_under_a_null_list_do_not_count() -> None:
    """Arrow may keep elements under a null list; they belong to no row."""
    column = pa.ListArray.from_arrays(
        pa.array([0, 2, 4, 5]), pa.array([1, 2, 3, 4, 5]), mask=pa.array([False, True, False])
    )
    elements, lengths = first_elements(column, 9, "ids")
    assert elements.to_pylist() == [1, 2, 5]
    assert lengths.tolist() == [2, 0, 1]


def test_nulls_only_and_integers() -> None:
    out = np.empty((2, 3), np.int32)
    encode_lists(pa.nulls(2), Vocabulary("ids", "int", np.array([9])), 5, out)
    assert not out.any()
    encode_lists(pa.array([[9], [2**60, 9]]), Vocabulary("ids", "int", np.array([9])), 5, out)
    assert out.tolist() == [[6, 0, 0], [5, 6, 0]]


@pytest.mark.parametrize("column", [np.array([1, 2]), pa.array([1, 2])])
def test_scalars_are_refused(column: pa.Array | np.ndarray) -> None:
    with pytest.raises(InputError, match="column `ids`: must hold lists, got type int64"):
        encode_lists(column, Vocabulary("ids", "int", np.array([9])), 5, np.empty((2, 3), np.int32))
