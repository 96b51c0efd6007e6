from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from evaluation.decomposition import brier_decomposition
from evaluation.proper_scores import brier


@pytest.mark.parametrize("seed", range(4))
def test_the_parts_add_up_and_agree_with_isotonic_regression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 40, 500) / 50.0
    y = (rng.random(500) < p**1.5).astype(float)
    w = rng.exponential(size=500)
    parts = brier_decomposition(y, p, w)
    assert parts.brier == pytest.approx(brier(y, p, w), abs=1e-12)
    assert parts.brier == pytest.approx(parts.miscalibration - parts.discrimination + parts.uncertainty, abs=1e-12)
    assert parts.miscalibration > 0.0
    assert parts.discrimination > 0.0
    recalibrated = IsotonicRegression().fit(p, y, sample_weight=w).predict(p)
    assert parts.miscalibration == pytest.approx(parts.brier - brier(y, recalibrated, w), abs=1e-10)
    base = np.average(y, weights=w)
    assert parts.uncertainty == pytest.approx(base * (1 - base), abs=1e-12)


def test_the_recalibrated_forecast_has_nothing_left_to_calibrate() -> None:
    rng = np.random.default_rng(9)
    p = rng.random(400)
    y = (rng.random(400) < p).astype(float)
    fitted = IsotonicRegression().fit(p, y).predict(p)
    assert brier_decomposition(y, fitted).miscalibration == pytest.approx(0.0, abs=1e-12)


def test_no_weight_is_undefined() -> None:
    assert np.isnan(brier_decomposition([1, 0], [0.5, 0.5], [0, 0]).brier)
