from __future__ import annotations

import numpy as np
import pytest

from evaluation.average_precision import average_precision
from evaluation.bootstrap import bootstrap_ap_interval, clustered_bootstrap
from evaluation.intervals import ap_interval, paired_ap_difference


@pytest.fixture(scope="module")
def log() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(size=600), 8)
    scores = rng.normal(size=4800) + shared
    labels = (rng.random(4800) < 1 / (1 + np.exp(2.5 - scores - shared))).astype(float)
    weights = np.where(labels > 0, 1.0, rng.choice([2.0, 5.0], 4800))
    request = np.repeat(np.array([f"r{number}" for number in range(600)]), 8)
    other = scores + rng.normal(scale=0.5, size=4800)
    return {"y": labels, "s": scores, "t": other, "w": weights, "request": request}


def test_the_influence_function_agrees_with_the_bootstrap(log: dict[str, np.ndarray]) -> None:
    value, error = ap_interval(log["y"], log["s"], log["request"], log["w"])
    again, redrawn = bootstrap_ap_interval(log["y"], log["s"], log["request"], log["w"], replicates=300, seed=1)
    assert again == pytest.approx(value, abs=1e-12)
    assert redrawn == pytest.approx(error, rel=0.15)  # 300 replicates know an SD to 4 %


def test_so_does_the_paired_difference(log: dict[str, np.ndarray]) -> None:
    y, s, t, w = log["y"], log["s"], log["t"], log["w"]
    difference, error = paired_ap_difference(y, s, t, log["request"], w)
    draws = clustered_bootstrap(
        lambda drawn: average_precision(y, s, drawn) - average_precision(y, t, drawn), log["request"], w, replicates=150
    )
    assert draws.std(ddof=1) == pytest.approx(error, rel=0.2)
    assert draws.mean() == pytest.approx(difference, abs=error)


def test_whole_requests_are_drawn(log: dict[str, np.ndarray]) -> None:
    seen: list[np.ndarray] = []

    def watch(drawn: np.ndarray) -> float:
        seen.append(drawn)
        return 0.0

    clustered_bootstrap(watch, log["request"], replicates=3)
    for drawn in seen:
        by_request = drawn.reshape(600, 8)
        assert np.all(by_request == by_request[:, :1])
        assert by_request[:, 0].sum() == 600


def test_the_seed_decides(log: dict[str, np.ndarray]) -> None:
    first, same, other = (
        bootstrap_ap_interval(log["y"], log["s"], log["request"], replicates=5, seed=seed)[1] for seed in (3, 3, 4)
    )
    assert first == same != other
    with pytest.raises(ValueError, match="`replicates` must be at least 2, got 1"):
        bootstrap_ap_interval(log["y"], log["s"], log["request"], replicates=1)
