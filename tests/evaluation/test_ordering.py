from __future__ import annotations

import numpy as np
import pytest

from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.ordering import ScoreOrder, mass_position


def test_groups_hold_equal_scores_from_the_highest_down() -> None:
    scores = np.array([0.5, 2.0, 0.5, -np.inf, 2.0, 2.0])
    order = ScoreOrder.of(scores)
    assert order.group.tolist() == [1, 0, 1, 2, 0, 0]
    assert order.ends.tolist() == [2, 4, 5]
    assert order.cumulative(np.ones(6)).tolist() == [3.0, 5.0, 6.0]
    assert np.all(np.diff(scores[order.order[:-1]]) <= 0.0)


def test_no_rows_have_no_groups() -> None:
    order = ScoreOrder.of(np.empty(0))
    assert len(order.order) == len(order.ends) == len(order.group) == 0


def test_mass_position_is_the_mid_rank_and_ignores_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    scores, weights = rng.integers(0, 9, 100).astype(float), rng.random(100)
    position = mass_position(scores, weights)
    below = np.array([weights[scores < value].sum() + weights[scores == value].sum() / 2 for value in scores])
    np.testing.assert_allclose(position, below / weights.sum(), atol=1e-12)
    shuffled = rng.permutation(100)
    np.testing.assert_allclose(mass_position(scores[shuffled], weights[shuffled]), position[shuffled], atol=1e-12)
    with pytest.raises(ValueError, match="`weights` must have a positive sum, got 0"):
        mass_position(scores, np.zeros(100))


def test_request_ids_of_any_kind_make_the_same_clusters() -> None:
    ids = np.array([2**62, -5, 2**62, 7])
    words = ["r9", "r1", "r9", "r4"]
    assert Clusters.of(ids).codes.tolist() == Clusters.of(words).codes.tolist() == [0, 1, 0, 2]
    clusters = Clusters.of(ids)
    assert Clusters.of(clusters) is clusters
    assert clusters.sums(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [4.0, 2.0, 4.0]


def test_a_missing_request_id_is_refused() -> None:
    with pytest.raises(ValueError, match="`groups` must hold an id in every row, got a missing one at row 1"):
        Clusters.of(["a", None, "b"])
    with pytest.raises(ValueError, match=r"`groups` must have 3 row\(s\), got 2"):
        Clusters.of([1, 2], rows=3)


def test_one_request_has_no_standard_error() -> None:
    assert np.isnan(clustered_standard_error([0.1, -0.1], [1, 1]))
    assert np.isnan(clustered_standard_error([0.1, -0.1, 0.0], [1, 1, 2], weights=[1, 1, 0]))
    assert clustered_standard_error([0.3, -0.4], [1, 2]) == pytest.approx(0.5)
