"""Statistics of earlier rows: equal to a loop, blind to the present and the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.statistics import earlier_statistics

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(-3, 3)), max_size=40)


@given(ROWS)
def test_equals_a_loop(rows: list[tuple[int, int, int]]) -> None:
    keys, time, value = (np.array([row[j] for row in rows], np.int64) for j in range(3))
    counts, sums = earlier_statistics(keys, time, np.stack([value, np.ones_like(value)], axis=1))
    for i, (key, moment, _) in enumerate(rows):
        earlier = [v for k, t, v in rows if k == key and t < moment]
        assert counts[i] == len(earlier)
        assert sums[i].tolist() == [sum(earlier), len(earlier)]


def test_a_rows_own_label_and_later_labels_never_enter() -> None:
    rng = np.random.default_rng(0)
    keys, time, labels = rng.integers(0, 5, 200), rng.integers(0, 50, 200), rng.integers(0, 2, 200)
    _, before = earlier_statistics(keys, time, labels)
    for moment in (10, 30):
        changed = np.where(time >= moment, 1 - labels, labels)
        _, after = earlier_statistics(keys, time, changed)
        assert np.array_equal(before[time <= moment], after[time <= moment])
        assert not np.array_equal(before, after)


def test_kinds_of_keys_and_times() -> None:
    keys, time, value = ["a", "b", "a", "a"], [1, 1, 2, 3], [1.0, 1.0, 0.0, 1.0]
    expected = ([0, 0, 1, 2], [0.0, 0.0, 1.0, 1.0])
    stamps = pd.to_datetime(pd.Series(time), unit="s")
    for k in (keys, pd.Series(keys), pa.array(keys), pd.Categorical(keys), np.array([7, 2**60, 7, 7])):
        for t in (time, stamps, pa.array(stamps), np.array(time, np.float32)):
            counts, sums = earlier_statistics(k, t, value)
            assert (counts.tolist(), sums.tolist()) == expected


def test_missing_keys_have_no_history_and_nan_adds_nothing() -> None:
    counts, sums = earlier_statistics(
        pa.array([None, 2**60 + 1, None, 2**60 + 1, 2**60]), range(5), [1.0, np.nan, 1, 1, 1]
    )
    assert counts.tolist() == [0, 0, 0, 1, 0]
    assert sums.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="equally long, got 2, 1 and 2"):
        earlier_statistics([1, 2], [1], [1.0, 1.0])
    with pytest.raises(ValueError, match="`time` must not be missing, got 1 missing"):
        earlier_statistics([1, 2], [1.0, np.nan], [1.0, 1.0])


def test_no_rows() -> None:
    counts, sums = earlier_statistics(np.empty(0, np.int64), np.empty(0), np.empty((0, 3)))
    assert counts.shape == (0,)
    assert sums.shape == (0, 3)
