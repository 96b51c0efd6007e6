from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from evaluation.average_precision import ap_influence, average_precision


@st.composite
def ranked_rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels with a positive row, scores with many ties, positive weights."""
    size = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random(size) < rng.uniform(0.05, 0.95)).astype(float)
    labels[rng.integers(size)] = 1.0
    return labels, rng.integers(0, draw(st.integers(1, 40)), size) / 7.0, rng.exponential(size=size) + 1e-3


@settings(max_examples=150, deadline=None, derandomize=True)
@given(ranked_rows())
def test_equals_scikit_learn_with_ties_and_weights(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, scores, weights = rows
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(labels, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_equals_scikit_learn_on_a_large_log() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=100_000).round(3)
    labels = rng.random(100_000) < 1 / (1 + np.exp(4 - scores))
    weights = np.where(labels, 1.0, 10.0)
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(labels, scores, weights) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ranked_rows())
def test_properties_of_a_ranking_metric(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, scores, weights = rows
    value = average_precision(labels, scores, weights)
    backwards = slice(None, None, -1)
    assert average_precision(labels[backwards], scores[backwards], weights[backwards]) == pytest.approx(value)
    assert average_precision(labels, np.exp(scores), weights) == pytest.approx(value)
    assert average_precision(labels, scores, 7.0 * weights) == pytest.approx(value)
    doubled = average_precision(np.tile(labels, 2), np.tile(scores, 2), np.tile(weights, 2))
    assert doubled == pytest.approx(value)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ranked_rows())
def test_influence_is_the_derivative_by_the_row_weight(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, scores, weights = rows
    weights = weights + 0.1
    value, influence = ap_influence(labels, scores, weights)
    assert value == pytest.approx(average_precision(labels, scores, weights))
    assert influence.sum() == pytest.approx(0.0, abs=1e-10)  # AP does not change when all weights are scaled
    row = int(np.argmax(np.abs(influence)))
    step = np.zeros(len(labels))
    step[row] = 1e-5
    up, down = (average_precision(labels, scores, weights + sign * step) for sign in (1.0, -1.0))
    assert influence[row] / weights[row] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-8)


def test_constant_scores_give_the_base_rate() -> None:
    labels = [1, 0, 0, 1, 0]
    assert average_precision(labels, [0.3] * 5) == pytest.approx(2 / 5)
    assert average_precision(labels, [0.3] * 5, [1, 2, 3, 4, 5]) == pytest.approx(5 / 15)


def test_hand_derived_value_with_a_tie() -> None:
    # scores 3 | 2 2 | 1: precision 1/1 at recall 1/3, 2/3 at recall 2/3, 3/4 at recall 1
    expected = 1 / 3 * 1 + 1 / 3 * (2 / 3) + 1 / 3 * (3 / 4)
    assert average_precision([1, 1, 0, 1], [3, 2, 2, 1]) == pytest.approx(expected, abs=1e-15)


def test_rows_of_weight_zero_do_not_exist() -> None:
    kept = average_precision([1, 0, 1], [3, 2, 1])
    assert average_precision([0, 1, 0, 1, 1], [9, 3, 2, 1, 0], [0, 1, 1, 1, 0]) == pytest.approx(kept, abs=1e-15)


def test_no_positive_row_is_undefined_not_zero() -> None:
    assert np.isnan(average_precision([0, 0], [1, 2]))
    assert np.isnan(average_precision([], []))
    assert np.isnan(average_precision([1, 0], [1, 2], [0, 1]))
    value, influence = ap_influence([0, 0], [1, 2])
    assert np.isnan(value)
    assert np.isnan(influence).all()


def test_infinite_scores_are_ranks_like_any_other() -> None:
    assert average_precision([1, 0, 1], [0.0, -np.inf, -1.0]) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, np.nan], [1, 2]), "`labels` must be 0 or 1, got nan at row 1"),
        (([1, 2], [1, 2]), "`labels` must be 0 or 1, got 2 at row 1"),
        (([1, 0], [np.nan, 2]), "`scores` must be numbers without NaN, got nan at row 0"),
        (([1, 0], [1, 2], [1, -3]), "`weights` must be finite and >= 0, got -3 at row 1"),
        (([1, 0], [1, 2], [1, np.inf]), "`weights` must be finite and >= 0, got inf at row 1"),
        (([1, 0], [1, 2, 3]), r"`scores` must have 2 row\(s\), got 3"),
        (([1, 0], [1, 2], [1]), r"`weights` must have 2 row\(s\), got 1"),
        (([[1, 0]], [1, 2]), r"`labels` must have 1 dimension\(s\), got shape \(1, 2\)"),
        (([1, 0], ["a", "b"]), "`scores` must be numeric"),
    ],
)
def test_bad_input_names_argument_expectation_and_finding(arguments: tuple[list[float], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        average_precision(*arguments)
