from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from evaluation.intervals import ap_interval, ratio_interval
from evaluation.metrics import METRICS, head_metrics


def log(seed: int = 0, rows: int = 2_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(1.0, 6.0, size=(rows, 3))
    labels = (rng.random((rows, 3)) < probabilities).astype(float)
    return labels, probabilities, np.repeat(np.arange(rows // 10), 10), rng.choice([1.0, 10.0], rows)


def test_one_row_per_head_equal_to_scikit_learn() -> None:
    labels, p, request, w = log()
    table = head_metrics(labels, p, request, w, ["click", "save", "hide"])
    assert table["head"].tolist() == ["click", "save", "hide"]
    for column, row in table.iterrows():
        y, q = labels[:, column], p[:, column]
        assert row["ap"] == pytest.approx(average_precision_score(y, q, sample_weight=w), abs=1e-12)
        assert row["auc"] == pytest.approx(roc_auc_score(y, q, sample_weight=w), abs=1e-12)
        assert row["log_loss"] == pytest.approx(log_loss(y, q, sample_weight=w), abs=1e-12)
        assert row["brier"] == pytest.approx(brier_score_loss(y, q, sample_weight=w), abs=1e-12)
        assert row["base_rate"] == pytest.approx(np.average(y, weights=w), abs=1e-12)
        assert row["ratio"] == pytest.approx((w @ q) / (w @ y), abs=1e-12)
        assert (row["rows"], row["positives"], row["requests"]) == (2_000, int(y.sum()), 200)
        assert row["reason"] == ""
        for metric in METRICS:
            assert row[f"{metric}_low"] < row[metric] < row[f"{metric}_high"]
            assert row[f"{metric}_se"] > 0.0


def test_a_missing_label_is_as_if_the_row_were_not_there_for_that_head_alone() -> None:
    labels, p, request, w = log(1)
    whole = head_metrics(labels, p, request, w)
    missing = np.random.default_rng(2).random(len(labels)) < 0.3
    labels[missing, 1] = np.nan
    table = head_metrics(labels, p, request, w)
    for head in (0, 2):
        assert table.loc[head].tolist() == whole.loc[head].tolist()
    y, q, groups, weights = labels[~missing, 1], p[~missing, 1], request[~missing], w[~missing]
    assert table.loc[1, ["ap", "ap_se"]].tolist() == pytest.approx(ap_interval(y, q, groups, weights), rel=1e-9)
    assert table.loc[1, ["ratio", "ratio_se"]].tolist() == pytest.approx(
        ratio_interval(y, q, groups, weights), rel=1e-9
    )
    assert table.loc[1, "rows"] == (~missing).sum()


def test_what_is_undefined_says_why() -> None:
    labels = np.array([[0.0, 1.0, np.nan, 1.0], [0.0, 1.0, np.nan, 0.0]])
    p = np.full((2, 4), 0.5)
    table = head_metrics(labels, p, ["a", "b"], names=["never", "always", "unknown", "fine"]).set_index("head")
    assert table.loc["never", ["ap", "auc", "ratio"]].isna().all()
    assert "ap: no positive row" in table.loc["never", "reason"]
    assert table.loc["never", "log_loss"] == pytest.approx(np.log(2.0))
    assert table.loc["always", "reason"] == (
        "base_rate: no negative row: no interval; auc: no negative row; normalised_entropy: no negative row"
    )
    assert table.loc["never", "base_rate"] == 0.0
    assert table.loc["never", ["base_rate_se", "base_rate_low", "base_rate_high"]].isna().all()
    assert table.loc["always", "ap"] == 1.0
    assert table.loc["unknown", "reason"].count("no row with a label") == len(METRICS)
    assert table.loc["fine", "reason"] == ""
    alone = head_metrics(labels[:, 3:], p[:, 3:], ["a", "a"])
    assert alone.loc[0, "auc"] == 0.5
    assert "auc: fewer than two requests: no interval" in alone.loc[0, "reason"]


def test_float32_probabilities_are_clipped_where_float32_ends() -> None:
    labels = np.array([[1.0], [0.0]])
    p = np.array([[0.0], [0.5]], dtype=np.float32)
    expected = (-np.log(np.finfo(np.float32).eps) + np.log(2.0)) / 2.0
    assert head_metrics(labels, p, [1, 2]).loc[0, "log_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, p, g, w: (y + 2.0, p, g, w), r"`labels` must be 0, 1 or NaN \(missing\), got"),
        (lambda y, p, g, w: (y, p * 20.0, g, w), r"`probabilities` must lie within \[0, 1\]"),
        (lambda y, p, g, w: (y, p[:, :2], g, w), r"`probabilities` must have shape \(2000, 3\), got \(2000, 2\)"),
        (lambda y, p, g, w: (y, p, g[1:], w), r"`groups` must have 2000 row\(s\), got 1999"),
        (lambda y, p, g, w: (y, p, g, -w), "`weights` must be finite and >= 0"),
    ],
)
def test_errors(change: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        head_metrics(*change(*log()))  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"`names` must name 3 head\(s\)"):
        head_metrics(*log(), names=["click"])
    with pytest.raises(ValueError, match="`names` must differ"):
        head_metrics(*log(), names=["click", "save", "click"])
