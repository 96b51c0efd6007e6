"""Nelder-Mead: exactly its budget, inside the space, replayable, and it finds what can be found."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.checks import FloatArray
from optimization.search.cross_checks import nelder_mead, penalised
from optimization.search.space import SearchSpace

SPACE = SearchSpace.of(dict.fromkeys("abcd", 1))
BOUNDED = SearchSpace.of(dict.fromkeys("abcd", 1), {"a": (0.0, 0.3), "b": (0.2, 0.2), "c": (0.1, 1.0)})
TARGET = np.array([0.5, 0.1, 0.15, 0.25])


def distance_score(shares: FloatArray) -> float:
    return -float(((shares - TARGET) ** 2).sum())


def run(space: SearchSpace, budget: int, seed: int = 0, start: FloatArray | None = None) -> FloatArray:
    tried: list[FloatArray] = []

    def evaluate(shares: FloatArray) -> float:
        tried.append(shares)
        return distance_score(shares)

    nelder_mead(space, evaluate, np.full(4, 0.25) if start is None else start, budget, seed)
    return np.array(tried)


@pytest.mark.parametrize("space", [SPACE, BOUNDED])
@pytest.mark.parametrize("budget", [1, 2, 40, 300])
def test_the_budget_is_used_exactly_and_inside_the_space(space: SearchSpace, budget: int) -> None:
    tried = run(space, budget)
    assert tried.shape == (budget, 4)
    assert space.contains(tried, tol=1e-12).all()


def test_the_first_point_is_the_start_even_in_a_corner() -> None:
    np.testing.assert_array_equal(run(SPACE, 3)[0], np.full(4, 0.25))
    corner = np.array([1.0, 0.0, 0.0, 0.0])
    tried = run(SPACE, 80, start=corner)
    np.testing.assert_array_equal(tried[0], corner)
    assert max(map(distance_score, tried)) > 0.02 * distance_score(corner)
    np.testing.assert_allclose(run(BOUNDED, 1)[0], BOUNDED.nearest(np.full(4, 0.25))[0])


def test_the_optimum_of_a_smooth_landscape_is_found() -> None:
    np.testing.assert_allclose(max(run(SPACE, 80), key=distance_score), TARGET, atol=0.01)
    # The nearest point of the bounded space is its optimum.
    best = max(run(BOUNDED, 150), key=distance_score)
    np.testing.assert_allclose(best, BOUNDED.nearest(TARGET)[0], atol=0.01)


def test_a_constrained_optimum_is_found_by_the_penalty() -> None:
    """Maximise x_a under x_b >= 0.2 and x_c >= 0.3: (0.5, 0.2, 0.3, 0)."""
    tried = []

    def evaluate(shares: FloatArray) -> float:
        tried.append(shares)
        return penalised(float(shares[0]), [float(shares[1]) - 0.2, float(shares[2]) - 0.3])

    nelder_mead(SPACE, evaluate, [0.25, 0.25, 0.4, 0.1], budget=120, seed=0)
    feasible = [x for x in tried if x[1] >= 0.2 and x[2] >= 0.3]
    assert max(x[0] for x in feasible) > 0.49


def test_a_run_answered_from_a_record_goes_on_as_the_uninterrupted_one() -> None:
    whole = run(SPACE, 120, seed=3)
    answers = iter([distance_score(shares) for shares in whole[:70]])
    tried = []

    def evaluate(shares: FloatArray) -> float:
        tried.append(shares)
        return next(answers, None) or distance_score(shares)

    nelder_mead(SPACE, evaluate, np.full(4, 0.25), budget=120, seed=3)
    np.testing.assert_array_equal(np.array(tried), whole)
    assert not np.array_equal(run(SPACE, 300, seed=4)[-1], run(SPACE, 300, seed=3)[-1])  # the seed moves the restarts


def test_undefined_scores_are_the_lowest() -> None:
    tried = []

    def evaluate(shares: FloatArray) -> float:
        tried.append(shares)
        return float("nan") if shares[0] > 0.4 else distance_score(shares)

    nelder_mead(SPACE, evaluate, np.full(4, 0.25), budget=100, seed=0)
    best = max((x for x in tried if x[0] <= 0.4), key=distance_score)
    assert best[0] > 0.38
    assert len(tried) == 100


def test_penalised_by_hand() -> None:
    assert penalised(0.5, []) == 0.5
    assert penalised(0.5, [0.0, 3.0]) == 0.5
    assert penalised(0.5, [-0.01, -0.02, 1.0], weight=5.0) == pytest.approx(0.5 - 0.1)


def test_a_budget_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`budget` must be >= 1, got 0"):
        nelder_mead(SPACE, distance_score, np.full(4, 0.25), budget=0, seed=0)
