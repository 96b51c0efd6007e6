"""Ids: one hash per value whatever its layout, and exact look-up in a table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.ids import IdIndex, hash_ids, is_id_type


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50, unique=True))
def test_integers_never_share_a_hash(ids: list[int]) -> None:
    assert len(set(hash_ids(pa.array(ids, pa.int64())).tolist())) == len(ids)


@pytest.mark.parametrize("dtype", [pa.int8(), pa.uint16(), pa.int64(), pa.uint64()])
def test_the_width_of_an_integer_does_not_matter(dtype: pa.DataType) -> None:
    np.testing.assert_array_equal(hash_ids(pa.array([0, 7, None], dtype)), hash_ids(pa.array([0, 7, None], pa.int32())))


@given(st.lists(st.none() | st.text(max_size=3), max_size=30))
def test_the_layout_of_text_does_not_matter(ids: list[str | None]) -> None:
    plain = hash_ids(pa.array(ids, pa.string()))
    chunks = pa.chunked_array([pa.array(ids[:3], pa.string()), pa.array(ids[3:], pa.string())])
    for other in (pa.array(ids, pa.large_string()), pa.array(ids, pa.string()).dictionary_encode(), chunks):
        np.testing.assert_array_equal(hash_ids(other), plain)


@given(st.lists(st.integers(0, 40), unique=True, max_size=30), st.lists(st.none() | st.integers(0, 60), max_size=50))
@pytest.mark.parametrize("text", [False, True])
def test_an_index_finds_what_a_dictionary_finds(text: bool, keys: list[int], ids: list[int | None]) -> None:
    expected = [keys.index(i) if i in keys else -1 for i in ids]
    if text:
        index, asked = IdIndex(pa.array(map(str, keys), pa.string())), [None if i is None else str(i) for i in ids]
        found = index.rows(pa.array(asked, pa.large_string()))
    else:
        found = IdIndex(pa.array(keys, pa.int32())).rows(pa.array(ids, pa.int64()))
    assert found.tolist() == expected


def test_text_is_not_looked_up_among_integers() -> None:
    with pytest.raises(ValueError, match="same kind as the table's key, got string"):
        IdIndex(pa.array([1])).rows(pa.array(["1"]))


def test_what_can_be_an_id() -> None:
    assert is_id_type(pa.dictionary(pa.int32(), pa.large_string()))
    assert not any(map(is_id_type, (pa.float32(), pa.bool_(), pa.timestamp("s"), pa.list_(pa.int64()))))
