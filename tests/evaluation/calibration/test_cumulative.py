from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.special import expit, logit, ndtr

from evaluation.calibration import calibration_test, calibration_tests
from evaluation.calibration.cumulative_paths import CumulativePath
from evaluation.clusters import Clusters
from evaluation.freedom import variance_freedom
from evaluation.ordering import ScoreOrder


def clustered_log(seed: int, requests: int = 250, size: int = 8, base: float = 0.1) -> tuple[np.ndarray, ...]:
    """labels, probabilities, request: calibrated row by row, the outcomes of a request strongly correlated."""
    rng = np.random.default_rng(seed)
    request = rng.integers(0, requests, requests * size)
    p = expit(logit(base) + rng.normal(size=requests)[request] + 0.5 * rng.normal(size=len(request)))
    shared = np.sqrt(0.6) * rng.normal(size=requests)[request] + np.sqrt(0.4) * rng.normal(size=len(request))
    return (ndtr(shared) < p).astype(float), p, request


def slow_extent(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    """max - min of the cumulative difference over the sorted distinct scores, in plain Python."""
    sums, total = [0.0], 0.0
    for score in sorted(set(p)):
        total += sum(wi * (yi - pi) for yi, pi, wi in zip(y, p, w) if pi == score)
        sums.append(total / sum(w))
    return max(sums) - min(sums)


@pytest.mark.parametrize("seed", range(4))
def test_the_statistic_is_the_range_of_the_cumulative_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 20, 150) / 20.0  # many ties
    y, w = (rng.random(150) < 0.4).astype(float), rng.choice([1.0, 3.0], 150)
    test = calibration_test(y, p, rng.integers(0, 30, 150), w)
    assert test.statistic == pytest.approx(slow_extent(y, p, w), abs=1e-12)
    inside = (p > test.low) & (p <= test.high) if test.low > p.min() else p <= test.high
    gap = abs(np.sum(w * (y - p) * inside)) / w.sum()
    assert gap <= test.statistic + 1e-12
    if test.low > p.min():  # the range is the one that makes the statistic
        assert gap == pytest.approx(test.statistic, abs=1e-12)
        assert test.predicted == pytest.approx(np.average(p[inside], weights=w[inside]))
        assert test.observed == pytest.approx(np.average(y[inside], weights=w[inside]))


def test_chance_redraws_whole_requests() -> None:
    """Against every one of the 2^10 sign patterns."""
    rng = np.random.default_rng(5)
    y, p, w = (rng.random(60) < 0.3).astype(float), rng.integers(1, 9, 60) / 10.0, rng.choice([1.0, 4.0], 60)
    request = np.arange(60) % 10
    path = CumulativePath.of(ScoreOrder.of(p), y, p, w, Clusters.of(request), rng)
    exact = []
    for signs in itertools.product([-1.0, 1.0], repeat=10):
        steps = [
            np.sum((w * (y - p) * np.array(signs)[request])[p == score]) / w.sum() for score in sorted(set(p.tolist()))
        ]
        walk = np.concatenate([[0.0], np.cumsum(steps)])
        exact.append(walk.max() - walk.min())
    sure = dataclasses.replace(path, scale=1.0, freedom=float("inf"))
    drawn = sure.redrawn_extents(20_000, rng)
    assert set(np.round(drawn, 6)) <= set(np.round(exact, 6)) | set(np.round(np.float32(exact), 6).astype(float))
    assert drawn.mean() == pytest.approx(np.mean(exact), rel=0.01)
    assert np.quantile(drawn, 0.95) == pytest.approx(np.quantile(exact, 0.95), rel=0.02)
    # Student's widening: E[nu / chi^2_nu] = nu / (nu - 2)
    wider = dataclasses.replace(path, scale=2.0, freedom=12.0).redrawn_extents(20_000, rng)
    assert np.mean(wider**2) == pytest.approx(4.0 * np.mean(np.square(exact)) * 12 / 10, rel=0.05)


def test_false_alarms_are_rare_with_clusters_and_frequent_without() -> None:
    """240 calibrated logs at 5 %; binomial limits of a test that is right: 5 to 20 alarms (.5 % and 99.5 %)."""
    clustered = independent = 0
    for seed in range(240):
        y, p, request = clustered_log(seed, requests=150, size=6)
        clustered += calibration_test(y, p, request, replicates=199, seed=seed).rejected
        independent += calibration_test(y, p, np.arange(len(y)), replicates=199, seed=seed).rejected
    assert 5 <= clustered <= 20
    assert independent > 36


