"""Two sets of weights side by side, and what changes places between them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.objective.pr_auc import utilities
from optimization.score_table import ScoreTable
from optimization.weight_diff import cosine, diff_weights, order_change
from ranking import Utility


def test_both_are_scaled_before_they_are_compared() -> None:
    found = diff_weights(Utility(click=1, hide=-3), Utility(save=5, click=5), names=("old", "new"))
    assert list(found.columns) == ["head", "old", "new", "difference", "ratio"]
    assert found["head"].tolist() == ["click", "hide", "save"]
    assert found["old"].tolist() == [0.25, -0.75, 0.0]
    assert found["new"].tolist() == [0.5, 0.0, 0.5]
    assert found["difference"].tolist() == [0.25, 0.75, 0.5]
    assert found["ratio"].tolist()[:2] == [2.0, 0.0]
    assert np.isnan(found["ratio"].tolist()[2])


def test_weights_that_rank_alike_do_not_differ() -> None:
    a, b = Utility(click=0.2, save=0.3), Utility(click=2.0, save=3.0)
    assert diff_weights(a, b)["difference"].tolist() == pytest.approx([0.0, 0.0], abs=1e-15)
    assert cosine(a, b) == pytest.approx(1.0)
    assert cosine(a, Utility(click=-0.2, save=-0.3)) == pytest.approx(-1.0)


@pytest.mark.parametrize("names", [("a", "a"), ("head", "b"), ("a", "ratio")])
def test_names_that_would_hide_a_column_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="`names` must be two different names"):
        diff_weights(Utility(click=1), Utility(click=1), names=names)


def brute_force(table: ScoreTable, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Every pair of every request, one at a time."""
    changed, swapped, pairs, requests = 0, 0, 0, 0
    for code in range(table.requests.count):
        rows = np.flatnonzero(table.requests.codes == code)
        if len(rows) < 2:
            continue
        requests += 1
        tops = [set(rows[scores[rows] == scores[rows].max()]) for scores in (a, b)]
        changed += not tops[0] & tops[1]
        for i, j in combinations(rows, 2):
            pairs += 1
            swapped += np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) < 0
    return changed / requests, swapped / pairs


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([2, 4, 1_000]), rows=st.integers(6, 60))
def test_changes_of_order_are_counted_as_pair_by_pair(seed: int, levels: int, rows: int) -> None:
    """With few levels most utilities tie; requests have one to many rows and are not sorted."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((rows, 2))
    labels[:2] = 1
    requests = np.r_[0, 0, 1, rng.integers(0, max(2, rows // 6), rows - 3)]
    table = ScoreTable.of(rng.integers(0, levels, (rows, 2)) / levels, labels, requests, ["click", "save"])
    pair = Utility(click=0.75, save=0.25), Utility(click=0.25, save=0.75)
    found = order_change(table, *pair)
    scores = utilities(table.probabilities, np.array([list(utility.weights.values()) for utility in pair]))
    assert (found.top_changed, found.pairs_swapped) == pytest.approx(brute_force(table, *scores), abs=1e-12)


def test_the_same_order_and_the_opposite_one() -> None:
    p = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    table = ScoreTable.of(p, [[1, 1]] * 4, [1, 1, 1, 2], ["click", "save"])
    same = order_change(table, Utility(click=1.0), Utility(click=0.5))
    assert (same.requests, same.top_changed, same.pairs_swapped) == (1, 0.0, 0.0)
    opposite = order_change(table, Utility(click=1.0), Utility(save=1.0))
    assert opposite.to_dict() == {"requests": 1, "top_changed": 1.0, "pairs_swapped": 1.0}


def test_without_two_candidates_there_is_no_order() -> None:
    table = ScoreTable.of([[0.1], [0.2]], [[1], [1]], [1, 2], ["click"])
    with pytest.raises(ValueError, match="must have a request with two candidates"):
        order_change(table, Utility(click=1.0), Utility(click=2.0))
    with pytest.raises(ValueError, match="unknown head `save`"):
        order_change(table, Utility(click=1.0), Utility(save=1.0))
