from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from evaluation.average_precision import average_precision
from evaluation.clusters import Clusters
from optimization.objective import row_codes
from optimization.objective.packed_keys import rank_rows
from optimization.objective.pr_auc import UtilityObjective, utilities, utility_pr_auc
from optimization.objective.row_codes import RowCodes
from ranking import Utility

KINDS = ("uniform", "coarse", "equal", "subnormal", "huge range", "signed zeros")
# where a code holds the weight's class, the row's number, or where class and number exceed its bits
LAYOUTS = {"class": (64, 32), "row number": (0, 32), "row number alone": (0, 1)}


@dataclass
class Rows:
    probabilities: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    row_weights: np.ndarray | None


def scores_of(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    match kind:
        case "uniform":
            return rng.random(shape)
        case "coarse":
            return rng.integers(0, 4, shape) / 4
        case "equal":
            return np.full(shape, 0.3)
        case "subnormal":
            return rng.integers(-3, 9, shape) * 1.4e-45
        case "huge range":
            return 10.0 ** rng.uniform(-44, 30, shape)
        case _:
            return rng.choice([-0.0, 0.0, 0.5], shape)


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    """1 to 9 heads, 1 to 60 rows, ties, signed and zero weights, missing labels, rows without weight."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, heads, vectors = draw(st.integers(1, 60)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    labels = (rng.random((size, heads)) < rng.uniform(0.02, 0.9)).astype(float)
    labels[rng.random((size, heads)) < draw(st.sampled_from([0.0, 0.0, 0.3]))] = np.nan
    weights = rng.dirichlet(np.ones(heads), vectors)
    weights *= rng.choice([1.0, draw(st.sampled_from([1.0, 0.0, -1.0]))], weights.shape)
    row_weights = draw(st.sampled_from(["none", "same", "few", "all different", "some 0"]))
    drawn = {
        "none": None, "same": np.full(size, 3.0), "few": rng.choice([1.0, 10.0], size),
        "all different": rng.exponential(size=size), "some 0": rng.choice([0.0, 0.5, 1e9], size),
    }[row_weights]  # fmt: skip
    return Rows(scores_of(draw(st.sampled_from(KINDS)), rng, (size, heads)), labels, weights, drawn)


def by_hand(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The definition of the utility, number by number."""
    out = []
    for vector in weights:
        for row in probabilities:
            total = None
            for w, p in zip(np.float32(vector), np.float32(row)):
                if w != 0:
                    total = w * p if total is None else total + w * p
            out.append(np.float32(0) if total is None else total + np.float32(0))
    return np.array(out, np.float32).reshape(len(weights), len(probabilities))


def references(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """PR-AUC by scikit-learn and by `evaluation`, head by head; NaN where no positive row carries weight."""
    theirs, ours = np.full((2, *rows.weights.shape), np.nan)
    for v, scores in enumerate(utilities(rows.probabilities, rows.weights).astype(float)):
        for h, labels in enumerate(rows.labels.T):
            known = ~np.isnan(labels)
            y, s = labels[known], scores[known]
            w = None if rows.row_weights is None else rows.row_weights[known]
            ours[v, h] = average_precision(y, s, w)
            if (y if w is None else y * w).sum() > 0:
                theirs[v, h] = average_precision_score(y, s, sample_weight=w)
    return theirs, ours


@settings(max_examples=100, deadline=None, derandomize=True)
@given(tables())
def test_utilities_are_the_definition_bit_for_bit(rows: Rows) -> None:
    found = utilities(rows.probabilities, rows.weights)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), by_hand(rows.probabilities, rows.weights).view(np.uint32))


def test_utilities_are_equation_4() -> None:
    rng = np.random.default_rng(0)
    p, weights = rng.random((50, 3)), {"click": 0.2, "save": 0.5, "hide": -0.3}
    found = utilities(p, [list(weights.values())])[0]
    np.testing.assert_allclose(found, Utility(**weights).score(p, heads=list(weights)), rtol=0, atol=2e-7)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=120, deadline=None, derandomize=True)
@given(rows=tables())
def test_equals_scikit_learn_and_evaluation(rows: Rows, layout: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_codes, "FEW_WEIGHTS", LAYOUTS[layout][0])
        patch.setattr(row_codes, "CODE_BITS", LAYOUTS[layout][1])
        found = utility_pr_auc(rows.probabilities, rows.labels, rows.weights, rows.row_weights)
    theirs, ours = references(rows)
    np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found, ours, rtol=0, atol=1e-12)


def large(seed: int = 0, *, heads: int = 4, size: int = 20_000) -> Rows:
    """A log with nested labels, scores in float32 that tie, one weight for every row."""
    rng = np.random.default_rng(seed)
    probabilities = (rng.random((size, heads)) * 2.0 ** -np.arange(heads)).astype(np.float32)
    draws = rng.random((size, 1))
    labels = (draws < probabilities.round(3)).astype(float)
    return Rows(probabilities.round(3), labels, rng.dirichlet(np.ones(heads), 3), rng.exponential(size=size))