def test_false_alarms_of_a_sampled_log_with_weights() -> None:
    alarms = 0
    for seed in range(200):
        y, p, request = clustered_log(seed + 1000, requests=300, base=0.03)
        rng = np.random.default_rng(seed)
        protected = (y > 0.0) | (rng.random(len(y)) < 0.05)
        kept = protected | (rng.random(len(y)) < 0.2)
        w = np.where(protected, 1.0, 5.0)[kept]
        alarms += calibration_test(y[kept], p[kept], request[kept], w, replicates=199, seed=seed).rejected
    assert 3 <= alarms <= 18


def test_it_finds_a_wrong_mean_and_a_wrong_slope() -> None:
    y, p, request = clustered_log(0, requests=3000, size=8)
    assert not calibration_test(y, p, request).rejected
    more = calibration_test(y, np.minimum(1.15 * p, 1.0), request)
    assert more.rejected
    assert more.predicted > more.observed
    assert "predicts too much" in more.sentence
    wide = logit(p) / 0.7
    shift = max(np.linspace(-1, 2, 3001), key=lambda c: -abs(float(expit(wide + c).sum() - p.sum())))
    tilted = calibration_test(y, expit(wide + shift), request)
    assert tilted.rejected
    assert tilted.statistic > tilted.critical
    assert tilted.p_value == pytest.approx(0.001)


def test_p_and_the_critical_value_say_the_same() -> None:
    for seed in range(30):
        y, p, request = clustered_log(seed, requests=60)
        test = calibration_test(y, np.minimum(1.2 * p, 1.0), request, replicates=99)
        assert (test.statistic > test.critical) == (test.p_value <= 0.05)


def test_missing_labels_and_weights_of_zero_do_not_exist() -> None:
    y, p, request = clustered_log(3)
    full = calibration_test(y, p, request)
    gone = np.arange(len(y)) % 3 == 0
    y_gone, w_gone = np.where(gone, np.nan, y), np.where(gone, 0.0, 1.0)
    left = calibration_test(y[~gone], p[~gone], request[~gone])
    for test in (calibration_test(y_gone, p, request), calibration_test(y, p, request, w_gone)):
        assert test.statistic == pytest.approx(left.statistic, abs=2e-4)  # steps are cut among other rows
        assert (test.rows, test.positives, test.requests) == (left.rows, left.positives, left.requests)
        assert (test.predicted, test.observed) == pytest.approx((left.predicted, left.observed), rel=0.05)
    assert full.rows == len(y)


def test_the_order_of_rows_and_the_scale_of_weights_do_not_matter() -> None:
    y, p, request = clustered_log(4)
    w = np.random.default_rng(4).choice([1.0, 10.0], len(y))
    first = calibration_test(y, p, request, w)
    shuffled = np.random.default_rng(1).permutation(len(y))
    again = calibration_test(y[shuffled], p[shuffled], request[shuffled], 7.0 * w[shuffled])
    assert again.statistic == pytest.approx(first.statistic, rel=1e-9)
    assert again.p_value == pytest.approx(first.p_value, abs=0.05)
    assert calibration_test(y, p, request, w, order=ScoreOrder.of(p)) == first


def test_more_requests_than_paths_are_thrown_together() -> None:
    y, p, request = clustered_log(6, requests=5000, size=4)
    rng = np.random.default_rng(0)
    path = CumulativePath.of(ScoreOrder.of(p), y, p, np.ones(len(y)), Clusters.of(request), rng)
    assert path.paths.shape[0] == 2048
    assert path.paths.sum() == pytest.approx(path.difference[-1], abs=1e-4)
    assert path.freedom < 5000
    own = Clusters.of(request).sums((y - p) / len(y))
    assert path.freedom >= variance_freedom(own)  # the whole variance's or more: the level is the model's
    thrown = float((path.paths.sum(axis=1) ** 2).sum())
    assert thrown == pytest.approx(float(own @ own), rel=0.15)


