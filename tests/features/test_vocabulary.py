"""Vocabularies: every known id has one index, everything else shares index 0."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from features.vocabulary import Vocabulary, as_integers

INT64 = st.integers(-(2**63), 2**63 - 1)


def restored(vocabulary: Vocabulary) -> Vocabulary:
    meta, arrays = vocabulary.state()
    return Vocabulary.from_state(json.loads(json.dumps(meta)), arrays)


@given(keys=st.lists(INT64, unique=True, max_size=30), asked=st.lists(INT64, max_size=30))
def test_integers_equal_a_dictionary(keys: list[int], asked: list[int]) -> None:
    vocabulary = Vocabulary("id", "int", np.array(keys, np.int64))
    table = {key: index for index, key in enumerate(keys, start=1)}
    queries = [*asked, *keys]
    expected = [table.get(query, 0) for query in queries]
    assert vocabulary.encode(np.array(queries, np.int64)).tolist() == expected
    assert vocabulary.encode(pa.array(queries, pa.int64())).tolist() == expected
    assert restored(vocabulary).encode(pa.array(queries, pa.int64())).tolist() == expected


@given(keys=st.lists(st.text(max_size=4), unique=True, max_size=20), asked=st.lists(st.text(max_size=4), max_size=60))
def test_strings_equal_a_dictionary(keys: list[str], asked: list[str]) -> None:
    vocabulary = Vocabulary("name", "string", keys)
    table = {key: index for index, key in enumerate(keys, start=1)}
    queries = [*asked, *keys, None]
    expected = [table.get(query, 0) if query is not None else 0 for query in queries]
    column = pa.array(queries, pa.string())
    assert vocabulary.encode(column).tolist() == expected
    assert vocabulary.encode(column.cast(pa.large_string())).tolist() == expected
    assert vocabulary.encode(column.dictionary_encode()).tolist() == expected
    assert restored(vocabulary).encode(column).tolist() == expected


@pytest.mark.parametrize("spread", [1, 3, 10**9], ids=["dense", "range", "hashed"])
def test_many_integers_whatever_the_lookup(spread: int) -> None:
    keys = np.random.default_rng(0).permutation(50_000)[:20_000] * spread + 5
    vocabulary = Vocabulary("id", "int", keys)
    assert np.array_equal(vocabulary.encode(keys), np.arange(1, len(keys) + 1))
    assert not vocabulary.encode(np.array([4, -1, 5 + 50_000 * spread, 2**63 - 1, -(2**63)])).any()


def test_ids_beyond_the_floats_stay_apart() -> None:
    ids = [2**53, 2**53 + 1, 2**62 + 1]
    column = pa.array([*ids, None, 2**53 + 2], pa.int64())
    assert Vocabulary("id", "int", np.array(ids)).encode(column).tolist() == [1, 2, 3, 0, 0]


def test_unsigned_ids_wrap_to_one_index_each() -> None:
    huge = np.array([2**63 + 5, 7], np.uint64)
    vocabulary = Vocabulary("id", "int", huge.astype(np.int64))
    assert vocabulary.encode(huge).tolist() == [1, 2]
    assert vocabulary.encode(pa.array(huge)).tolist() == [1, 2]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.float32(), pa.float64()])
def test_every_width_of_number_means_the_same_id(kind: pa.DataType) -> None:
    vocabulary = Vocabulary("id", "int", np.array([100, 3]))
    assert vocabulary.encode(pa.array([3, 100, None, 5]).cast(kind)).tolist() == [2, 1, 0, 0]


def test_booleans_and_numpy_floats_with_gaps() -> None:
    vocabulary = Vocabulary("flag", "int", np.array([1, 0]))
    assert vocabulary.encode(np.array([True, False])).tolist() == [1, 2]
    assert vocabulary.encode(pa.array([True, None, False])).tolist() == [1, 0, 2]
    assert vocabulary.encode(np.array([1.0, np.nan, 0.0])).tolist() == [1, 0, 2]


def test_a_slice_of_a_large_dictionary() -> None:
    values = [f"v{i}" for i in range(1000)]
    column = pa.array(values).dictionary_encode().slice(990, 3)
    assert Vocabulary("name", "string", ["v992", "v990"]).encode(column).tolist() == [2, 0, 1]
    with_null = pa.DictionaryArray.from_arrays(pa.array([0, None, 1]), pa.array(["a", None]))
    assert Vocabulary("name", "string", ["a"]).encode(with_null).tolist() == [1, 0, 0]


def test_nothing_but_nulls() -> None:
    column = pa.nulls(3)
    assert Vocabulary("id", "int", np.array([4])).encode(column).tolist() == [0, 0, 0]
    assert Vocabulary("id", "string", ["a"]).encode(column).tolist() == [0, 0, 0]
    unknown = restored(Vocabulary("id", None))
    assert unknown.encode(pa.array(["a", "b"])).tolist() == [0, 0]
    assert unknown.encode(np.array([1, 2])).tolist() == [0, 0]
    assert Vocabulary("id", "int", np.array([4])).encode(pa.array([], pa.int32())).tolist() == []


@pytest.mark.parametrize(
    ("vocabulary", "column", "message"),
    [
        (Vocabulary("id", "int", np.array([1])), pa.array(["1"]), "column `id`: must hold integers, as in training"),
        (Vocabulary("id", "string", ["1"]), pa.array([1]), "column `id`: must hold strings, as in training"),
        (Vocabulary("id", "string", ["1"]), np.array([1]), "got type int64"),
        (Vocabulary("id", "string", ["1"]), pa.array([1.0]), "got type double"),
        (Vocabulary("id", "int", np.array([1])), pa.array([1.5]), "double with fractions"),
        (Vocabulary("id", "int", np.array([1])), pa.array(["1"]).dictionary_encode(), "got type string"),
        (Vocabulary("id", "int", np.array([1])), pa.array([b"1"]), "got type binary"),
    ],
)
def test_the_wrong_type_is_named(vocabulary: Vocabulary, column: pa.Array | np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vocabulary.encode(column)


def test_repeated_keys_are_refused() -> None:
    for keys in (np.array([1, 1]), np.array([1, 2**60, 2**60])):
        with pytest.raises(ValueError, match="must be distinct, got 1 repeated"):
            Vocabulary("id", "int", keys)
    with pytest.raises(ValueError, match="must be distinct, got 1 repeated"):
        Vocabulary("id", "string", ["a", "a"])
    with pytest.raises(ValueError, match="`kind` must be"):
        Vocabulary("id", "float", [])


def test_as_integers_keeps_integers() -> None:
    column = pa.array([1, None], pa.int16())
    assert as_integers(column, "id", None) is column
