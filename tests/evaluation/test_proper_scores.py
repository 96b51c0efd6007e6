from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from evaluation import proper_scores
from evaluation.proper_scores import brier, log_loss, normalised_entropy, ratio


def rows(seed: int, size: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.5, 3.0, size)
    labels = (rng.random(size) < probabilities).astype(float)
    return labels, probabilities, rng.exponential(size=size) + 0.05


@pytest.mark.parametrize("seed", range(5))
def test_equal_scikit_learn(seed: int) -> None:
    labels, p, weights = rows(seed)
    assert log_loss(labels, p, weights) == pytest.approx(sklearn_log_loss(labels, p, sample_weight=weights), abs=1e-12)
    assert brier(labels, p, weights) == pytest.approx(brier_score_loss(labels, p, sample_weight=weights), abs=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_certain_and_wrong_is_clipped_at_the_types_epsilon(kind: type[np.floating]) -> None:
    labels, p = [1, 0], np.array([0.0, 1.0], dtype=kind)
    assert log_loss(labels, p) == pytest.approx(-np.log(np.finfo(kind).eps), rel=1e-6)
    assert log_loss(labels, p) == pytest.approx(sklearn_log_loss(labels, p), rel=1e-6)


@pytest.mark.parametrize("name", ["log_loss", "brier", "normalised_entropy", "ratio"])
def test_influence_is_the_derivative_by_the_row_weight(name: str) -> None:
    labels, p, weights = rows(7, 40)
    metric: Callable[..., float] = getattr(proper_scores, name)
    value, influence = getattr(proper_scores, f"{name}_influence")(labels, p, weights)
    assert value == metric(labels, p, weights)
    assert influence.sum() == pytest.approx(0.0, abs=1e-12)
    slopes = []
    for row in range(len(labels)):
        step = np.zeros(len(labels))
        step[row] = 1e-5
        slopes.append((metric(labels, p, weights + step) - metric(labels, p, weights - step)) / 2e-5)
    np.testing.assert_allclose(influence / weights, slopes, rtol=1e-5, atol=1e-9)


def test_the_base_rate_has_normalised_entropy_one_and_ratio_one() -> None:
    labels, _, weights = rows(3)
    base = np.full(len(labels), np.average(labels, weights=weights))
    assert normalised_entropy(labels, base, weights) == pytest.approx(1.0, abs=1e-12)
    assert ratio(labels, base, weights) == pytest.approx(1.0, abs=1e-12)
    assert ratio(labels, base / 2, weights) == pytest.approx(0.5, abs=1e-12)


def test_undefined_is_nan() -> None:
    assert np.isnan(normalised_entropy([0, 0], [0.1, 0.2]))
    assert np.isnan(normalised_entropy([1, 1], [0.1, 0.2]))
    assert np.isnan(ratio([0, 0], [0.1, 0.2]))
    assert np.isnan(log_loss([1, 0], [0.1, 0.2], [0, 0]))


def test_a_probability_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`probabilities` must lie within \[0, 1\], got 1.2 at row 1"):
        brier([1, 0], [0.5, 1.2])
    with pytest.raises(ValueError, match=r"`probabilities` must lie within \[0, 1\], got nan at row 0"):
        log_loss([1, 0], [np.nan, 0.2])
