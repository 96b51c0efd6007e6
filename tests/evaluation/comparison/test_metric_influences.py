"""Influences are derivatives, and |log ratio| is compared as what it is: a distance with a kink at 0."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.checks import FloatArray
from evaluation.comparison import compare, metric_influences
from evaluation.intervals import paired_brier_difference, paired_ratio_difference, paired_request_difference

POOLED = ("ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio")


def log(seed: int = 0, requests: int = 60) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.02, 0.7, requests * 8)
    return (rng.random(len(p)) < p).astype(float), p, np.repeat(np.arange(requests), 8)


@pytest.mark.parametrize("metric", POOLED)
def test_a_requests_influence_is_the_derivative_by_its_weight(metric: str) -> None:
    y, p, request = log()
    y[5] = np.nan
    value, influence = metric_influences(metric, y, p, request)
    assert influence.sum() == pytest.approx(0.0, abs=1e-12)
    step = 1e-6
    for r in (0, 7, 31):
        up, down = (
            metric_influences(metric, y, p, request, np.where(request == r, 1 + sign * step, 1.0))[0]
            for sign in (1, -1)
        )
        assert influence[r] == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-9)
    assert np.isfinite(value)


def test_a_missing_label_weighs_nothing() -> None:
    y, p, request = log()
    y[::5] = np.nan
    known = ~np.isnan(y)
    for metric in POOLED:
        value, influence = metric_influences(metric, y, p, request)
        expected, expected_influence = metric_influences(metric, y[known], p[known], request[known])
        assert value == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(influence, expected_influence, atol=1e-14)


def test_undefined_is_nan_and_errors_name_the_argument() -> None:
    value, influence = metric_influences("ap", [0, 0], [0.1, 0.2], [1, 2])
    assert np.isnan(value)
    assert influence.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"`labels` must be 0, 1 or NaN \(missing\), got 2 at row 1"):
        metric_influences("ap", [0, 2], [0.1, 0.2], [1, 2])
    with pytest.raises(ValueError, match=r"`scores` must lie within \[0, 1\], got 3"):
        metric_influences("ratio", [0, 1], [0.1, 3], [1, 2])


def test_other_metrics_are_compared_by_their_direction() -> None:
    y, p, request = log(requests=400)
    rough = np.clip(p * np.random.default_rng(1).choice([0.4, 1.8], len(p)), 0.01, 0.99)
    metrics = ("log_loss", "brier", "ndcg@5", "normalised_entropy")
    table = compare(y[:, None], p[:, None], rough[:, None], request, metrics=metrics).set_index("metric")
    assert set(table["verdict"]) == {"better"}
    assert table.loc["brier", ["difference", "se"]].tolist() == pytest.approx(
        list(paired_brier_difference(y, p, rough, request)), rel=1e-9
    )
    assert table.loc["ndcg@5", ["difference", "se"]].tolist() == pytest.approx(
        list(paired_request_difference("ndcg@5", y, p, rough, request)), rel=1e-9
    )
    back = compare(y[:, None], rough[:, None], p[:, None], request, metrics=metrics)
    assert set(back["verdict"]) == {"worse"}


def test_a_ratio_is_better_when_nearer_to_one_from_either_side() -> None:
    y, p, request = log(requests=400)
    low, high = p * 0.6, np.clip(p * 1.3, 0, 1)
    table = compare(y[:, None], high[:, None], low[:, None], request, metrics=["ratio"])
    assert table["verdict"].tolist() == ["better"]
    [row] = table.to_dict("records")
    assert row["difference"] == pytest.approx(abs(np.log(row["ours"])) - abs(np.log(row["theirs"])))
    difference, error = paired_ratio_difference(y, high, low, request)
    assert difference == pytest.approx(row["ours"] - row["theirs"])
    assert error > 0.0


def test_who_is_nearer_to_one_is_not_claimed_where_the_side_is_unknown() -> None:
    """Two models a certain, tiny factor apart: which one is nearer to 1 is a matter of the noise both share."""
    claims = 0
    for seed in range(300):
        y, p, request = log(seed, requests=40)
        table = compare(y[:, None], (p * 1.002)[:, None], (p / 1.002)[:, None], request, metrics=["ratio"])
        claims += int(table["verdict"].iloc[0] != "no difference shown")
    assert claims <= 300 * 0.08  # without the second contrast every one of them is a claim


def test_one_request_with_a_positive_gives_no_interval_of_a_mean_over_requests() -> None:
    table = compare([[1], [0], [0], [0]], [4, 3, 2, 1], [3, 4, 2, 1], [1, 1, 2, 2], metrics=["mrr"])
    assert table["reason"].tolist() == ["fewer than two requests: no interval"]
    assert table["verdict"].tolist() == [None] or table["verdict"].isna().all()
