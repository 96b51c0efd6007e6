from __future__ import annotations

import numpy as np
import pytest

from evaluation.auc import auc
from evaluation.average_precision import average_precision
from evaluation.estimate import Estimate, log_interval, normal_interval
from evaluation.intervals import (
    ap_interval,
    auc_interval,
    brier_interval,
    log_loss_interval,
    normalised_entropy_interval,
    paired_ap_difference,
    paired_auc_difference,
    paired_log_loss_difference,
    ratio_interval,
)
from evaluation.proper_scores import log_loss, ratio

ROWS = 10


def draw_log(seed: int, requests: int = 250) -> dict[str, np.ndarray]:
    """Requests of 10 rows that share an effect the model cannot see, and two models that share most of their error."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(requests, ROWS))
    shared = rng.normal(scale=0.8, size=(requests, 1))
    p = 1 / (1 + np.exp(1.8 - 1.2 * signal - shared))
    noise = rng.normal(scale=0.8, size=signal.shape)
    a, b = signal + noise, signal + noise + rng.normal(scale=0.3, size=signal.shape)
    return {
        "y": (rng.random(p.shape) < p).astype(float).ravel(),
        "a": a.ravel(),
        "b": b.ravel(),
        "p": (1 / (1 + np.exp(1.6 - 0.7 * a))).ravel(),
        "q": (1 / (1 + np.exp(1.6 - 0.7 * b))).ravel(),
        "request": np.repeat(np.arange(requests), ROWS),
    }


TRUTH = draw_log(12345, requests=60_000)
REPLICATIONS = 300


@pytest.fixture(scope="module")
def replications() -> dict[str, np.ndarray]:
    """(value, standard error) of every metric over 300 logs."""
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(REPLICATIONS):
        log = draw_log(seed)
        y, request = log["y"], log["request"]
        for name, result in {
            "ap": ap_interval(y, log["a"], request),
            "ap, rows as requests": ap_interval(y, log["a"], np.arange(len(y))),
            "auc": auc_interval(y, log["a"], request),
            "ratio": ratio_interval(y, log["p"], request),
            "ratio, rows as requests": ratio_interval(y, log["p"], np.arange(len(y))),
            "log_loss": log_loss_interval(y, log["p"], request),
            "ap difference": paired_ap_difference(y, log["a"], log["b"], request),
            "auc difference": paired_auc_difference(y, log["a"], log["b"], request),
            "log loss difference": paired_log_loss_difference(y, log["p"], log["q"], request),
        }.items():
            found.setdefault(name, []).append(result)
    return {name: np.array(values) for name, values in found.items()}


def truth(name: str) -> float:
    y, a, b, p, q = (TRUTH[key] for key in "yabpq")
    return {
        "ap": lambda: average_precision(y, a),
        "auc": lambda: auc(y, a),
        "ratio": lambda: ratio(y, p),
        "log_loss": lambda: log_loss(y, p),
        "ap difference": lambda: average_precision(y, a) - average_precision(y, b),
        "auc difference": lambda: auc(y, a) - auc(y, b),
        "log loss difference": lambda: log_loss(y, p) - log_loss(y, q),
    }[name]()


@pytest.mark.parametrize(
    "name", ["ap", "auc", "ratio", "log_loss", "ap difference", "auc difference", "log loss difference"]
)
def test_intervals_cover_the_truth_as_often_as_they_say(name: str, replications: dict[str, np.ndarray]) -> None:
    values, errors = replications[name].T
    interval = log_interval if name == "ratio" else normal_interval
    bounds = np.array([interval(value, error) for value, error in zip(values, errors)])
    covered = np.mean((bounds[:, 0] <= truth(name)) & (truth(name) <= bounds[:, 1]))
    assert 0.91 <= covered <= 0.985  # .95 -+ 3 standard errors of 300 replications
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.13)  # an SD from 300 draws has an error of 4 %


def test_rows_of_a_request_are_not_independent(replications: dict[str, np.ndarray]) -> None:
    as_rows, clustered = (replications[name] for name in ("ratio, rows as requests", "ratio"))
    assert as_rows[:, 1].mean() < 0.87 * np.std(clustered[:, 0])  # too sure of itself
    assert replications["ap, rows as requests"][:, 1].mean() < replications["ap"][:, 1].mean()


def test_a_paired_difference_is_sharper_than_two_intervals(replications: dict[str, np.ndarray]) -> None:
    paired = replications["ap difference"][:, 1].mean()
    apart = np.sqrt(2.0) * replications["ap"][:, 1].mean()
    assert paired < 0.5 * apart


def test_identical_models_differ_by_exactly_nothing() -> None:
    log = draw_log(1)
    y, request = log["y"], log["request"]
    for difference in (paired_ap_difference, paired_auc_difference):
        assert difference(y, log["a"], 3.0 * log["a"] + 1.0, request) == (0.0, 0.0)
    assert paired_log_loss_difference(y, log["p"], log["p"], request) == (0.0, 0.0)


def test_swapping_the_models_changes_the_sign_only() -> None:
    log = draw_log(2)
    one = paired_ap_difference(log["y"], log["a"], log["b"], log["request"])
    other = paired_ap_difference(log["y"], log["b"], log["a"], log["request"])
    assert one[0] == -other[0]
    assert one[1] == pytest.approx(other[1], rel=1e-12)


def test_the_mean_error_of_single_rows_is_the_textbook_one() -> None:
    rng = np.random.default_rng(0)
    y, p = (rng.random(500) < 0.3).astype(float), rng.random(500)
    losses = (p - y) ** 2
    value, error = brier_interval(y, p, np.arange(500))
    assert value == pytest.approx(losses.mean())
    assert error == pytest.approx(losses.std() / np.sqrt(500))


def test_halving_every_row_into_two_of_its_request_changes_nothing() -> None:
    log = draw_log(3, requests=40)
    y, p, request = log["y"], log["p"], log["request"]
    for interval in (ap_interval, auc_interval, ratio_interval, brier_interval, normalised_entropy_interval):
        whole = interval(y, p, request, np.ones(len(y)))
        halves = interval(np.tile(y, 2), np.tile(p, 2), np.tile(request, 2), np.full(2 * len(y), 0.5))
        assert halves == pytest.approx(whole, rel=1e-9)


def test_sampled_logs_need_their_weights() -> None:
    """Weighted by 1 / keep_prob a thinned log tells the full log's AP; unweighted it does not (methods 8)."""
    full = draw_log(4, requests=8_000)
    rng = np.random.default_rng(5)
    keep_prob = np.where(full["y"] > 0, 1.0, 0.1)
    kept = rng.random(len(keep_prob)) < keep_prob
    y, scores, request, weights = (x[kept] for x in (full["y"], full["a"], full["request"], 1 / keep_prob))
    expected = average_precision(full["y"], full["a"])
    value, error = ap_interval(y, scores, request, weights)
    assert abs(value - expected) < 3 * error
    unweighted, _ = ap_interval(y, scores, request)
    assert unweighted > expected + 20 * error


def test_log_interval_is_symmetric_in_the_logarithm() -> None:
    low, high = log_interval(0.5, 0.1)
    assert np.log(0.5 / low) == pytest.approx(np.log(high / 0.5))
    assert 0.0 < low < 0.5 < high
    assert Estimate.log(0.0, 0.0).to_dict() == {"value": 0.0, "se": 0.0, "low": 0.0, "high": 0.0, "reason": None}


def test_undefined_metrics_and_single_requests() -> None:
    assert np.isnan(ap_interval([0, 0], [1, 2], [1, 2])).all()
    value, error = ap_interval([1, 0], [2, 1], ["same", "same"])
    assert value == 1.0
    assert np.isnan(error)
