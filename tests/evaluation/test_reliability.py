from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import normal_interval
from evaluation.freedom import t_quantile, variance_freedom
from evaluation.ordering import mass_position
from evaluation.proper_scores import mean_influence
from evaluation.reliability import expected_calibration_error, reliability_table, score_histogram, wilson_interval

COLUMNS = (
    "bin", "low", "high", "predicted", "observed", "observed_low", "observed_high", "rows", "positives", "weight",
    "share",
)  # fmt: skip


def log(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.beta(0.6, 12.0, rows)
    return (rng.random(rows) < p).astype(float), p, rng.choice([1.0, 10.0], rows), rng.integers(0, rows // 8, rows)


def bin_by_bin(y: np.ndarray, p: np.ndarray, w: np.ndarray, codes: np.ndarray, bins: int) -> pd.DataFrame:
    """The table by its definition: every bin's rows taken out and looked at alone."""
    known = ~np.isnan(y) & (w > 0.0)
    y, p, w, codes = y[known], p[known], w[known], codes[known]
    place = np.minimum((mass_position(p, w) * bins).astype(int), bins - 1)
    records = []
    for number, one in enumerate(np.unique(place)):
        rows = place == one
        outcome, weight, clusters = y[rows], w[rows], Clusters.of(codes[rows])
        observed, influence = mean_influence(outcome, weight)
        error, masses = clustered_standard_error(influence, clusters), clusters.sums(weight)
        if not np.isin(y, (0.0, 1.0)).all():
            low, high = normal_interval(observed, error)
        elif 0.0 < observed < 1.0 and error > 0.0:
            size = min(observed * (1.0 - observed) / error**2, weight.sum() / weight.min())
            low, high = wilson_interval(observed, size, t_quantile(variance_freedom(clusters.sums(influence))))
        else:
            low, high = wilson_interval(observed, masses.sum() ** 2 / (masses @ masses))
        ends = p[rows].min(), p[rows].max(), np.average(p[rows], weights=weight)
        counts = rows.sum(), np.count_nonzero(outcome > 0.0), weight.sum(), weight.sum() / w.sum()
        records.append((number, *ends, observed, low, high, *counts))
    return pd.DataFrame(records, columns=COLUMNS)


@pytest.mark.parametrize("requests", [None, 7, 300, 4_000])
@pytest.mark.parametrize("weighting", ["none", "sampled", "any"])
def test_the_table_is_what_each_bin_says_alone(weighting: str, requests: int | None) -> None:
    """To 1e-12: few and many requests per bin, requests in one bin only, ties, missing labels, weights of 0."""
    rng = np.random.default_rng(len(weighting))
    for bins, digits in ((20, 9), (9, 2), (1, 9), (30, 1)):
        p = np.round(rng.beta(0.6, 8.0, 2_000), digits)
        y = (rng.random(2_000) < p).astype(float)
        y[rng.random(2_000) < 0.1] = np.nan
        choices = {"none": np.ones(1), "sampled": np.array([0.0, 1.0, 10.0]), "any": rng.random(500)}
        w = rng.choice(choices[weighting], 2_000)
        codes = np.arange(2_000) if requests is None else rng.integers(0, requests, 2_000)
        codes[p > 0.9 * p.max()] = 0  # a bin of one request has no error
        for outcome in (y, 3.0 * y - rng.random(2_000)):  # a utility's outcomes have another band
            groups = None if requests is None and bins != 9 else codes
            expected = bin_by_bin(outcome, p, w, np.arange(2_000) if groups is None else codes, bins)
            found = reliability_table(outcome, p, None if weighting == "none" else w, groups=groups, bins=bins)
            pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12, atol=1e-12)
            assert list(found.dtypes[["bin", "rows", "positives"]]) == [np.int64] * 3


def test_a_cut_between_equal_places_is_the_mid_ranks() -> None:
    """Places that fall on a bin's edge exactly belong above it, as `mass_position` says."""
    for rows in (10, 30, 50):
        p = np.arange(rows) / rows
        table = reliability_table(np.arange(rows) % 2, p, bins=20)
        place = np.minimum((mass_position(p, np.ones(rows)) * 20).astype(int), 19)
        assert table["low"].tolist() == [p[place == one].min() for one in np.unique(place)]


def test_the_bins_add_up_to_the_whole() -> None:
    y, p, w, request = log()
    table = reliability_table(y, p, w, groups=request, bins=15)
    assert len(table) == 15
    assert table["share"].sum() == pytest.approx(1.0)
    assert table["share"].to_numpy() == pytest.approx(1 / 15, abs=2e-3)
    assert table["rows"].sum() == len(y)
    assert table["positives"].sum() == y.sum()
    assert (table["share"] * table["observed"]).sum() == pytest.approx(np.average(y, weights=w))
    assert (table["weight"] * table["predicted"]).sum() == pytest.approx(w @ p)
    assert (table["low"].to_numpy()[1:] > table["high"].to_numpy()[:-1]).all()
    assert table["predicted"].between(table["low"], table["high"]).all()
    assert table["observed"].between(table["observed_low"], table["observed_high"]).all()


def test_a_calibrated_model_stays_inside_its_bands() -> None:
    y, p, w, request = log(50_000)
    table = reliability_table(y, p, w, groups=request)
    inside = (table["observed_low"] <= table["predicted"]) & (table["predicted"] <= table["observed_high"])
    assert inside.sum() >= 17
    halved = reliability_table(y, p / 2, w, groups=request)
    assert (halved["observed_low"] > halved["predicted"]).iloc[10:].all()  # the bins with enough positives to tell


def test_equal_predictions_share_a_bin_and_missing_labels_are_left_out() -> None:
    y = np.array([0.0, 1.0, np.nan, 1.0, 0.0, 1.0])
    table = reliability_table(y, [0.2, 0.2, 0.2, 0.2, 0.7, 0.7], bins=10)
    assert table["rows"].tolist() == [3, 2]
    assert table["observed"].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert table["bin"].tolist() == [0, 1]


def test_real_outcomes_have_a_band_around_their_mean() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(size=4_000)
    outcome = score + rng.normal(size=4_000)
    table = reliability_table(outcome, score, bins=8)
    half = (table["observed_high"] - table["observed_low"]) / 2
    assert half.to_numpy() == pytest.approx(1.96 / np.sqrt(500), rel=0.15)
    assert (table["observed"] - table["predicted"]).abs().max() < 0.15


def test_wilson_is_known_at_its_ends() -> None:
    z = 1.959963984540054
    assert wilson_interval(0.0, 10.0) == pytest.approx((0.0, z**2 / (10 + z**2)))
    assert wilson_interval(1.0, 10.0) == pytest.approx((10 / (10 + z**2), 1.0))
    low, high = wilson_interval(0.3, 50.0)
    assert low < 0.3 < high
    # the bounds solve (p - rate)^2 = z^2 p (1 - p) / n [Wilson 1927]
    for bound in (low, high):
        assert (bound - 0.3) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / 50)