def test_certain_predictions() -> None:
    y = np.array([0.0, 1.0, 0.0, 1.0])
    assert calibration_test(y, y, [1, 2, 3, 4]).p_value == 1.0
    impossible = calibration_test(y, 1.0 - y, [1, 2, 3, 4])
    assert impossible.rejected
    assert impossible.statistic == pytest.approx(0.5)


def test_what_cannot_be_tested_says_why() -> None:
    none = calibration_test([0, 0, 0], [0.1, 0.2, 0.3], [1, 2, 3])
    assert np.isnan(none.p_value)
    assert none.reason == "no positive row"
    assert none.sentence == "Calibration was not tested: no positive row."
    assert not none.rejected
    assert none.to_dict()["p_value"] is None
    assert none.statistic == pytest.approx(0.2)
    one = calibration_test([0, 1, 0], [0.1, 0.2, 0.3], [1, 1, 1])
    assert one.reason == "fewer than two requests"
    empty = calibration_test([np.nan, np.nan], [0.1, 0.2], [1, 2])
    assert (empty.reason, empty.rows) == ("no row with a label", 0)
    assert np.isnan(empty.statistic)


def test_every_head_in_one_table_with_its_curve() -> None:
    y, p, request = clustered_log(8)
    labels = np.column_stack([y, np.full(len(y), np.nan), y])
    tests, curves = calibration_tests(labels, np.column_stack([p, p, p / 2]), request, None, ["a", "b", "c"])
    single = calibration_test(y, p / 2, request)
    assert tests["head"].tolist() == ["a", "b", "c"]
    assert tests.loc[2, "p_value"] == single.p_value
    assert tests.loc[2, "p_adjusted"] == 2 * single.p_value  # of two heads that can be tested
    assert tests.loc[2, "sentence"] == single.sentence.replace("p = 0.001)", "p = 0.002)")
    assert tests["rejected"].tolist() == [False, False, True]
    assert set(curves["head"]) == {"a", "c"}
    curve = curves[curves["head"] == "c"]
    assert np.ptp(curve["difference"]) == pytest.approx(single.statistic)
    assert curve["difference"].to_numpy() == pytest.approx((curve["observed"] - curve["predicted"]).to_numpy())
    assert curve["share"].iloc[[0, -1]].tolist() == pytest.approx([0.0, 1.0])
    assert (curve["score"].diff().dropna() >= 0.0).all()
    assert curve["predicted"].iloc[-1] == pytest.approx(p.mean() / 2)


def test_what_the_correction_for_the_heads_does_not_confirm_is_not_rejected() -> None:
    """Four heads, of which one is shown to be off by itself (p <= .05) and no more among four."""
    logs = [clustered_log(seed, requests=60) for seed in range(4)]
    labels, p = (np.column_stack([log[part] for log in logs]) for part in (0, 1))
    tried = (np.minimum(factor * p[:, 0], 1.0) for factor in np.arange(1.0, 1.6, 0.01))
    p[:, 0] = next(q for q in tried if 0.0125 < calibration_test(labels[:, 0], q, logs[0][2]).p_value <= 0.05)
    alone, _ = calibration_tests(labels[:, :1], p[:, :1], logs[0][2])
    assert alone.loc[0, "p_adjusted"] == alone.loc[0, "p_value"] <= 0.05
    assert alone.loc[0, "rejected"]
    four, _ = calibration_tests(labels, p, logs[0][2])
    assert four.loc[0, "p_value"] == alone.loc[0, "p_value"]
    assert four["rejected"].tolist() == (four["p_adjusted"] <= 0.05).tolist()
    assert not four.loc[0, "rejected"]
    assert four.loc[0, "sentence"].startswith("No sign of miscalibration")


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="`replicates` must be at least 19"):
        calibration_test([0, 1], [0.1, 0.2], [1, 2], replicates=10)
    with pytest.raises(ValueError, match="`weights` must be finite and >= 0"):
        calibration_test([0, 1], [0.1, 0.2], [1, 2], [1.0, -1.0])
    with pytest.raises(ValueError, match="`probabilities` must lie within"):
        calibration_test([0, 1], [0.1, np.nan], [1, 2])
    with pytest.raises(ValueError, match="`labels` must be 0, 1 or NaN"):
        calibration_test([0, 2], [0.1, 0.2], [1, 2])
