"""Holm's adjustment: equal to the closed testing procedure that it is a shortcut of."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evaluation.holm import holm


def closed_testing(p: np.ndarray) -> list[float]:
    """Adjusted p of i: the largest Bonferroni p over every set of hypotheses that holds i [Marcus et al. 1976]."""
    sets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), size)]
    return [max(min(1.0, len(s) * min(p[list(s)])) for s in sets if i in s) for i in range(len(p))]


def test_it_is_the_closed_test_with_bonferroni() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.choice([rng.random(6) ** 3, rng.integers(0, 4, 6) / 10.0])
        assert holm(p).tolist() == pytest.approx(closed_testing(p))


def test_what_was_not_tested_costs_nothing() -> None:
    assert holm([]).tolist() == []
    assert holm([0.2]).tolist() == [0.2]
    assert holm([np.nan, 0.2, np.nan, 0.03]).tolist() == pytest.approx([np.nan, 0.2, np.nan, 0.06], nan_ok=True)