def test_the_band_of_independent_rows_is_wilsons() -> None:
    y = np.array([1.0] * 30 + [0.0] * 70)
    line = reliability_table(y, np.full(100, 0.3), bins=1).iloc[0]
    square, fourth = 30 * 0.7**2 + 70 * 0.3**2, 30 * 0.7**4 + 70 * 0.3**4
    freedom = min(2.0 * square**2 / (fourth - square**2 / 100), 100.0)
    expected = wilson_interval(0.3, 100.0, t_quantile(freedom))
    assert (line["observed_low"], line["observed_high"]) == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx(wilson_interval(0.3, 100.0), abs=2e-3)


def test_requests_that_move_together_widen_the_band() -> None:
    y = np.repeat([1.0, 0.0] * 20, 10)
    alone = reliability_table(y, np.full(400, 0.5), bins=1).iloc[0]
    together = reliability_table(y, np.full(400, 0.5), groups=np.repeat(np.arange(40), 10), bins=1).iloc[0]
    width = [line["observed_high"] - line["observed_low"] for line in (alone, together)]
    assert width[1] == pytest.approx(np.sqrt(10) * width[0], rel=0.1)


def test_bands_cover_the_truth_where_requests_are_few_and_move_together() -> None:
    """Nominal 95 %: at least 93 % of 5 x 120 bins, and 90 % in the bin that fares worst (Wilson's alone: 85 %)."""
    covered = np.zeros((120, 5))
    for seed in range(120):
        rng = np.random.default_rng(seed)
        request = rng.integers(0, 40, 800)
        p = 1 / (1 + np.exp(2.5 - rng.normal(size=40)[request] - 0.5 * rng.normal(size=800)))
        shared = np.sqrt(0.5) * (rng.normal(size=40)[request] + rng.normal(size=800))
        table = reliability_table((ndtr(shared) < p).astype(float), p, groups=request, bins=5)
        covered[seed] = table["predicted"].between(table["observed_low"], table["observed_high"])
    assert covered.mean() >= 0.93
    assert covered.mean(axis=0).min() >= 0.88


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_the_histogram_holds_every_row_once(scale: str) -> None:
    _, p, w, _ = log()
    table = score_histogram(np.append(p, 0.0), np.append(w, 3.0), bins=30, scale=scale)  # type: ignore[arg-type]
    assert len(table) == 30
    assert table["share"].sum() == pytest.approx(1.0)
    assert table["rows"].sum() == len(p) + 1
    inside = (p >= table.loc[20, "low"]) & (p < table.loc[20, "high"])
    assert table.loc[20, "rows"] == inside.sum()
    assert table.loc[20, "share"] == pytest.approx(w[inside].sum() / (w.sum() + 3.0))
    widths = np.diff(np.log(table["low"])) if scale == "log" else np.diff(table["low"])
    assert widths == pytest.approx(widths[0])


def test_one_value_has_a_histogram_too() -> None:
    table = score_histogram([0.1, 0.1], bins=3)
    assert table["share"].tolist() == [0.0, 1.0, 0.0]


def test_halving_every_prediction_hardly_moves_ece() -> None:
    """Methods 1.3: "at a base rate of 0.9 % halving every prediction moves ECE to a harmless-looking 0.0048"."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.9, 99.1, 50_000)
    y = (rng.random(50_000) < p).astype(float)
    ece = expected_calibration_error(reliability_table(y, p / 2))
    assert ece == pytest.approx(0.0045, abs=0.001)


def test_errors() -> None:
    with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
        reliability_table([1, 0], [0.1, 0.2], bins=0)
    with pytest.raises(ValueError, match="`predictions` must be numbers without NaN"):
        reliability_table([1, 0], [0.1, np.nan])
    with pytest.raises(ValueError, match="`labels` must hold at least one label with weight"):
        reliability_table([np.nan], [0.1])
    with pytest.raises(ValueError, match=r"`scores` must be >= 0 on the log scale, got -1"):
        score_histogram([-1.0, 1.0])
    with pytest.raises(ValueError, match="`weights` must have a positive sum, got 0"):
        score_histogram([1.0], [0.0])
