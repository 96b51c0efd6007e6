"""The Pareto frontier against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization import pareto
from optimization.pareto import non_dominated

POINTS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 4), min_size=width, max_size=width), min_size=1, max_size=30)
)


def by_definition(points: list[list[int]]) -> list[bool]:
    def beats(a: list[int], b: list[int]) -> bool:
        return all(x >= y for x, y in zip(a, b)) and any(x > y for x, y in zip(a, b))

    return [not any(beats(other, point) for other in points) for point in points]


@given(POINTS)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_equal_to_the_definition(points: list[list[int]]) -> None:
    assert non_dominated(points).tolist() == by_definition(points)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    whole = non_dominated(points)
    monkeypatch.setattr(pareto, "_BLOCK", 7)
    assert np.array_equal(non_dominated(points), whole)
    assert 0 < whole.sum() < 300


def test_one_objective_keeps_its_best_and_nan_is_never_kept() -> None:
    assert non_dominated([[1.0], [2.0], [np.nan], [2.0]]).tolist() == [False, True, False, True]
    assert non_dominated([[np.nan, 9.0], [1.0, 1.0]]).tolist() == [False, True]
    assert non_dominated(np.empty((0, 2))).tolist() == []
    with pytest.raises(ValueError, match="2 dimension"):
        non_dominated([1.0, 2.0])
