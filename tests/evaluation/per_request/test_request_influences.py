"""The mean over requests: its influences, row weights, missing labels and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.clusters import Clusters
from evaluation.per_request import DEFAULT_METRICS, is_request_metric, metric_names, request_influences
from evaluation.per_request.request_weights import split_weights

NAMES = [*DEFAULT_METRICS, "ndcg", "ndcg@3", "mrr@2", "mean_ap@4", "recall@2", "hit_rate@1"]


def log(seed: int, rows: int = 500, requests: int = 80) -> dict[str, np.ndarray]:
    """Ragged requests in no order, with ties."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, rows).astype(float)
    return {
        "labels": (rng.random(rows) < 0.1 + 0.05 * scores).astype(float),
        "scores": scores,
        "clusters": rng.integers(0, requests, rows),
    }


def value(name: str, parts: dict[str, Any], ties: str = "average") -> float:
    return request_influences(name, **parts, ties=ties)[0]


@pytest.mark.parametrize("ties", ["average", "order"])
@pytest.mark.parametrize("name", NAMES)
def test_influences_say_what_the_weight_of_a_request_does(name: str, ties: str) -> None:
    """The derivative of the mean by the log of the request's weight, all its rows having the same."""
    parts = log(0)
    rng = np.random.default_rng(1)
    of_request = rng.uniform(1.0, 3.0, 80)
    parts["weights"] = of_request[parts["clusters"]]
    _, influence = request_influences(name, **parts, ties=ties)
    assert influence.sum() == pytest.approx(0.0, abs=1e-13)
    step = 1e-6
    for code in (0, 3, 11):
        here = Clusters.of(parts["clusters"]).codes == code
        sides = [
            value(name, parts | {"weights": np.where(here, parts["weights"] * (1 + s), parts["weights"])}, ties)
            for s in (step, -step)
        ]
        assert influence[code] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4, abs=1e-9)