@pytest.mark.parametrize("variant", ["plain", "weighted", "negative", "missing", "all", "doubled"])
def test_equals_scikit_learn_on_a_large_log(variant: str) -> None:
    rows = large(size=50_000)
    if variant in ("negative", "all"):
        rows.weights *= [1, 1, -1, -1]
    if variant in ("missing", "all"):
        rows.labels[np.random.default_rng(1).random(rows.labels.shape) < 0.1] = np.nan
    if variant == "doubled":  # every row tied with itself
        rows.probabilities, rows.labels = np.tile(rows.probabilities, (2, 1)), np.tile(rows.labels, (2, 1))
    if variant not in ("weighted", "all"):
        rows.row_weights = None
    found = utility_pr_auc(rows.probabilities, rows.labels, rows.weights, rows.row_weights)
    np.testing.assert_allclose(found, references(rows)[0], rtol=0, atol=1e-9)


def test_many_heads_whose_labels_form_more_patterns_than_are_counted() -> None:
    rng = np.random.default_rng(2)
    labels = (rng.random((400, 24)) < 0.5).astype(float)
    rows = Rows(rng.random((400, 24)), labels, rng.dirichlet(np.ones(24), 1), None)
    patterns = np.unique(labels, axis=0)
    assert RowCodes.of(labels).positive.shape == (24, len(patterns))
    found = utility_pr_auc(rows.probabilities, labels, rows.weights)
    np.testing.assert_allclose(found, references(rows)[0], rtol=0, atol=1e-9)


def test_types_of_labels_and_memory_layouts_are_of_no_consequence() -> None:
    rows = large(size=500)
    expected = utility_pr_auc(rows.probabilities, rows.labels, rows.weights)
    for kind in (bool, np.int8, np.uint8, np.int64, np.float32):
        found = utility_pr_auc(rows.probabilities, np.asfortranarray(rows.labels.astype(kind)), rows.weights)
        np.testing.assert_array_equal(found, expected)
    transposed = utility_pr_auc(np.asfortranarray(rows.probabilities), rows.labels, rows.weights.tolist())
    np.testing.assert_array_equal(transposed, expected)


