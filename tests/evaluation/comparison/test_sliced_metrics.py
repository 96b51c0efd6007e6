"""Metrics in slices equal the metrics of the slices' rows, taken out one by one."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.auc import auc_influence
from evaluation.average_precision import ap_influence
from evaluation.checks import FloatArray
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.per_request import request_influences
from evaluation.proper_scores import (
    brier_influence,
    log_loss_influence,
    normalised_entropy_influence,
    ratio_influence,
)
from evaluation.slicing.sliced_influences import HeadScores, SlicePairs
from evaluation.slicing.sliced_metrics import slice_metrics
from evaluation.slicing.sliced_order import SlicedOrder, sliced_ap, sliced_auc
from evaluation.slicing.slices import Slices

REFERENCES = {
    "ap": ap_influence,
    "auc": auc_influence,
    "log_loss": log_loss_influence,
    "normalised_entropy": normalised_entropy_influence,
    "brier": brier_influence,
    "ratio": ratio_influence,
}


def log(
    seed: int, rows: int = 1500, levels: int | None = None
) -> tuple[FloatArray, FloatArray, FloatArray, Slices, Clusters]:
    """A weighted log; slice 1 has no positive row, 3 is empty, 4 has no negative one; requests run across slices."""
    rng = np.random.default_rng(seed)
    scores = rng.random(rows) if levels is None else rng.integers(0, levels, rows) / levels
    labels = (rng.random(rows) < 0.02 + 0.3 * scores).astype(float)
    codes = rng.choice([0, 1, 2, 4], rows, p=[0.5, 0.3, 0.15, 0.05])
    labels[codes == 1], labels[codes == 4] = 0.0, 1.0
    weights = rng.choice([0.0, 1.0, 1 / 0.3, 2.7], rows, p=[0.05, 0.45, 0.3, 0.2])
    return labels, scores, weights, Slices("part", tuple("abcde"), codes), Clusters.of(rng.integers(0, rows // 8, rows))


@pytest.mark.parametrize("levels", [None, 7, 1])
@pytest.mark.parametrize("metric", ["ap", "auc"])
def test_the_one_sort_gives_each_slices_own_curve(metric: str, levels: int | None) -> None:
    y, s, w, slices, _ = log(0, levels=levels)
    order = SlicedOrder.of(s, np.argsort(s)[::-1], slices.codes, slices.count)
    values, ranked = {"ap": sliced_ap, "auc": sliced_auc}[metric](order, y[order.rows], w[order.rows])
    influence = np.empty(len(y))
    influence[order.rows] = ranked
    for s_index in range(slices.count):
        rows = slices.codes == s_index
        value, expected = REFERENCES[metric](y[rows], s[rows], w[rows])
        assert values[s_index] == pytest.approx(value, rel=1e-12, nan_ok=True)
        if not np.isnan(value):
            np.testing.assert_allclose(influence[rows], expected, atol=1e-14)


@pytest.mark.parametrize("metric", ["ap", "auc"])
@pytest.mark.parametrize("levels", [None, 7])
def test_a_slice_that_outweighs_the_others_takes_nothing_from_them(metric: str, levels: int | None) -> None:
    y, s, w, slices, _ = log(4, levels=levels)
    w[slices.codes == 0] *= 1e18
    order = SlicedOrder.of(s, np.argsort(s)[::-1], slices.codes, slices.count)
    values, ranked = {"ap": sliced_ap, "auc": sliced_auc}[metric](order, y[order.rows], w[order.rows])
    influence = np.empty(len(y))
    influence[order.rows] = ranked
    for index in (0, 2):
        rows = slices.codes == index
        value, expected = REFERENCES[metric](y[rows], s[rows], w[rows])
        assert values[index] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(influence[rows], expected, atol=1e-14)


def test_a_tied_positive_that_outweighs_the_negatives_leaves_them_their_weight() -> None:
    assert auc_influence([1, 0, 1, 0], [2, 2, 1, 0], [1e18, 1, 1e18, 1])[0] == pytest.approx((0.5 + 1 + 0 + 1) / 4)


@pytest.mark.parametrize("metric", REFERENCES)
@pytest.mark.parametrize("requests_within_slices", [True, False])
def test_values_and_clustered_errors_are_the_slices_own(metric: str, requests_within_slices: bool) -> None:
    y, s, w, slices, clusters = log(1)
    if requests_within_slices:  # then most pairs of a slice and a request hold no row
        clusters = Clusters.of(slices.codes * 1000 + clusters.codes)
    y[::17] = np.nan
    known = ~np.isnan(y)
    pairs = SlicePairs.of(slices, clusters)
    values, influence = HeadScores(y, s, w).influences([metric], pairs)[metric]
    errors = pairs.errors(influence)
    for index in range(slices.count):
        rows = (slices.codes == index) & known
        value, expected = REFERENCES[metric](y[rows], s[rows], w[rows])
        assert values[index] == pytest.approx(value, rel=1e-12, nan_ok=True)
        if not np.isnan(value):
            own = Clusters.of(clusters.codes[rows])
            assert errors[index] == pytest.approx(clustered_standard_error(expected, own), rel=1e-9)


def test_per_request_metrics_rank_within_the_slice() -> None:
    y, s, w, slices, clusters = log(2)
    w = np.ones(len(y))
    table = slice_metrics(y[:, None], s[:, None], clusters, w, [slices], ["click"], ["ndcg@3"]).set_index("slice")
    for index, name in enumerate("ac"):
        rows = slices.codes == [0, 2][index]
        own = Clusters.of(clusters.codes[rows])
        value, influence = request_influences("ndcg@3", y[rows], s[rows], own)
        assert table.loc[name, "value"] == pytest.approx(value, rel=1e-12)
        assert table.loc[name, "se"] == pytest.approx(np.sqrt((influence**2).sum()), rel=1e-9)


def test_missing_values_have_their_reasons() -> None:
    y, s, _, slices, clusters = log(3)
    table = slice_metrics(y[:, None], s[:, None], clusters, None, [slices], ["click"], ["ap", "auc", "log_loss"])
    reasons = table.set_index(["slice", "metric"])["reason"]
    assert reasons["b", "ap"] == reasons["b", "auc"] == "no positive row"
    assert set(reasons["d"]) == {"no row"}
    assert reasons["e", "auc"] == "no negative row"
    assert reasons["a"].isna().all()
    empty = table[table["slice"] == "d"]
    assert empty[["rows", "positives", "requests"]].to_numpy().sum() == 0
    assert empty[["value", "se", "low", "high"]].isna().all(axis=None)
    alone = slice_metrics([[1], [0]], [[0.9], [0.1]], [1, 1], None, [Slices.of("x", ["a", "a"])], ["click"], ["ap"])
    assert alone["reason"].tolist() == ["fewer than two requests: no interval"]
    unlabelled = slice_metrics([[np.nan]], [[0.9]], [1], None, [Slices.of("x", ["a"])], ["click"], ["brier"])
    assert unlabelled["reason"].tolist() == ["no row with a label"]


def test_the_slices_of_a_log_without_rows_are_listed() -> None:
    table = slice_metrics(
        np.empty((0, 1)), np.empty((0, 1)), [], None, [Slices.of("x", [], expected=["a", "b"])], ["click"]
    )
    assert set(table["reason"]) == {"no row"}
    assert len(table) == 2 * 6


def test_faults_are_named() -> None:
    two = [Slices.of("x", ["a", "b"]), Slices.of("x", ["a"])]
    with pytest.raises(
        ValueError, match=r"column 'x' must have 2 row\(s\), got 1; `slices` must be of columns that diff"
    ):
        slice_metrics([[1], [0]], [[0.9], [0.1]], [1, 2], None, two)
    with pytest.raises(ValueError, match=r"`metrics` must be among ap, auc, .*ndcg@K.*, got 'f1', 'mse'"):
        slice_metrics([[1]], [[0.9]], [1], None, two[1:], metrics=["f1", "ap", "mse"])
    with pytest.raises(ValueError, match="`metrics` must differ from one another"):
        slice_metrics([[1]], [[0.9]], [1], None, two[1:], metrics=["ap", "ap"])
