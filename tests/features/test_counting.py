"""Counting ids over batches: the same vocabulary however the rows are cut."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import features.counting as counting
from features.counting import VocabularyCounter
from features.errors import InputError


@given(batches=st.lists(st.lists(st.one_of(st.none(), st.integers(0, 8)), max_size=20), max_size=6))
def test_counts_equal_a_counter(batches: list[list[int | None]]) -> None:
    counter = VocabularyCounter("id")
    for batch in batches:
        counter.add(pa.array(batch, pa.int64()))
    expected = Counter(value for batch in batches for value in batch if value is not None)
    keys, counts = counter.counts()
    assert list(zip(list(keys), counts.tolist())) == sorted(expected.items(), key=lambda kv: (-kv[1], kv[0]))


def test_merging_in_between_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).zipf(1.5, 5000) % 300
    whole, parts = VocabularyCounter("id"), VocabularyCounter("id")
    whole.add(pa.array(values))
    monkeypatch.setattr(counting, "MERGE_ROWS", 50)
    for start in range(0, 5000, 333):
        parts.add(pa.array(values[start : start + 333].astype(np.int32)))
    assert np.array_equal(whole.vocabulary(10).keys, parts.vocabulary(10).keys)
    assert 0 < len(parts.vocabulary(10)) < len(np.unique(values))


def test_min_count_keeps_values_seen_exactly_that_often() -> None:
    counter = VocabularyCounter("device")
    counter.add(pa.array(["b", "b", "a", "a", "c", None]).dictionary_encode())
    assert counter.vocabulary(2).keys == ["a", "b"]
    assert counter.vocabulary(1).keys == ["a", "b", "c"]
    assert counter.vocabulary(3).keys == []
    with pytest.raises(ValueError, match="`min_count` must be at least 1, got 0"):
        counter.vocabulary(0)


def test_weights_count_a_row_more_than_once() -> None:
    weighted, plain = VocabularyCounter("id"), VocabularyCounter("id")
    values, weights = np.array([5, 6, 5, 7]), np.array([2, 3, 1, 4])
    weighted.add(pa.array(values, mask=values == 7), weights)
    plain.add(pa.array(np.repeat(values, weights), mask=np.repeat(values, weights) == 7))
    for a, b in zip(weighted.counts(), plain.counts()):
        assert np.array_equal(a, b)


def test_only_nulls_have_no_kind() -> None:
    counter = VocabularyCounter("id")
    counter.add(pa.nulls(4))
    counter.add(pa.array([None, None], pa.string()))
    vocabulary = counter.vocabulary(1)
    assert vocabulary.kind is None
    assert len(vocabulary) == 0


def test_strings_after_integers_are_refused() -> None:
    counter = VocabularyCounter("id")
    counter.add(pa.array([1, 2]))
    with pytest.raises(InputError, match="column `id`: must hold integers, as in training, got type string"):
        counter.add(pa.array(["1"]))
    with pytest.raises(InputError, match="must hold integers, booleans or strings, got type date32"):
        VocabularyCounter("day").add(pa.array([1], pa.date32()))