def test_the_standard_error_is_that_of_a_mean() -> None:
    parts = log(2)
    each = []
    for request in np.unique(parts["clusters"]):
        here = parts["clusters"] == request
        one = value("ndcg@10", {key: part[here] for key, part in parts.items()})
        each += [] if np.isnan(one) else [one]
    found, influence = request_influences("ndcg@10", **parts)
    assert found == pytest.approx(np.mean(each), abs=1e-14)
    assert np.sqrt((influence**2).sum()) == pytest.approx(np.std(each) / np.sqrt(len(each)), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_rows_in_another_order_and_scores_on_another_scale_change_nothing(name: str) -> None:
    parts = log(3)
    turned = np.random.default_rng(4).permutation(500)
    shuffled = {key: part[turned] for key, part in parts.items()}
    shuffled["scores"] = np.exp(shuffled["scores"] / 3.0) - 100.0
    shuffled["clusters"] = np.array([f"request {number}" for number in shuffled["clusters"]])
    assert value(name, shuffled) == pytest.approx(value(name, parts), abs=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_and_the_worst_ranking(name: str) -> None:
    parts = log(5)
    best, worst = (value(name, parts | {"scores": sign * parts["labels"]}) for sign in (1.0, -1.0))
    assert worst <= value(name, parts) <= best <= 1.0 + 1e-15
    if not name.startswith(("recall", "mean_ap@")):  # more positives than K
        assert best == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_weight_w_is_w_rows(name: str) -> None:
    parts = log(6)
    copies = np.random.default_rng(7).choice([0, 1, 1, 3], 500)
    repeated = {key: np.repeat(part, copies) for key, part in parts.items()}
    weighted, influence = request_influences(name, **parts, weights=copies)
    plain, of_copies = request_influences(name, **repeated)
    assert weighted == pytest.approx(plain, abs=1e-12)
    assert np.sort(influence[influence != 0]) == pytest.approx(np.sort(of_copies[of_copies != 0]), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_equal_within_requests_weigh_the_requests(name: str) -> None:
    parts = log(8)
    of_request = np.random.default_rng(9).choice([1, 3], 80)[parts["clusters"]]
    copies = [{key: part[of_request > copy] for key, part in parts.items()} for copy in range(3)]
    for number, copy in enumerate(copies):
        copy["clusters"] = copy["clusters"] + 1000 * number
    repeated = {key: np.concatenate([copy[key] for copy in copies]) for key in parts}
    assert value(name, parts | {"weights": of_request}) == pytest.approx(value(name, repeated), abs=1e-13)
    assert value(name, parts | {"weights": 0.01 * of_request}) == pytest.approx(value(name, repeated), abs=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("choices", [[0.2, 0.5, 1.7], [1.0, 2.5, 3.3], [1e-3, 1.0, 1e4]])
def test_any_weights_keep_the_metric_between_0_and_1(name: str, choices: list[float]) -> None:
    parts = log(10)
    weights = np.random.default_rng(11).choice(choices, 500)
    assert 0.0 <= value(name, parts | {"weights": weights}) <= 1.0 + 1e-12
    perfect = value(name, parts | {"weights": weights, "scores": parts["labels"]})
    assert perfect <= 1.0 + 1e-12
    if name in ("ndcg", "ndcg@3", "ndcg@10", "mrr", "mean_ap", "gauc"):
        assert perfect == pytest.approx(1.0, abs=1e-9)


def test_no_row_counts_as_less_than_one() -> None:
    requests = Clusters.of([1, 1, 2, 2, 3])
    of_request, of_row = split_weights(np.array([0.5, 2.0, 4.0, 1.0, 0.0]), requests)
    assert of_request.tolist() == [0.5, 1.0, 1.0]
    assert of_row.tolist() == [1.0, 4.0, 4.0, 1.0, 0.0]


@pytest.mark.parametrize("name", NAMES)
def test_missing_labels_and_rows_of_weight_0_are_not_there(name: str) -> None:
    parts = log(12)
    gone = np.random.default_rng(13).random(500) < 0.3
    kept = {key: part[~gone] for key, part in parts.items()}
    missing = parts | {"labels": np.where(gone, np.nan, parts["labels"])}
    assert value(name, missing) == pytest.approx(value(name, kept), abs=1e-14)
    weights = np.where(gone, 0.0, 1.0)
    assert value(name, parts | {"weights": weights}) == pytest.approx(value(name, kept), abs=1e-14)


def test_clusters_without_rows_are_allowed_and_count_nothing() -> None:
    requests = Clusters(np.array([3, 3, 1, 1]), 6)
    found, influence = request_influences("mrr", [1, 0, 0, 1], [3, 2, 1, 0], requests)
    assert found == 0.75
    assert influence.tolist() == [0.0, -0.125, 0.0, 0.125, 0.0, 0.0]


@pytest.mark.parametrize("labels", [[0, 0, 0], [np.nan] * 3, []])
def test_without_a_request_that_has_a_value_there_is_none(labels: list[float]) -> None:
    found, influence = request_influences("ndcg@10", labels, labels and [1, 2, 3], ["a", "a", "b"][: len(labels)])
    assert np.isnan(found)
    assert np.isnan(influence).all()


def test_names() -> None:
    assert [str(name) for name in metric_names(NAMES)] == NAMES
    assert [name.label for name in metric_names(DEFAULT_METRICS)] == [
        "NDCG@10", "MRR", "recall@10", "hit rate@10", "mean AP per request", "GAUC",
    ]  # fmt: skip
    assert not any(is_request_metric(name) for name in ("recall", "gauc@5", "ndcg@0", "ndcg@05", "NDCG@5", "ap", ""))
    with pytest.raises(ValueError, match=r"must be among ndcg, ndcg@K, .* got 'recall', 'gauc@5'"):
        metric_names(["recall", "mrr", "gauc@5"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": [1.0, np.nan, 3.0]}, "`scores` must be numbers without NaN, got nan at row 1"),
        ({"weights": [1.0, 1.0, -2.0]}, "`weights` must be finite and >= 0, got -2 at row 2"),
        ({"labels": [0.0, 2.0, 1.0]}, r"`labels` must be 0, 1 or NaN for mrr, got 2 \(1 value"),
        ({"labels": [0.0, -1.0, -1.0]}, r"`labels` must be finite and >= 0, got -1 \(2 value"),
        ({"scores": [1.0, 2.0]}, r"`scores` must have 3 row\(s\), got 2"),
        ({"clusters": ["a", "b"]}, r"`groups` must have 3 row\(s\), got 2"),
        ({"ties": "max"}, "`ties` must be one of average, order, got 'max'"),
        ({"metric": "auc"}, "`metrics` must be among"),
    ],
)
def test_what_is_refused(changed: dict[str, Any], message: str) -> None:
    call = {"metric": "mrr", "labels": [0.0, 1.0, 0.0], "scores": [3.0, 2.0, 1.0], "clusters": ["a", "a", "b"]}
    with pytest.raises(ValueError, match=message):
        request_influences(**(call | changed))


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_that_is_lost_beside_the_others_is_no_division_by_zero(name: str) -> None:
    labels, scores = [0, 0, 1, 0, 1], [2, 1, 0, 1, 0]
    found = value(
        name, {"labels": labels, "scores": scores, "clusters": list("aabbb"), "weights": [1e19, 1e20, 2, 1, 1]}
    )
    assert np.isfinite(found)
