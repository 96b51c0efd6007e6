"""The clipping report: equal to a slow count, and loud where log and new ranking contradict one another."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.counterfactual import Reranking, default_clip, estimate_reranking, measure_support
from features import InputError
from features.world.policy import order_by_plackett_luce, position_propensity


def logged(seed: int, requests: int = 3000, candidates: int = 5, spread: float = 0.7) -> tuple[np.ndarray, ...]:
    """(items in the order shown, their propensities), both (R, C), of a Plackett-Luce policy over 40 items."""
    random = np.random.default_rng(seed)
    taste = random.normal(0, spread, 40)
    shown = np.argsort(random.random((requests, 40)), axis=1)[:, :candidates]
    shown = np.take_along_axis(shown, order_by_plackett_luce(random, taste[shown]), axis=1)
    return shown, position_propensity(taste[shown])


def rerank(shown: np.ndarray, propensity: np.ndarray, scores: np.ndarray) -> Reranking:
    requests, candidates = shown.shape
    return Reranking.of(
        scores.ravel(), shown.ravel(), np.repeat(np.arange(requests), candidates),
        np.tile(np.arange(1, candidates + 1), requests), propensity.ravel(),
    )  # fmt: skip


def test_the_report_equals_a_slow_count() -> None:
    shown, propensity = logged(0, requests=200)
    new = rerank(shown, propensity, np.sin(shown))
    clip = 0.15
    report = measure_support(new, clip)
    weights, before, clipped, covered = [], [], 0, np.zeros(5)
    for row in range(1000):
        if new.new[row] == new.logged[row]:
            weights.append(1 / max(propensity.ravel()[row], clip))
            before.append(1 / propensity.ravel()[row])
            clipped += propensity.ravel()[row] < clip
            covered[new.logged[row] - 1] += weights[-1] / 200
    n = report.numbers
    assert n["matched"] == len(weights)
    assert n["match_share"] == len(weights) / 1000
    assert n["covered"] == pytest.approx(sum(weights) / 1000)
    assert n["effective_rows"] == pytest.approx(sum(weights) ** 2 / sum(w * w for w in weights))
    assert n["effective_rows_unclipped"] == pytest.approx(sum(before) ** 2 / sum(w * w for w in before))
    assert n["largest_weight"] == max(weights)
    assert n["largest_weight_unclipped"] == max(before)
    assert n["clipped_rows"] == clipped > 0
    assert n["clipped_share"] == pytest.approx(1 - sum(weights) / sum(before))
    assert n["candidates"] == 5
    np.testing.assert_allclose(report.positions["covered"], covered)
    assert report.positions["matched"].sum() == len(weights)


def test_weights_add_up_to_one_per_place_for_an_order_that_ignores_the_log() -> None:
    """E[w] = 1 [Li et al. 2018], and E[1 / p] at a position is the number of candidates: neither raises a note."""
    shown, propensity = logged(1)
    report = measure_support(rerank(shown, propensity, np.cos(shown)), 0.0)
    assert abs(report.numbers["covered"] - 1) < 3 * report.numbers["covered_se"]
    assert report.numbers["implied_candidates"] == pytest.approx(5, rel=0.05)
    assert report.notes() == []


def test_an_order_made_from_the_logged_one_is_refused() -> None:
    """The log's own order: every placement matches, and 1 / p counts each of them five times."""
    shown, propensity = logged(2)
    new = rerank(shown, propensity, np.tile(-np.arange(5.0), (3000, 1)))
    assert new.matched.all()
    with pytest.raises(InputError, match=r"follows the logged one.*serving position"):
        estimate_reranking(new, np.zeros((15000, 1)))
    tied = rerank(shown, propensity, np.zeros((3000, 5)))  # equal scores go by item, not by row
    assert 0.15 < tied.matched.mean() < 0.25


def test_propensities_of_something_else_are_noticed() -> None:
    """The probability of the whole order instead of the item's at its position; a policy that claims certainty."""
    shown, propensity = logged(3)
    whole = np.repeat(np.prod(propensity, axis=1, keepdims=True), 5, axis=1)
    report = measure_support(rerank(shown, whole, np.cos(shown)), 0.01)
    assert any("contradict themselves" in note for note in report.notes())
    certain = measure_support(rerank(shown, np.ones_like(propensity), np.cos(shown)), 0.01)
    assert len(certain.notes()) == 2
    assert "supports 19 %" in certain.notes()[0]  # about one placement in five is shared
    assert certain.numbers["implied_candidates"] == 1.0


def test_the_default_clip_shrinks_with_the_log_and_leaves_an_even_policy_alone() -> None:
    shown, propensity = logged(4, requests=64)
    new = rerank(shown, propensity, np.cos(shown))
    assert default_clip(new) == 0.1  # 1 / (2 x 5), below 1 / sqrt(64)
    shown, propensity = logged(4, requests=3000)
    assert default_clip(rerank(shown, propensity, np.cos(shown))) == pytest.approx(3000**-0.5)
    with pytest.raises(ValueError, match="`clip` must satisfy 0 <= clip < 1, got 1"):
        estimate_reranking(new, np.zeros((320, 1)), clip=1.0)
