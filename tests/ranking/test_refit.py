"""The affine refit: known parameters, weights, fall-backs, and what it must not be trusted to hide."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ranking.correction import correct_row_sampling, correct_single_head
from ranking.log_space import log_sigmoid
from ranking.refit import AffineRefit, logit_from_log


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def draw(rows, slope, intercept, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(-2.5, 1.2, rows)
    return z, (rng.random(rows) < sigmoid(slope * z + intercept)).astype(float)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.6, -0.4), (1.8, 1.5)])
def test_recovers_known_parameters(slope, intercept):
    fitted = AffineRefit.fit(*draw(200_000, slope, intercept))
    assert fitted.reason is None
    assert abs(fitted.slope - slope) < 4 * fitted.slope_se < 0.2
    assert abs(fitted.intercept - intercept) < 4 * fitted.intercept_se < 0.3


def test_equals_an_unpenalised_logistic_regression():
    z, y = draw(5_000, 0.7, 0.3)
    w = np.random.default_rng(1).uniform(0.5, 20, len(z))
    fitted = AffineRefit.fit(z, y, w)
    reference = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    reference.fit(z[:, None], y, sample_weight=w / w.mean())
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], rel=1e-7)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], rel=1e-7)


def test_the_optimum_balances_the_books():
    """At the optimum sum w (p' - y) = 0 and sum w (p' - y) z = 0: the overall ratio is exactly 1."""
    z, y = draw(20_000, 0.5, 2.0)
    w = np.where(y == 1, 1.0, 10.0)
    residual = w * (sigmoid(AffineRefit.fit(z, y, w).apply(z)) - y)
    assert abs(residual.sum()) < 1e-6 * (w * y).sum()
    assert abs((residual * z).sum()) < 1e-6 * (w * y).sum()


def test_weights_of_one_over_pi_recover_the_fit_of_the_full_log():
    """Negatives kept at .1 and weighted by 10 speak for those that were dropped; unweighted they do not."""
    z, y = draw(400_000, 0.8, -0.5)
    full = AffineRefit.fit(z, y)
    kept = (y == 1) | (np.random.default_rng(5).random(len(y)) < 0.1)
    w = np.where(y == 1, 1.0, 10.0)[kept]
    weighted, unweighted = AffineRefit.fit(z[kept], y[kept], w), AffineRefit.fit(z[kept], y[kept])
    assert abs(weighted.slope - full.slope) < 4 * weighted.slope_se
    assert abs(weighted.intercept - full.intercept) < 4 * weighted.intercept_se
    assert abs(unweighted.intercept - full.intercept) > 10 * unweighted.intercept_se


def test_scaling_the_weights_changes_nothing():
    z, y = draw(5_000, 0.8, 0.2)
    w = np.random.default_rng(2).uniform(1, 10, len(z))
    one, other = AffineRefit.fit(z, y, w), AffineRefit.fit(z, y, w * 1e6)
    assert one.slope == pytest.approx(other.slope, rel=1e-9)
    assert one.slope_se == pytest.approx(other.slope_se, rel=1e-9)


def test_integer_weights_equal_repeated_rows_and_missing_labels_are_left_out():
    z, y = draw(3_000, 0.8, 0.2)
    w = np.random.default_rng(3).integers(0, 4, len(z))
    y_missing = np.where(np.arange(len(z)) % 5 == 0, np.nan, y)
    seen = ~np.isnan(y_missing)
    fitted = AffineRefit.fit(np.where(seen, z, np.nan), y_missing, w)  # nor is the logit of an unlabelled row read
    repeated = AffineRefit.fit(np.repeat(z[seen], w[seen]), np.repeat(y[seen], w[seen]))
    assert fitted.slope == pytest.approx(repeated.slope, rel=1e-8)
    assert fitted.intercept == pytest.approx(repeated.intercept, rel=1e-8)
    assert fitted.positives + fitted.negatives == int((seen & (w > 0)).sum())


def test_standard_errors_are_those_of_replications():
    fits = [AffineRefit.fit(*draw(4_000, 0.9, 0.1, seed)) for seed in range(150)]
    slopes, intercepts = np.array([(f.slope, f.intercept) for f in fits]).T
    assert np.mean([f.slope_se for f in fits]) == pytest.approx(slopes.std(), rel=0.2)
    assert np.mean([f.intercept_se for f in fits]) == pytest.approx(intercepts.std(), rel=0.2)


def test_standard_errors_cluster_by_request():
    """A log written twice holds no more information: with request ids the error stays, without it shrinks by sqrt 2."""
    z, y = draw(5_000, 0.9, 0.1)
    once = AffineRefit.fit(z, y)
    twice = [np.tile(values, 2) for values in (z, y, np.arange(5_000))]
    assert AffineRefit.fit(z, y, groups=np.arange(5_000)).slope_se == pytest.approx(once.slope_se, rel=1e-9)
    clustered = AffineRefit.fit(twice[0], twice[1], groups=[f"request {g}" for g in twice[2]])
    assert clustered.slope_se == pytest.approx(once.slope_se, rel=1e-9)
    assert clustered.intercept_se == pytest.approx(once.intercept_se, rel=1e-9)
    assert AffineRefit.fit(*twice[:2]).slope_se == pytest.approx(once.slope_se / np.sqrt(2), rel=1e-9)


@pytest.mark.parametrize(
    ("z", "y", "reason"),
    [
        (np.linspace(-3, 3, 100), np.arange(100) == 60, "1 positives, fewer than 10"),
        (np.linspace(-3, 3, 100), np.arange(100) % 12 != 0, "9 negatives, fewer than 10"),
        (np.linspace(-3, 3, 100), np.arange(100) >= 50, "separate positives from negatives"),
        (np.linspace(-3, 3, 100), np.arange(100) < 50, "separate positives from negatives"),
        (np.full(100, 2.0), np.arange(100) % 3 == 0, "the logits are constant"),
        (np.linspace(-3, 3, 100), np.sin(np.arange(100)) > np.linspace(-0.9, 0.9, 100), "is not > 0"),
        (np.linspace(300, 900, 100), np.arange(100) == 60, "1 positives, fewer than 10"),
        (np.repeat([-300.0, 300.0], 50), np.arange(100) == 60, "1 positives, fewer than 10"),  # no curvature at first
    ],
)
def test_falls_back_to_the_intercept_and_says_why(z, y, reason):
    fitted = AffineRefit.fit(z, y.astype(float))
    assert fitted.reason is not None
    assert reason in fitted.reason
    assert "intercept only" in fitted.reason
    assert fitted.slope == 1.0
    assert np.isnan(fitted.slope_se)
    assert np.isfinite(fitted.intercept_se)
    assert sigmoid(fitted.apply(z)).sum() == pytest.approx(y.sum(), rel=1e-5)


@pytest.mark.parametrize(("label", "reason"), [(0.0, "no positives"), (1.0, "no negatives"), (np.nan, "no positives")])
def test_without_both_outcomes_the_identity_stays(label, reason):
    fitted = AffineRefit.fit(np.linspace(-1, 1, 50), np.full(50, label))
    assert (fitted.slope, fitted.intercept) == (1.0, 0.0)
    assert fitted.reason is not None
    assert reason in fitted.reason


def test_far_and_shifted_logits_converge():
    """Off by 40 and by a factor: every sigmoid saturates at the start."""
    z, y = draw(20_000, 1.0, 0.0)
    fitted, shifted = AffineRefit.fit(z, y), AffineRefit.fit(z * 30 - 400, y)
    np.testing.assert_allclose(shifted.apply(z * 30 - 400), fitted.apply(z), rtol=1e-6, atol=1e-8)


def test_apply_keeps_order_kind_and_device():
    fitted = AffineRefit(slope=0.5, intercept=-1.0)
    z = np.linspace(-40, 40, 801, dtype="float32")
    assert fitted.apply(z).dtype == np.float64
    assert (np.diff(fitted.apply(z)) > 0).all()
    tensor = fitted.apply(torch.tensor(z))
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float64
    np.testing.assert_array_equal(tensor.numpy(), fitted.apply(z))
    log_p = log_sigmoid(z)
    np.testing.assert_allclose(fitted.apply_log(log_p), log_sigmoid(0.5 * z.astype(float) - 1.0), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(fitted.apply_log(torch.tensor(log_p)).numpy(), fitted.apply_log(log_p), rtol=1e-12)
    np.testing.assert_allclose(AffineRefit().apply_log(log_p), log_p, rtol=1e-12)


def test_logit_from_log_keeps_what_one_minus_p_would_lose():
    np.testing.assert_allclose(
        logit_from_log(np.array([-1e-300, -1e-16, -700.0])), [690.7755278982137, 36.84136148790473, -700]
    )
    assert logit_from_log(np.array([0.0, -np.inf])).tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize(
    "refit", [AffineRefit(), AffineRefit.fit(*draw(1_000, 0.9, 0.1)), AffineRefit(1.0, 0.2, reason="few", positives=3)]
)
def test_survives_json(refit):
    text = json.dumps(refit.to_dict(), allow_nan=False)
    assert repr(AffineRefit.from_dict(json.loads(text))) == repr(refit)


def test_errors_name_what_was_found():
    z, y = draw(100, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"`labels` must be 0, 1 or NaN, got 2.0 in row 3 \(1 such rows\)"):
        AffineRefit.fit(z, np.where(np.arange(100) == 3, 2.0, y))
    with pytest.raises(ValueError, match=r"`weights` must be finite and >= 0, got -1.0 in row 0 \(100 such rows\)"):
        AffineRefit.fit(z, y, np.full(100, -1.0))
    with pytest.raises(ValueError, match=r"`logits` must be finite on labelled rows, got inf in row 0"):
        AffineRefit.fit(np.full(100, np.inf), y)
    with pytest.raises(ValueError, match=r"must have one shape \(N,\), got .*'weights': \(99,\)"):
        AffineRefit.fit(z, y, np.ones(99))
    with pytest.raises(ValueError, match=r"`slope` must be finite and > 0"):
        AffineRefit(slope=-1.0)
    with pytest.raises(ValueError, match=r"unknown \['tilt'\], missing \['slope'\]"):
        AffineRefit.from_dict({**{k: v for k, v in AffineRefit().to_dict().items() if k != "slope"}, "tilt": 1.0})


def test_a_refit_hides_a_wrong_correction_overall_but_not_by_slices():
    """Methods 1.2: naive + refit reads right overall, and is wrong by slices of p_any; exact + refit is right in both.

    Rows differ in p_any and in which share of their engagement is a click; alpha = .1; q is the Bayes-optimal one.
    """
    rng = np.random.default_rng(8)
    rows, alpha = 1_000_000, 0.1
    p_any = sigmoid(rng.normal(-2.6, 1.2, rows))
    p = p_any * sigmoid(rng.normal(-1.0, 1.0, rows))
    u = rng.random(rows)
    y, engaged = (u < p).astype(float), u < p_any  # click implies any
    Z = 1 - (1 - alpha) * (1 - p_any)
    z, A = np.log(p / Z) - np.log1p(-p / Z), np.log(p_any / Z) - np.log1p(-p_any / Z)
    kept = engaged | (rng.random(rows) < alpha)
    fit_on = kept & (np.arange(rows) % 2 == 0)
    weights = np.where(engaged, 1.0, 1 / alpha)
    test = np.arange(rows) % 2 == 1
    edges = np.quantile(p_any, [0.33, 0.67, 0.9])
    slices = np.searchsorted(edges, p_any)

    def ratios(log_p):
        refit = AffineRefit.fit(logit_from_log(log_p[fit_on]), y[fit_on], weights[fit_on])
        predicted = np.exp(refit.apply_log(log_p))
        in_slice = [predicted[test & (slices == s)].sum() / y[test & (slices == s)].sum() for s in range(4)]
        return predicted[test].sum() / y[test].sum(), np.array(in_slice)

    overall, by_slice = ratios(correct_single_head(z, alpha))
    assert abs(overall - 1) < 0.02
    assert by_slice[0] > 1.15
    assert by_slice[-1] < 0.85

    overall, by_slice = ratios(correct_row_sampling(z[:, None], A, alpha)[:, 0])
    assert abs(overall - 1) < 0.02
    assert np.abs(by_slice - 1).max() < 0.05
