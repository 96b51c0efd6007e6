"""Per-request and whole-log metrics equal scikit-learn's: random, tied, weighted and degenerate inputs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    label_ranking_average_precision_score,
    log_loss,
    ndcg_score,
    roc_auc_score,
    top_k_accuracy_score,
)

import evaluation
from evaluation.per_request import request_influences

REQUESTS, ROWS = 80, 12
LEVELS = {"untied": 10**9, "tied": 4, "constant": 1}


def square(seed: int, levels: int, *, graded: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and scores (R, n), each request with a positive and a negative row, and request ids (R n,)."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 5] if graded else [0, 0, 0, 1], (REQUESTS, ROWS))
    labels[:, 0], labels[:, 1] = 1, 0
    return labels, rng.integers(0, levels, labels.shape) / levels, np.repeat(np.arange(REQUESTS), ROWS)


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS.keys())
@pytest.mark.parametrize("k", [1, 5, 10, None])
@pytest.mark.parametrize("graded", [False, True])
def test_ndcg_with_and_without_ties(levels: int, k: int | None, graded: bool) -> None:
    y, s, ids = square(0, levels, graded=graded)
    name = "ndcg" if k is None else f"ndcg@{k}"
    assert request_influences(name, y.ravel(), s.ravel(), ids)[0] == pytest.approx(ndcg_score(y, s, k=k), abs=1e-12)


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS.keys())
def test_ndcg_with_weighted_requests(levels: int) -> None:
    y, s, ids = square(1, levels)
    w = np.random.default_rng(2).uniform(0.5, 9.0, REQUESTS)
    expected = ndcg_score(y, s, k=5, sample_weight=w)
    assert request_influences("ndcg@5", y.ravel(), s.ravel(), ids, w[ids])[0] == pytest.approx(expected, abs=1e-12)


def test_exponential_gains_are_a_change_of_labels() -> None:
    y, s, ids = square(3, 5, graded=True)
    found = request_influences("ndcg@10", 2.0 ** y.ravel() - 1, s.ravel(), ids)[0]
    assert found == pytest.approx(ndcg_score(2**y - 1, s, k=10), abs=1e-12)


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS.keys())
def test_ndcg_in_the_order_given_is_that_of_ignored_ties_on_untied_scores(levels: int) -> None:
    y, s, ids = square(4, levels)
    places = np.argsort(np.argsort(-s, axis=1, kind="stable"), axis=1)
    found = request_influences("ndcg@5", y.ravel(), s.ravel(), ids, ties="order")[0]
    assert found == pytest.approx(ndcg_score(y, -places, k=5, ignore_ties=True), abs=1e-12)


def test_mean_ap_is_label_ranking_average_precision_without_ties() -> None:
    y, s, ids = square(5, LEVELS["untied"])
    w = np.random.default_rng(6).uniform(0.5, 9.0, REQUESTS)
    expected = label_ranking_average_precision_score(y, s, sample_weight=w)
    assert request_influences("mean_ap", y.ravel(), s.ravel(), ids, w[ids])[0] == pytest.approx(expected, abs=1e-12)


def test_mean_ap_of_sampled_rows_is_weighted_average_precision_without_ties() -> None:
    """Positives are all kept; a negative of weight w stands for w."""
    y, s, ids = square(7, LEVELS["untied"])
    w = np.where(y == 1, 1.0, np.random.default_rng(8).uniform(1.0, 9.0, y.shape))
    each = [average_precision_score(*row[:2], sample_weight=row[2]) for row in zip(y, s, w)]
    found = request_influences("mean_ap", y.ravel(), s.ravel(), ids, w.ravel())[0]
    assert found == pytest.approx(np.mean(each), abs=1e-12)


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS.keys())
@pytest.mark.parametrize("weighted", [False, True])
def test_gauc_is_the_mean_of_every_requests_auc(levels: int, weighted: bool) -> None:
    rng = np.random.default_rng(9)
    y, s, ids = square(10, levels)
    kept = rng.random(y.shape) < 0.8  # ragged
    kept[:, :2] = True
    w = rng.uniform(1.0, 5.0, y.shape) if weighted else np.ones(y.shape)
    w[y == 1] = 1.0
    each = [roc_auc_score(y[r][kept[r]], s[r][kept[r]], sample_weight=w[r][kept[r]]) for r in range(REQUESTS)]
    rows = np.array([w[r][kept[r]].sum() for r in range(REQUESTS)])
    flat = kept.ravel()
    found = request_influences("gauc", y.ravel()[flat], s.ravel()[flat], ids[flat], w.ravel()[flat])[0]
    assert found == pytest.approx(np.average(each, weights=rows), abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_hit_rate_and_recall_of_one_positive_are_top_k_accuracy(k: int) -> None:
    rng = np.random.default_rng(11)
    s, truth = rng.random((REQUESTS, ROWS)), rng.integers(0, ROWS, REQUESTS)
    y = np.arange(ROWS) == truth[:, None]
    expected = top_k_accuracy_score(truth, s, k=k, labels=np.arange(ROWS))
    for name in (f"hit_rate@{k}", f"recall@{k}"):
        found = request_influences(name, y.ravel(), s.ravel(), np.repeat(np.arange(REQUESTS), ROWS))[0]
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_request_without_a_positive_is_0_there_and_left_out_here() -> None:
    y, s = np.array([[1, 0, 0], [0, 0, 0]]), np.array([[3, 2, 1], [3, 2, 1]])
    assert ndcg_score(y, s) == 0.5
    assert request_influences("ndcg", y.ravel(), s.ravel(), [1, 1, 1, 2, 2, 2])[0] == 1.0


@pytest.mark.parametrize("levels", [10**9, 7, 1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("positives", [1, 50, 999])
def test_whole_log_metrics(levels: int, weighted: bool, positives: int) -> None:
    rng = np.random.default_rng(12)
    y = rng.permutation(np.arange(1000) < positives).astype(float)
    s = (rng.integers(0, levels, 1000) + 0.5) / levels
    w = rng.choice([0.0, 1.0, 2.5, 40.0], 1000) if weighted else None
    if weighted:
        w[y == 1] = np.maximum(w[y == 1], 1.0)
        w[np.flatnonzero(y == 0)[0]] = 1.0
    peers = {
        evaluation.average_precision: average_precision_score,
        evaluation.auc: roc_auc_score,
        evaluation.log_loss: log_loss,
        evaluation.brier: brier_score_loss,
    }
    for ours, theirs in peers.items():
        assert ours(y, s, w) == pytest.approx(theirs(y, s, sample_weight=w), abs=1e-12), ours
