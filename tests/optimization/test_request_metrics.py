"""Per-request metrics against scikit-learn and `evaluation` request by request, copies of rows, and by their errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from evaluation.per_request import request_influences
from optimization.objective.metrics import make_metric
from optimization.objective.pr_auc import utilities
from optimization.objective.request_metrics import PreparedRequestMetric, RequestMetric
from optimization.score_table import ScoreTable

NAMES = ["mean_ap", "ndcg@1", "ndcg@5", "ndcg@100", "expected_utility@1", "expected_utility@3"]
HEADS = ["click", "save", "hide"]
WEIGHTS = np.array([[0.5, 0.3, -0.2], [1.0, 0.0, 0.0], [-0.1, 0.9, 0.0], [0.0, 0.0, 0.0]])  # the last ties everything


def rows(seed: int, count: int = 600, levels: int = 6) -> dict[str, Any]:
    """Rows in no order, with many ties and requests of all sizes from 1 on, some without a positive."""
    rng = np.random.default_rng(seed)
    return {
        "probabilities": rng.integers(0, levels, (count, 3)) / levels,
        "labels": (rng.random((count, 3)) < [0.2, 0.1, 0.05]).astype(float),
        "requests": rng.integers(0, count // 6, count) ** 2 // (count // 6),
        "heads": HEADS,
    }


def prepared(name: str, **parts: Any) -> PreparedRequestMetric:
    metric = make_metric(name)
    assert isinstance(metric, RequestMetric)
    return metric.prepare(ScoreTable.of(**parts))


def tied_ap(y: np.ndarray, s: np.ndarray, w: np.ndarray) -> float:
    """scikit-learn has none over random orders of ties; that of `evaluation` is tested against every order."""
    return request_influences("mean_ap", y, s, np.zeros(len(y)), w)[0]


def sk_ndcg(cutoff: int) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    def score(y: np.ndarray, s: np.ndarray, w: np.ndarray) -> float:
        assert (w == 1).all()
        return 1.0 if len(y) == 1 else float(ndcg_score(y[None], s[None], k=cutoff))  # it refuses a single document

    return score


def engagements(cutoff: int) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    def score(y: np.ndarray, s: np.ndarray, w: np.ndarray) -> float:
        """Rows that surely are among the first K, and of the group across the cut the fraction that is."""
        assert (w == 1).all()
        total, used = 0.0, 0
        for level in np.unique(s)[::-1]:
            group = y[s == level]
            total += group.sum() * min(max(cutoff - used, 0), len(group)) / len(group)
            used += len(group)
        return total

    return score


REFERENCES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "mean_ap": tied_ap,
    "ndcg@1": sk_ndcg(1),
    "ndcg@5": sk_ndcg(5),
    "ndcg@100": sk_ndcg(100),
    "expected_utility@1": engagements(1),
    "expected_utility@3": engagements(3),
}


def reference(name: str, parts: dict[str, Any], weights: np.ndarray, row_weights: np.ndarray | None = None) -> Any:
    """The means (T,) over requests, one at a time; and how many requests they are over."""
    s = utilities(parts["probabilities"], weights[None])[0]
    w = np.ones(len(s)) if row_weights is None else row_weights
    ids = np.asarray(parts["requests"])
    means, counts = [], []
    for y in parts["labels"].T:
        values = []
        for request in np.unique(ids):
            here = (ids == request) & ~np.isnan(y) & (w > 0)
            if here.any() and (y[here].any() or name.startswith("expected")):
                values.append(REFERENCES[name](y[here], s[here], w[here]))
        means.append(np.mean(values))
        counts.append(len(values))
    return np.array(means), counts


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_scikit_learn_request_by_request(name: str, seed: int) -> None:
    parts = rows(seed)
    metric = prepared(name, **parts)
    found = metric.values(WEIGHTS)
    for vector, values in zip(WEIGHTS, found):
        expected, counts = reference(name, parts, vector)
        assert values == pytest.approx(expected, abs=1e-12)
        assert metric.counted.tolist() == counts
    requests = len(np.unique(parts["requests"]))
    assert (metric.counted + metric.left_out).tolist() == [requests] * 3
    assert (metric.left_out > 0).all() == (not name.startswith("expected"))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_a_heads_label_is_left_out_for_that_head_alone(name: str) -> None:
    parts = rows(2)
    missing = np.random.default_rng(3).random((600, 3)) < [0.3, 0.0, 0.1]
    missing[np.asarray(parts["requests"]) == 0, 0] = True  # a request without any label of the head counts nowhere
    parts["labels"] = np.where(missing, np.nan, parts["labels"])
    metric = prepared(name, **parts)
    for vector, values in zip(WEIGHTS, metric.values(WEIGHTS)):
        expected, counts = reference(name, parts, vector)
        assert values == pytest.approx(expected, abs=1e-12)
        assert metric.counted.tolist() == counts


def test_weighted_average_precision_equals_scikit_learns() -> None:
    """Without ties, on rows sampled as logs are: every row with an engagement is kept and counts once."""
    parts = rows(4, levels=10**6)
    w = np.where(parts["labels"].any(axis=1), 1.0, np.random.default_rng(5).choice([0.0, 1.0, 2.5], 600))
    found = prepared("mean_ap", **parts, row_weights=w).values(WEIGHTS[:3])
    for vector, values in zip(WEIGHTS, found):
        s, ids = utilities(parts["probabilities"], vector[None])[0], np.asarray(parts["requests"])
        assert len(np.unique(s)) == 600
        for y, value in zip(parts["labels"].T, values):
            here = [ids == request for request in np.unique(ids[y == 1])]
            each = [average_precision_score(y[h], s[h], sample_weight=w[h]) for h in here]
            assert value == pytest.approx(np.mean(each), abs=1e-12)


def test_values_and_influences_are_those_of_evaluation() -> None:
    """One definition in both places, at any row weights."""
    parts = rows(5)
    w = np.random.default_rng(5).choice([0.0, 0.5, 1.0, 2.5], 600)
    for name in ("mean_ap", "ndcg@5"):
        values, influences = prepared(name, **parts, row_weights=w).influences(WEIGHTS[0])
        scores = utilities(parts["probabilities"], WEIGHTS[:1])[0]
        for head in range(3):
            value, influence = request_influences(name, parts["labels"][:, head], scores, parts["requests"], w)
            assert values[head] == pytest.approx(value, abs=1e-13)
            assert influences[:, head] == pytest.approx(influence, abs=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_weight_w_is_w_rows(name: str) -> None:
    parts = rows(6)
    copies = np.random.default_rng(7).choice([0, 1, 1, 3], 600)
    repeated = {key: np.repeat(parts[key], copies, axis=0) for key in ("probabilities", "labels", "requests")}
    weighted = prepared(name, **parts, row_weights=copies)
    plain = prepared(name, **(parts | repeated))
    assert weighted.values(WEIGHTS) == pytest.approx(plain.values(WEIGHTS), abs=1e-11)
    assert weighted.counted.tolist() == plain.counted.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_constant_within_requests_weigh_the_requests(name: str) -> None:
    """Whole requests were sampled: one of weight 3 is three requests, not one of three times the candidates."""
    parts = rows(8)
    ids = np.asarray(parts["requests"])
    of_request = np.random.default_rng(9).choice([1.0, 3.0], ids.max() + 1)
    copies = [np.flatnonzero(of_request[ids] > copy) for copy in range(3)]
    whole = np.concatenate(copies)
    repeated = {key: np.asarray(parts[key])[whole] for key in ("probabilities", "labels")}
    names = np.concatenate([ids[copy] + 1000 * number for number, copy in enumerate(copies)])
    weighted = prepared(name, **parts, row_weights=of_request[ids])
    plain = prepared(name, **(parts | repeated | {"requests": names}))
    assert weighted.values(WEIGHTS) == pytest.approx(plain.values(WEIGHTS), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_influences_say_what_leaving_a_request_out_does(name: str) -> None:
    """For a mean over R requests, exactly: m without r - m = -influence_r R / (R - 1)."""
    parts = rows(10, count=240)
    ids = np.asarray(parts["requests"])
    metric = prepared(name, **parts)
    values, influences = metric.influences(WEIGHTS[0])
    assert values == pytest.approx(metric.values(WEIGHTS[:1])[0], abs=1e-13)
    assert influences.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-13)
    order = list(dict.fromkeys(ids.tolist()))  # the codes of the table
    for request in (order[0], order[5], order[-1]):
        left = {key: np.asarray(parts[key])[ids != request] for key in ("probabilities", "labels", "requests")}
        without = prepared(name, **(parts | left))
        change = without.values(WEIGHTS[:1])[0] - values
        gone = metric.counted > without.counted
        expected = -influences[order.index(request)] * metric.counted / np.maximum(metric.counted - 1, 1)
        assert change == pytest.approx(np.where(gone, expected, 0.0), abs=1e-12)
        assert influences[order.index(request)][~gone].tolist() == [0.0] * int((~gone).sum())


def test_weighted_influences_are_the_derivative_by_the_requests_weights() -> None:
    parts = rows(11, count=240)
    ids = np.asarray(parts["requests"])
    of_request = np.random.default_rng(12).uniform(1.0, 2.0, ids.max() + 1)
    table_weights = of_request[ids]
    _, influences = prepared("ndcg@5", **parts, row_weights=table_weights).influences(WEIGHTS[0])
    request, step = int(ids[0]), 1e-6
    sides = []
    for sign in (1.0, -1.0):
        moved = np.where(ids == request, table_weights + sign * step, table_weights)
        sides.append(prepared("ndcg@5", **parts, row_weights=moved).values(WEIGHTS[:1])[0])
    slope = (sides[0] - sides[1]) / (2 * step)
    assert influences[0] == pytest.approx(of_request[request] * slope, rel=1e-5, abs=1e-9)


def test_paired_errors_are_those_of_the_mean_of_differences() -> None:
    """sqrt(sum_r (influence difference)^2) = SD of the requests' differences / sqrt(R)."""
    parts = rows(13)
    metric = prepared("expected_utility@3", **parts)
    _, a = metric.influences(WEIGHTS[0])
    _, b = metric.influences(WEIGHTS[1])
    ids, y = np.asarray(parts["requests"]), parts["labels"][:, 0]
    each = []
    for vector in WEIGHTS[:2]:
        s = utilities(parts["probabilities"], vector[None])[0]
        each.append([engagements(3)(y[ids == r], s[ids == r], np.ones((ids == r).sum())) for r in np.unique(ids)])
    difference = np.array(each[0]) - np.array(each[1])
    error = np.sqrt(((a - b)[:, 0] ** 2).sum())
    assert error == pytest.approx(difference.std() / np.sqrt(len(difference)), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_neither_the_order_of_rows_nor_the_scale_of_weights_matters(name: str) -> None:
    parts = rows(14)
    turned = np.random.default_rng(15).permutation(600)
    shuffled = {key: np.asarray(parts[key])[turned] for key in ("probabilities", "labels", "requests")}
    known = prepared(name, **parts).values(WEIGHTS)
    assert prepared(name, **(parts | shuffled)).values(WEIGHTS) == pytest.approx(known, abs=1e-12)
    assert prepared(name, **parts).values(4.0 * WEIGHTS).tolist() == known.tolist()  # by a power of 2: the same ties


def test_realised_utility_by_hand() -> None:
    """Business values times engagements in the top two: request a shows rows 0, 1; b shows 4 and half of 3 and 5."""
    p = [[0.9], [0.5], [0.1], [0.3], [0.8], [0.3]]
    y = [[1, 0], [0, 1], [1, 1], [1, 0], [0, 1], [0, 0]]
    parts = {"probabilities": np.repeat(p, 2, axis=1), "labels": y, "requests": list("aaabbb"), "heads": ["x", "y"]}
    found = prepared("expected_utility@2", **parts).values([[0.5, 0.5]])[0]
    assert found.tolist() == [(1 + 0.5) / 2, (1 + 1) / 2]
    assert found @ [2.0, 10.0] == 2.0 * 0.75 + 10.0 * 1.0


def test_tied_candidates_share_the_discounts_of_their_ranks() -> None:
    parts = {
        "probabilities": [[0.2]] * 4,
        "labels": [[1], [0], [0], [1]],
        "requests": [1, 1, 1, 2],
        "heads": ["click"],
    }
    found = prepared("ndcg@2", **parts).values([[1.0]])[0, 0]
    shared = (1 / np.log2(2) + 1 / np.log2(3) + 0) / 3
    assert found == pytest.approx((shared / 1 + 1) / 2, abs=1e-15)


@pytest.mark.parametrize("weights", [[1.0, 0.0, 0.0], [[1.0, 0.0]], [[np.nan, 1.0, 1.0]]])
def test_weights_of_another_shape_or_nan_are_refused(weights: list[Any]) -> None:
    metric = prepared("ndcg@5", **rows(0))
    with pytest.raises(ValueError, match="`weights` must be"):
        metric.values(weights)
    with pytest.raises(ValueError, match="`weights` must be"):
        metric.influences(weights[0] if isinstance(weights[0], list) else [weights])
