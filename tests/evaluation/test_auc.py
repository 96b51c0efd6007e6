from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evaluation.auc import auc, auc_influence


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_equals_scikit_learn_and_its_influence_is_the_derivative(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 60))
    labels = (rng.random(size) < 0.4).astype(float)
    labels[:2] = 0.0, 1.0
    scores, weights = rng.integers(0, levels, size) / 3.0, rng.exponential(size=size) + 0.1
    value, influence = auc_influence(labels, scores, weights)
    assert value == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert influence.sum() == pytest.approx(0.0, abs=1e-10)
    row = int(rng.integers(size))
    step = np.zeros(size)
    step[row] = 1e-5
    slope = (auc(labels, scores, weights + step) - auc(labels, scores, weights - step)) / 2e-5
    assert influence[row] / weights[row] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_all_pairs_counted_by_hand() -> None:
    labels, scores, weights = np.array([1, 0, 1, 0]), np.array([2, 2, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0])
    won = 1 * 2 * 0.5 + 1 * 4 + 3 * 2 * 0 + 3 * 4
    assert auc(labels, scores, weights) == pytest.approx(won / (4 * 6), abs=1e-15)


def test_reversed_scores_mirror_and_constant_scores_are_a_half() -> None:
    rng = np.random.default_rng(1)
    labels, scores = (rng.random(200) < 0.3).astype(float), rng.integers(0, 20, 200)
    assert auc(labels, scores) + auc(labels, -scores) == pytest.approx(1.0)
    assert auc(labels, np.zeros(200)) == pytest.approx(0.5)


@pytest.mark.parametrize("labels", [[1, 1], [0, 0]])
def test_one_class_is_undefined(labels: list[int]) -> None:
    value, influence = auc_influence(labels, [1, 2])
    assert np.isnan(value)
    assert np.isnan(influence).all()
