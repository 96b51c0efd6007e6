"""Cutting a sequence: every part has an element, and none is heavier than the bound in the docstring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.gallery.cutting import cut_evenly


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 44), min_size=1, max_size=60), st.data())
def test_parts_are_consecutive_not_empty_and_within_the_bound(sizes: list[int], data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, len(sizes)))
    cuts = cut_evenly(np.array(sizes), parts)
    assert (cuts[0], cuts[-1], len(cuts)) == (0, len(sizes), parts + 1)
    assert (np.diff(cuts) >= 1).all()
    weights = np.add.reduceat(sizes, cuts[:-1])
    assert weights.max() <= -(-sum(sizes) // parts) - 1 + max(sizes)


def test_equal_sizes_are_cut_into_equal_parts() -> None:
    assert cut_evenly(np.full(12, 5), 4).tolist() == [0, 3, 6, 9, 12]


@pytest.mark.parametrize("parts", [0, 4])
def test_more_parts_than_elements_are_refused(parts: int) -> None:
    with pytest.raises(ValueError, match=r"`parts` must satisfy 1 <= parts <= 3 \(the elements\)"):
        cut_evenly(np.array([1, 2, 3]), parts)
