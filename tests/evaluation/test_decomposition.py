from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.1, 0.5, 1.0])),
            st.one_of(st.floats(0.01, 100.0), st.sampled_from([0.0, 1.0, 10.0])),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_the_identity_holds_for_ties_weights_and_degenerate_rows(rows: list[tuple[bool, float, float]]) -> None:
    """S = MCB - DSC + UNC to 1e-12 and MCB, DSC >= 0, by their definition: S(p) - S(c) and S(b) - S(c)."""
    y, p, w = (np.array(column, dtype=float) for column in zip(*rows))
    parts = brier_decomposition(y, p, w)
    if not w.any():
        assert np.isnan(parts.brier)
        return
    assert parts.miscalibration - parts.discrimination + parts.uncertainty == pytest.approx(parts.brier, abs=1e-12)
    assert parts.brier == pytest.approx(brier(y, p, w), abs=1e-12)
    assert parts.miscalibration >= 0.0
    assert parts.discrimination >= 0.0
    assert parts.discrimination <= parts.uncertainty + 1e-12
    if len(set(p[w > 0.0])) == 1:  # one forecast: nothing is told apart
        assert parts.discrimination == pytest.approx(0.0, abs=1e-12)
    reversed_rows = brier_decomposition(y[::-1], p[::-1], 3.0 * w[::-1])
    assert reversed_rows.miscalibration == pytest.approx(parts.miscalibration, abs=1e-12)