def test_inputs_stay_as_they_are_and_a_prepared_object_repeats_itself() -> None:
    rows = large(size=500)
    before = [np.array(x) for x in (rows.probabilities, rows.labels, rows.weights, rows.row_weights)]
    columns = np.asfortranarray(rows.probabilities)  # could be used without a copy
    prepared = UtilityObjective(columns, rows.labels, rows.row_weights, Clusters.of(np.arange(500) // 5))
    first = prepared.pr_auc(rows.weights)
    values, _ = prepared.influences(rows.weights[1])
    np.testing.assert_allclose(values, first[1], rtol=1e-12)
    one_by_one = np.concatenate([prepared.pr_auc(vector[None]) for vector in rows.weights])
    np.testing.assert_array_equal(one_by_one, first)
    for array, copy in zip((columns, rows.labels, rows.weights, rows.row_weights), before):
        np.testing.assert_array_equal(array, copy)
    assert (prepared.rows, prepared.heads) == (500, 4)


def test_properties_of_the_objective() -> None:
    rows = large(3, size=4000)
    value = utility_pr_auc(rows.probabilities, rows.labels, rows.weights)
    shuffled = np.random.default_rng(0).permutation(len(rows.labels))
    again = utility_pr_auc(rows.probabilities[shuffled], rows.labels[shuffled], rows.weights)
    np.testing.assert_array_equal(again, value)
    np.testing.assert_array_equal(utility_pr_auc(rows.probabilities, rows.labels, 4 * rows.weights), value)
    one_hot = utility_pr_auc(rows.probabilities, rows.labels, np.eye(4))
    own = [average_precision(y, p) for y, p in zip(rows.labels.T, rows.probabilities.T)]
    np.testing.assert_allclose(np.diag(one_hot), own, rtol=1e-12)
    no_weight = utility_pr_auc(rows.probabilities, rows.labels, np.zeros((1, 4)))
    np.testing.assert_allclose(no_weight[0], rows.labels.mean(axis=0), rtol=1e-12)  # one tie group: the base rates
    assert utility_pr_auc(rows.probabilities, rows.labels, np.empty((0, 4))).shape == (0, 4)


def test_a_head_without_positives_is_nan_and_the_others_are_not() -> None:
    p, y = [[0.2, 0.1], [0.4, 0.3]], [[0, 1], [0, 0]]
    np.testing.assert_array_equal(utility_pr_auc(p, y, [[0.5, 0.5]]), [[np.nan, 0.5]])
    np.testing.assert_array_equal(utility_pr_auc(p, y, [[0.5, 0.5]], row_weights=[0.0, 1.0]), [[np.nan, np.nan]])
    np.testing.assert_array_equal(utility_pr_auc([[0.3]], [[1]], [[1.0]]), [[1.0]])


def test_negative_weight_turns_the_order() -> None:
    p, y = np.array([[0.1], [0.2], [0.3]]), np.array([[1], [0], [0]])
    np.testing.assert_allclose(utility_pr_auc(p, y, [[1.0], [-1.0]]), [[1 / 3], [1.0]], rtol=1e-15)


@pytest.mark.parametrize("bits", [0, 1, 4, 12, 32])
@pytest.mark.parametrize("excess", [-1, 0])
def test_keys_of_32_bits_give_way_to_64_exactly_where_they_no_longer_fit(bits: int, excess: int) -> None:
    span = min((1 << (32 - bits)) + excess, 0x7F7FFFFF - 1)  # steps of float32 between the lowest and the highest
    if span < 0:
        span = 0
    rng = np.random.default_rng(bits)
    steps = np.unique(np.concatenate([[0, span], rng.integers(0, span + 1, 40)]))
    steps = np.repeat(steps, rng.integers(1, 4, len(steps)))
    rng.shuffle(steps)
    scores = (1 + steps).astype(np.uint32).view(np.float32)
    codes = rng.integers(0, 1 << bits, len(scores)).astype(np.uint32)
    positive_from = (1 << bits) // 2
    order = np.lexsort((codes, -scores.astype(float)))
    ranked = rank_rows(scores.copy(), codes, bits, positive_from)
    np.testing.assert_array_equal(ranked.codes, codes[order])
    positives = np.flatnonzero(codes[order] >= positive_from)
    np.testing.assert_array_equal(ranked.positives, positives)
    expected = [np.count_nonzero(scores >= s) for s in scores[order][positives]]
    np.testing.assert_array_equal(ranked.ends, expected)


P, Y, W = [[0.5, 0.1], [0.2, 0.4]], [[1, 0], [0, 1]], [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((([[0.5, np.nan], [0.2, 0.4]]), Y, W), r"`probabilities` must be finite .* got nan at row, column 0, 1"),
        ((([[0.5, 0.1], [np.inf, np.inf]]), Y, W), r"got inf at row, column 1, 0 \(2 value"),
        (([[1e39, 0.1], [0.2, 0.4]], Y, W), r"`probabilities` must be finite in float32, got 1e\+39"),
        (([0.5, 0.2], Y, W), r"`probabilities` must have shape \(N, T\)"),
        ((np.empty((0, 2)), np.empty((0, 2)), W), r"`probabilities` must have shape"),
        (([["a", "b"]], [[0, 1]], W), r"`probabilities` must be numbers"),
        ((P, [[1, 0]], W), r"`labels` must have the shape of `probabilities`, \(2, 2\), got \(1, 2\)"),
        ((P, [[1, 0], [0, 2]], W), r"`labels` must be 0, 1 or NaN \(missing\), got 2 at row, column 1, 1"),
        ((P, [[1, 0.5], [np.nan, 1]], W), r"`labels` must be .* got 0.5 at row, column 0, 1 \(1 value"),
        ((P, [[1, None], [0, 1]], W), r"`labels` must be numbers"),
        ((P, Y, [0.5, 0.5]), r"`weights` must have shape \(V, 2\)"),
        ((P, Y, [[0.5, 0.2, 0.3]]), r"`weights` must have shape \(V, 2\), one vector per row, got \(1, 3\)"),
        ((P, Y, [[0.5, np.nan]]), r"`weights` must be finite in float32, got nan at row, column 0, 1"),
        ((P, Y, W, [1.0, -1.0]), r"`row_weights` must be >= 0, got -1.0 at row 1"),
        ((P, Y, W, [np.nan, 1.0]), r"`row_weights` must be >= 0, got nan at row 0"),
        ((P, Y, W, [1.0, np.inf]), r"`row_weights` must be finite"),
        ((P, Y, W, [1e308, 1e308]), r"`row_weights` must be finite and have a finite sum"),
        ((P, Y, W, [1.0]), r"`row_weights` must have 2 row\(s\), got 1"),
        (([[3e38, 3e38], [0.0, 0.0]], Y, [[1.0, 1.0]]), r"utilities must be finite float32 numbers"),
        (([[3e38, 3e38], [0.0, 0.0]], Y, [[10.0, -10.0]]), r"utilities must be finite float32 numbers"),
    ],
)
def test_bad_input_names_argument_expectation_and_finding(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utility_pr_auc(*arguments)


def test_utilities_too_large_for_float32_are_refused() -> None:
    with pytest.raises(ValueError, match="utilities must be finite"):
        utilities([[3e38, 3e38]], [[1.0, 1.0]])
