from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, ndtr

from evaluation.calibration import worst_segments
from evaluation.calibration.variance_level import variance_level
from evaluation.freedom import t_quantile, t_two_sided, variance_freedom
from evaluation.holm import holm
from evaluation.intervals import ratio_interval
from evaluation.slicing.slices import Slices


def log(seed: int, rows: int = 12_000, base: float = -3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, Slices]:
    """labels and probabilities (N, 2), request, and ten segments of unequal sizes; outcomes correlate in requests."""
    rng = np.random.default_rng(seed)
    request = rng.integers(0, rows // 10, rows)
    p = expit(np.array([base, base - 1.0]) + rng.normal(size=(rows // 10, 1))[request])
    shared = rng.normal(size=(rows // 10, 2))[request]
    y = (ndtr(np.sqrt(0.5) * (shared + rng.normal(size=p.shape))) < p).astype(float)
    codes = rng.choice(10, rows, p=rng.dirichlet(np.full(10, 2.0)))
    return y, p, request, Slices("segment", tuple(f"s{i}" for i in range(10)), codes)


def test_each_line_is_the_score_test_and_the_ratio_of_its_rows() -> None:
    y, p, request, segments = log(0)
    w = np.where(y.any(axis=1), 1.0, np.random.default_rng(0).choice([2.0, 4.0], len(y)))
    y[::7, 1] = np.nan
    table = worst_segments(y, p, request, w, [segments], ["a", "b"])
    assert len(table) == 20
    line = table[(table["head"] == "b") & (table["slice"] == "s3")].iloc[0]
    rows = (segments.codes == 3) & ~np.isnan(y[:, 1])
    outcome, guess, weight, ids = y[rows, 1], p[rows, 1], w[rows], request[rows]
    value, error = ratio_interval(outcome, guess, ids, weight)
    assert line["ratio"] == pytest.approx(value)
    of_ratio = np.array([np.sum((weight * (guess - value * outcome))[ids == one]) for one in sorted(set(ids.tolist()))])
    half = t_quantile(variance_freedom(of_ratio)) * error / value
    assert half > 1.97 * error / value  # the error of some 90 positives is itself an estimate
    assert (line["low"], line["high"]) == pytest.approx((value * np.exp(-half), value * np.exp(half)))
    assert line["predicted"] == pytest.approx(np.average(guess, weights=weight))
    assert line["observed"] == pytest.approx(np.average(outcome, weights=weight))
    assert (line["rows"], line["positives"], line["requests"]) == (rows.sum(), outcome.sum(), len(set(ids)))
    sums = np.array([np.sum((weight * (guess - outcome))[ids == one]) for one in sorted(set(ids.tolist()))])
    level = variance_level(outcome, guess, weight)[0]
    z = np.array([sums.sum()]), np.array([np.sqrt(level * (sums**2).sum())]), np.array([variance_freedom(sums)])
    assert line["p"] == pytest.approx(float(t_two_sided(*z)[0]))


def test_holm_over_all_heads_and_segments_worst_first() -> None:
    y, p, request, segments = log(1)
    p = p.copy()
    p[segments.codes == 2, 0] *= 0.4
    halves = Slices("half", ("even", "odd"), np.arange(len(y)) % 2)
    table = worst_segments(y, p, request, None, [segments, halves], ["a", "b"])
    assert table.loc[0, ["head", "column", "slice"]].tolist() == ["a", "segment", "s2"]
    assert table.loc[0, "flagged"]
    assert table.loc[0, "ratio"] == pytest.approx(0.4, abs=0.12)
    tested = table["p"].notna()
    adjusted = holm(table["p"].fillna(1.0))  # what could not be tested has its share all the same
    assert table.loc[tested, "p_adjusted"].to_numpy() == pytest.approx(adjusted[tested])
    assert table.loc[tested, "p"].is_monotonic_increasing
    assert table["flagged"].tolist() == (table["p_adjusted"] < 0.05).tolist()


def test_a_calibrated_model_is_rarely_flagged() -> None:
    """Any of 20 segments in 100 logs: at most 5 % in truth, so more than 11 would be chance of .4 %."""
    flags = 0
    for seed in range(100):
        y, p, request, segments = log(seed, rows=4_000)
        flags += worst_segments(y, p, request, None, [segments])["flagged"].any()
    assert flags <= 11


def test_few_positives_do_not_read_as_too_much() -> None:
    """The score form at 20 expected positives: both directions are found about equally often, at 5 % together."""
    rng = np.random.default_rng(0)
    codes, p = np.repeat(np.arange(400), 500), np.full((200_000, 1), 0.04)
    segments = Slices("segment", tuple(str(i) for i in range(400)), codes)
    y = (rng.random(p.shape) < p).astype(float)
    table = worst_segments(y, p, np.arange(len(y)), None, [segments])
    found = table[table["p"] < 0.05]
    assert 8 <= len(found) <= 33
    much = int((found["ratio"] > 1.0).sum())
    assert 2 <= much <= len(found) - 2
    # the log ratio over its error would say "too much" more often than "too little"
    ratio, happened = table["ratio"].to_numpy(), table["positives"].to_numpy()
    error = np.sqrt(happened * (0.04 - ratio) ** 2 + (500 - happened) * 0.04**2) / (happened * ratio)
    assert (np.log(ratio) > 1.96 * error).sum() > (np.log(ratio) < -1.96 * error).sum()


def test_nothing_observed_where_much_was_predicted_is_found() -> None:
    y, p, request, segments = log(3)
    y[segments.codes == 1] = 0.0
    line = worst_segments(y, p, request, None, [segments]).set_index(["head", "slice"]).loc[("head_0", "s1")]
    assert line["flagged"]
    assert np.isnan(line["ratio"])
    assert line["reason"] == "no positive row"


def test_untested_segments_say_why_and_come_last() -> None:
    codes = np.array([0] * 200 + [1] * 5 + [3])
    y = np.array([1.0, 0.0] * 100 + [1.0, 0.0, 0.0, 0.0, 0.0] + [1.0])
    part = Slices("platform", ("web", "app", "tv", "car"), codes)
    table = worst_segments(y[:, None], np.full((206, 1), 0.5), np.arange(206), None, [part]).set_index("slice")
    assert table.index.tolist() == ["web", "app", "tv", "car"]
    assert pd.isna(table.loc["web", "reason"])
    assert table["reason"].tolist()[1:] == [
        "too few positives: 1, 2.5 expected", "no row with a label", "fewer than two requests",
    ]  # fmt: skip
    assert table["p_adjusted"].isna().tolist() == [False, True, True, True]
    assert not table["flagged"].any()
    assert table.loc["tv", "rows"] == 0
    assert np.isnan(table.loc["tv", "predicted"])


def test_no_row_at_all() -> None:
    part = Slices("platform", ("web", "app"), np.empty(0, np.intp))
    table = worst_segments(np.empty((0, 1)), np.empty((0, 1)), [], None, [part])
    assert table["reason"].tolist() == ["no row with a label"] * 2
    assert table["rows"].tolist() == [0, 0]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="`slices` 'platform' must have 3 row\\(s\\), got 2"):
        worst_segments(
            [[1], [0], [1]], [[0.5]] * 3, [1, 2, 3], None, [Slices("platform", ("a",), np.zeros(2, np.intp))]
        )
    assert list(worst_segments([[1], [0]], [[0.5]] * 2, [1, 2], None, [])) == [
        "head", "column", "slice", "p", "p_adjusted", "flagged", "reason",
    ]  # fmt: skip


def test_the_level_is_expected_over_observed() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(300_000) * 0.1
    y = (rng.random(len(p)) < p).astype(float)
    observed, expected = np.sum((y - p) ** 2), np.sum(p * (1.0 - p))
    assert variance_level(y, p, np.ones(len(p)))[0] == pytest.approx(expected / observed)
    # rows sampled by their outcome: the level is still 1 where the model is right
    protected = (y > 0.0) | (rng.random(len(p)) < 0.05)
    kept = protected | (rng.random(len(p)) < 0.1)
    w = np.where(protected, 1.0, 10.0)[kept]
    level = variance_level(y[kept], p[kept], w, np.arange(kept.sum()) % 3, 3)
    assert level == pytest.approx(1.0, abs=0.05)
    assert variance_level(np.ones(3), np.ones(3), np.ones(3)).tolist() == [1.0]


def test_degrees_of_freedom() -> None:
    rng = np.random.default_rng(0)
    assert variance_freedom(rng.normal(size=4_000)) == pytest.approx(4_000, rel=0.1)
    assert variance_freedom(np.array([5.0, 0.0, 0.0])) == 1.0
    assert variance_freedom(np.zeros(3)) == np.inf
    assert t_quantile(1.0) == pytest.approx(np.tan(np.pi * 0.475))  # Cauchy's
    p = t_two_sided(np.array([2.0, 1.0]), np.array([1.0, 1.0]), np.array([1.0, 2.0]))
    assert p.tolist() == pytest.approx([1 - 2 * np.arctan(2) / np.pi, 1 - 1 / np.sqrt(3)])  # closed forms of t_1, t_2
