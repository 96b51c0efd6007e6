"""What is taken for chance in the nodes' shifts: little where engagements are many, nearly all where they are few."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from ranking import AffineRefit, Prepared, Ranker, RankerConfig, TreesConfig, fit_prepared
from ranking.refit_shrinkage import Shift, kept_shifts
from ranking.refitting import fit_calibration


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def draw(rows: int, shift: float, seed: int, base: float = -3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(logits, labels, requests of ten rows)."""
    random = np.random.default_rng(seed)
    z = random.normal(base, 1.0, rows)
    return z, (random.random(rows) < sigmoid(z + shift)).astype(float), np.repeat(np.arange(rows // 10), 10)


def test_a_shift_and_its_variance_are_those_of_repeated_logs() -> None:
    ones = np.ones(4_000)
    found = []
    for seed in range(200, 600):
        z, y, requests = draw(4_000, 0.3, seed)
        found.append(Shift.of(AffineRefit.fit(z, y, groups=requests), z, y, ones, requests))
    values = np.array([shift.value for shift in found])
    assert values.mean() == pytest.approx(0.3, abs=3 * values.std() / np.sqrt(400) + 0.01)
    assert np.mean([shift.variance for shift in found]) == pytest.approx(values.var(), rel=0.25)


def test_rows_repeated_within_their_request_are_no_more_evidence() -> None:
    z, y, requests = draw(4_000, 0.3, seed=1)
    once = Shift.of(AffineRefit.fit(z, y), z, y, np.ones(len(z)), requests)
    again = tuple(np.repeat(x, 3) for x in (z, y, np.ones(len(z)), requests))
    thrice = Shift.of(AffineRefit.fit(*again[:2]), *again)
    assert thrice.variance == pytest.approx(once.variance, rel=1e-6)


def test_missing_labels_are_not_read() -> None:
    z, y, requests = draw(2_000, 0.3, seed=2)
    seen = np.arange(len(z)) % 3 > 0
    refit = AffineRefit.fit(z[seen], y[seen])
    whole = Shift.of(refit, np.where(seen, z, np.nan), np.where(seen, y, np.nan), np.ones(len(z)), requests)
    assert whole == Shift.of(refit, z[seen], y[seen], np.ones(int(seen.sum())), requests[seen])


def test_the_spread_is_the_most_likely_one() -> None:
    random = np.random.default_rng(3)
    variances = random.uniform(0.001, 0.05, 8)
    values = random.normal(0, 0.3, 8) + random.normal(0, np.sqrt(variances))
    kept, tau = kept_shifts([Shift(*pair) for pair in zip(values, variances)])

    def negative(tau: float) -> float:
        total = variances + tau**2
        return float(0.5 * (np.log(total) + values**2 / total).sum())

    assert tau == pytest.approx(minimize_scalar(negative, bounds=(0.0, 3.0), method="bounded").x, rel=0.05)
    np.testing.assert_allclose(kept, values * tau**2 / (tau**2 + variances), rtol=1e-12)


def test_a_node_that_was_not_fitted_keeps_nothing_and_says_nothing() -> None:
    nothing = Shift.of(AffineRefit.fit([0.0, 1.0], [0.0, 0.0]), [0.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0, 1])
    some = [Shift(-0.2, 0.001), Shift(-0.25, 0.001)]
    kept, tau = kept_shifts([*some, nothing])
    assert kept[2] == 0.0
    assert tau == kept_shifts(some)[1]
    assert kept_shifts([nothing, nothing])[1] == 0.0


def test_a_single_request_says_nothing_of_how_far_another_would_have_moved_the_shift() -> None:
    """Its residuals add up to 0 once the intercept is fitted, which would pass for a variance of 0."""
    z, y, _ = draw(400, 0.8, seed=3)
    ones, one = np.ones(len(z)), np.zeros(len(z))
    refit = AffineRefit.fit(z, y, groups=np.arange(len(z)))
    alone = Shift.of(refit, z, y, ones, one)
    assert alone.variance == np.inf
    assert alone.value > 0.3
    weighed = Shift.of(refit, z, y, ones, np.arange(len(z)))
    assert np.isfinite(weighed.variance)
    others = np.where(np.arange(len(z)) < 2, 1.0, 0.0)  # of the second request no row counts
    assert Shift.of(refit, z, y, 1.0 - others, others).variance == np.inf
    kept, tau = kept_shifts([alone, Shift(0.3, 0.001), Shift(-0.3, 0.001)])
    assert kept[0] == 0.0
    assert tau == kept_shifts([Shift(0.3, 0.001), Shift(-0.3, 0.001)])[1] > 0.1


def test_a_variance_of_0_is_a_number_like_any_other() -> None:
    kept, tau = kept_shifts([Shift(0.3, 0.0), Shift(-0.2, 0.0)])
    np.testing.assert_allclose(kept, [0.3, -0.2], rtol=1e-4)
    assert tau == pytest.approx(np.sqrt((0.09 + 0.04) / 2), rel=0.05)
    assert kept_shifts([Shift(0.0, 0.0), Shift(0.0, 0.0)])[0].tolist() == [0.0, 0.0]
    _, tau = kept_shifts([Shift(0.0, 0.0), Shift(0.3, 0.001), Shift(-0.3, 0.001)])
    assert tau > 0.1  # the one at 0 is one node of three, however sure it looks


def test_logits_that_leave_no_information_give_no_variance() -> None:
    z = np.array([800.0, 800.0, -800.0, -800.0])
    refit = AffineRefit.fit([0.1, 0.2, -0.1, 0.0], [1.0, 1, 0, 0])
    assert Shift.of(refit, z, [1.0, 1, 0, 0], np.ones(4), [0, 0, 1, 1]).variance == np.inf


@pytest.mark.parametrize(("spread", "most"), [(0.0, 0.5), (0.5, 1.02)])
def test_the_rate_on_fresh_rows_over_seeds(spread: float, most: float) -> None:
    """Six nodes, two of them rare: error of the shift against the truth, shrunk over plain. Right model: halved or
    better; a model that is off: no worse."""
    plain, shrunk = [], []
    for seed in range(25):
        truth = np.random.default_rng(seed).normal(0.0, spread, 6)
        shifts = []
        for node, base in enumerate((-2.0, -2.5, -3.0, -3.0, -5.0, -5.0)):
            z, y, requests = draw(4_000, truth[node], 10 * seed + node, base)
            shifts.append(Shift.of(AffineRefit.fit(z, y, groups=requests), z, y, np.ones(len(z)), requests))
        plain.append(np.abs([s.value for s in shifts] - truth).mean())
        shrunk.append(np.abs(kept_shifts(shifts)[0] - truth).mean())
    assert np.mean(shrunk) < most * np.mean(plain)


def test_the_same_chance_is_taken_off_at_both_positions(prepared: Prepared, ranker: Ranker) -> None:
    given = (ranker.tree, ranker.scorer, prepared.encoders, prepared.serving, prepared.held_out, ranker.negative_rate())
    said: list[str] = []
    plain, shrunk = fit_calibration(*given, shrink=False), fit_calibration(*given, shrink=True, log=said.append)
    assert "taken for chance: closeup " in said[0]
    chance = [a.intercept - b.intercept for a, b in zip(plain.logged, shrunk.logged, strict=True)]
    serving = [a.intercept - b.intercept for a, b in zip(plain.serving, shrunk.serving, strict=True)]
    np.testing.assert_allclose(serving, chance, atol=1e-12)
    assert np.abs(chance).max() > 1e-3
    for way in ("serving", "logged"):
        for before, after in zip(getattr(plain, way), getattr(shrunk, way), strict=True):
            assert dataclasses.replace(after, intercept=before.intercept) == before  # nothing else is touched


def test_it_is_asked_for(prepared: Prepared, small: RankerConfig) -> None:
    config = small.model_copy(update={"model": "lightgbm", "trees": TreesConfig(rounds=3, threads=1)})
    fitted = fit_prepared(prepared, config)
    given = (fitted.tree, fitted.scorer, prepared.encoders, prepared.serving, prepared.held_out, fitted.negative_rate())
    assert fitted.calibration == fit_calibration(*given, shrink=False)
    shrunk = fit_prepared(prepared, config.model_copy(update={"refit_shrink": True}))
    assert shrunk.calibration == fit_calibration(*given, shrink=True) != fitted.calibration
