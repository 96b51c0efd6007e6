from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.average_precision import ap_influence, average_precision
from evaluation.clusters import Clusters, clustered_standard_error
from optimization.objective import row_codes
from optimization.objective.pr_auc import UtilityObjective, ap_request_influences, utilities

# (weights that are classes, bits of a code): class and request, class and row number, row number alone
LAYOUTS = {"request": (64, 32), "row number": (0, 32), "row number alone": (0, 1)}


def reference(
    p: np.ndarray, y: np.ndarray, weights: np.ndarray, clusters: Clusters, row_weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """`evaluation`'s influences per row, head by head on the rows with a label, summed per request."""
    scores = utilities(p, weights[None])[0].astype(float)
    values, influences = np.empty(y.shape[1]), np.empty((clusters.count, y.shape[1]))
    for head, labels in enumerate(y.T):
        known = ~np.isnan(labels)
        of_rows = np.zeros(len(y))
        w = None if row_weights is None else row_weights[known]
        values[head], of_rows[known] = ap_influence(labels[known], scores[known], w)
        influences[:, head] = np.nan if np.isnan(values[head]) else clusters.sums(of_rows)
    return values, influences


def assert_equal_to_reference(found: tuple, expected: tuple) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    for ours, theirs in zip(found[1].T, expected[1].T):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * (scale + 1e-2))


@st.composite
def problems(draw: st.DrawFn) -> tuple:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, heads = draw(st.integers(1, 60)), draw(st.integers(1, 9))
    levels = draw(st.sampled_from([1, 3, 1000]))
    p = rng.integers(0, levels, (size, heads)) / levels
    y = (rng.random((size, heads)) < rng.uniform(0.02, 0.9)).astype(float)
    y[rng.random(y.shape) < draw(st.sampled_from([0.0, 0.0, 0.3]))] = np.nan
    weights = rng.dirichlet(np.ones(heads)) * rng.choice([1.0, draw(st.sampled_from([1.0, 0.0, -1.0]))], heads)
    clusters = Clusters.of(rng.integers(0, draw(st.integers(1, 20)), size))
    kind = draw(st.sampled_from(["none", "few", "all different", "some 0"]))
    row_weights = {
        "none": None, "few": rng.choice([1.0, 10.0], size), "all different": rng.exponential(size=size),
        "some 0": rng.choice([0.0, 1.0, 4.0], size),
    }[kind]  # fmt: skip
    return p, y, weights, clusters, row_weights


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=120, deadline=None, derandomize=True)
@given(problem=problems())
def test_sums_per_request_of_the_influences_per_row(problem: tuple, layout: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_codes, "FEW_WEIGHTS", LAYOUTS[layout][0])
        patch.setattr(row_codes, "CODE_BITS", LAYOUTS[layout][1])
        found = ap_request_influences(*problem)
    assert_equal_to_reference(found, reference(*problem))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_on_a_log_with_many_requests(weighted: bool, missing: float) -> None:
    rng = np.random.default_rng(5)
    size, requests = 40_000, 6000
    p = rng.random((size, 4)).round(4)
    y = (rng.random((size, 4)) < 0.2 * p).astype(float)
    y[rng.random(y.shape) < missing] = np.nan
    clusters = Clusters.of(rng.integers(0, requests, size))
    problem = (p, y, np.array([0.4, 0.3, 0.2, -0.1]), clusters, rng.exponential(size=size) if weighted else None)
    found = ap_request_influences(*problem)
    assert_equal_to_reference(found, reference(*problem))
    np.testing.assert_allclose(found[1].sum(axis=0), 0.0, atol=1e-12)


def test_the_influence_is_the_derivative_by_the_weight_of_a_request() -> None:
    rng = np.random.default_rng(1)
    p, y = rng.random((200, 2)).round(2), (rng.random((200, 2)) < 0.3).astype(float)
    clusters, weights = Clusters.of(np.arange(200) // 10), np.array([0.7, 0.3])
    row_weights = rng.uniform(0.5, 2.0, 200)
    values, influences = ap_request_influences(p, y, weights, clusters, row_weights)
    scores, step = utilities(p, weights[None])[0], 1e-6
    for request in range(clusters.count):
        moved = row_weights * np.where(clusters.codes == request, 1.0 + step, 1.0)
        change = [(average_precision(y[:, h], scores, moved) - values[h]) / step for h in range(2)]
        np.testing.assert_allclose(influences[request], change, atol=1e-6)


def test_the_standard_error_of_a_paired_difference() -> None:
    rng = np.random.default_rng(2)
    p, y = rng.random((3000, 2)), (rng.random((3000, 2)) < 0.2).astype(int)
    clusters = Clusters.of(rng.integers(0, 400, 3000))
    rows = UtilityObjective(p, y, requests=clusters)
    (_, a), (_, b) = rows.influences([0.8, 0.2]), rows.influences([0.2, 0.8])
    found = np.sqrt(((a - b) ** 2).sum(axis=0))
    one, two = utilities(p, [[0.8, 0.2], [0.2, 0.8]])
    for head in range(2):
        of_rows = ap_influence(y[:, head], one)[1] - ap_influence(y[:, head], two)[1]
        assert found[head] == pytest.approx(clustered_standard_error(of_rows, clusters), rel=1e-12)


def test_a_head_without_positives_is_nan_throughout() -> None:
    p, y = [[0.2, 0.1], [0.4, 0.3], [0.3, 0.3]], [[0, 1], [0, 0], [0, 0]]
    values, influences = ap_request_influences(p, y, [0.5, 0.5], Clusters.of([0, 0, 1]))
    np.testing.assert_array_equal(np.isnan(values), [True, False])
    np.testing.assert_array_equal(np.isnan(influences), [[True, False], [True, False]])


def test_requests_without_rows_have_no_influence() -> None:
    clusters = Clusters(np.array([3, 1, 3]), 5)
    _, influences = ap_request_influences([[0.3], [0.2], [0.1]], [[0], [1], [0]], [1.0], clusters)
    np.testing.assert_array_equal(influences[[0, 2, 4]], np.zeros((3, 1)))
    assert influences[1, 0] > 0.0 > influences[3, 0]


def test_bad_input() -> None:
    p, y = [[0.3], [0.2]], [[0], [1]]
    with pytest.raises(ValueError, match="construct the objective with `requests`"):
        UtilityObjective(p, y).influences([1.0])
    with pytest.raises(ValueError, match=r"`groups` must have 2 row\(s\), got 1"):
        UtilityObjective(p, y, requests=Clusters.of([0]))
    rows = UtilityObjective(p, y, requests=Clusters.of([0, 1]))
    with pytest.raises(ValueError, match=r"`weights` must be one vector of shape \(1,\), got shape \(1, 1\)"):
        rows.influences([[1.0]])
    with pytest.raises(ValueError, match="`weights` must be finite in float32, got nan"):
        rows.influences([np.nan])
