"""The tree of heads: what is conditional on what, and that every correction mode finds the same truth."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ranking import HeadTree
from ranking.correction import correct_any, correct_factored, correct_row_sampling
from ranking.log_space import log_sigmoid, logit_from_log
from ranking.refit import AffineRefit

HEADS = ("click", "long_click", "save")
PARENTS = {"long_click": "click"}


def exact_world(seed: int, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(patterns (K, 3), their probability, their probability in the sampled log, p_any) for long_click => click."""
    patterns = np.array([p for p in product((0, 1), repeat=3) if p[0] >= p[1]], dtype=float)
    probability = np.random.default_rng(seed).dirichlet(np.full(len(patterns), 0.5))
    kept = probability * np.where(patterns.any(1), 1.0, rate)
    return patterns, probability, kept / kept.sum(), np.array([probability[patterns.any(1)].sum()])


@pytest.mark.parametrize("correction", ["any_head", "factored", "headwise", "inverse_propensity"])
@pytest.mark.parametrize("rate", [1.0, 0.5, 0.1, 0.01])
def test_every_mode_recovers_the_truth_from_bayes_optimal_nodes(correction: str, rate: float) -> None:
    """The Bayes-optimal node logits of each mode, under its own loss weights, give back the true probabilities."""
    patterns, truth, sampled, p_any = exact_world(7, rate)
    tree = HeadTree.build(HEADS, PARENTS, correction)
    protected = patterns.any(1).astype(float)
    labels = tree.node_labels(patterns, protected)
    keep_prob = np.where(protected > 0, 1.0, rate)
    weights = tree.node_weights(patterns, protected, keep_prob, rate)
    weights = np.ones_like(labels) if weights is None else weights
    known = ~np.isnan(labels)
    mass = sampled[:, None] * weights * known
    q = (mass * np.nan_to_num(labels)).sum(0) / mass.sum(0)  # what a node's weighted log loss converges to
    log_p = tree.log_probabilities(np.log(q / (1 - q))[None], rate)
    expected = np.append(truth @ patterns, p_any)
    np.testing.assert_allclose(np.exp(log_p[0]), expected, rtol=1e-12)


@pytest.mark.parametrize("correction", ["any_head", "factored"])
def test_rate_one_is_the_identity_bit_for_bit(correction: str) -> None:
    tree = HeadTree.build(HEADS, PARENTS, correction)
    z = np.random.default_rng(0).normal(scale=5, size=(100, 4))
    np.testing.assert_array_equal(tree.log_probabilities(z, 1.0), tree.log_probabilities(z, 1.0, "sampled"))


@pytest.mark.parametrize("stage", ["sampled", "corrected", "calibrated"])
def test_an_implication_cannot_be_violated_at_any_stage(stage: str) -> None:
    tree = HeadTree.build(HEADS, PARENTS, "any_head")
    z = np.random.default_rng(1).normal(scale=8, size=(500, 4))
    refits = [AffineRefit(slope=s, intercept=b) for s, b in ((0.5, 2.0), (2.0, 9.0), (1.0, 0.0), (1.0, 1.0))]
    log_p = tree.log_probabilities(z, 0.1, stage, refits)
    assert (log_p[:, 1] <= log_p[:, 0]).all()


def test_naive_is_the_textbook_formula_on_each_head_by_itself() -> None:
    """logit p = logit q + log alpha [Dal Pozzolo 2015], also for an implied head."""
    tree = HeadTree.build(HEADS, PARENTS, "any_head")
    z = np.random.default_rng(2).normal(size=(50, 4))
    sampled = tree.log_probabilities(z, 0.1, "sampled")
    naive = tree.log_probabilities(z, 0.1, "naive")
    np.testing.assert_allclose(logit_from_log(naive), logit_from_log(sampled) + np.log(0.1), rtol=1e-10)


def test_children_are_labelled_only_where_their_parent_happened() -> None:
    tree = HeadTree.build(HEADS, PARENTS, "factored")
    labels = np.array([[1, 1, 0], [1, 0, np.nan], [0, 0, 1], [0, 0, 0]], dtype=float)
    got = tree.node_labels(labels, np.array([1.0, 1.0, 1.0, 0.0]))
    nan = np.nan
    expected = [[1, 1, 0, 1], [1, 0, nan, 1], [0, nan, 1, 1], [nan, nan, nan, 0]]
    np.testing.assert_array_equal(got, np.array(expected, dtype=np.float32))


def test_parents_come_before_their_children_in_a_chain() -> None:
    tree = HeadTree.build(["book", "long_click", "click"], {"book": "long_click", "long_click": "click"}, "factored")
    assert tree.parents == (1, 2, 3, -1)
    assert tree.order == [3, 2, 1, 0]
    z = np.random.default_rng(3).normal(size=(5, 4))
    expected = log_sigmoid(z[:, ::-1]).cumsum(1)[:, ::-1]  # p_any, p_any r_click, ...
    np.testing.assert_allclose(tree.log_probabilities(z, 1.0), expected)


def test_a_rate_per_row_is_used_row_by_row() -> None:
    tree = HeadTree.build(HEADS, PARENTS, "any_head")
    z = np.random.default_rng(4).normal(size=(3, 4))
    rates = np.array([1.0, 0.5, 0.1])
    rows = [tree.log_probabilities(z[i : i + 1], r)[0] for i, r in enumerate(rates)]
    np.testing.assert_allclose(tree.log_probabilities(z, rates), rows, rtol=1e-14)


def test_errors_say_what_was_expected() -> None:
    tree = HeadTree.build(HEADS, PARENTS, "any_head")
    with pytest.raises(ValueError, match=r"shape \(N, 4\), got \(2, 3\)"):
        tree.log_probabilities(np.zeros((2, 3)), 0.5)
    with pytest.raises(ValueError, match="needs `refits`"):
        tree.log_probabilities(np.zeros((2, 4)), 0.5, "calibrated")


def test_the_tree_serves_the_formulas_that_are_public() -> None:
    """Without implications, modes any_head and factored are `correct_row_sampling` and `correct_factored`."""
    z = np.random.default_rng(5).normal(scale=3, size=(50, 4))
    for correction, formula in (("any_head", correct_row_sampling(z[:, :3], z[:, 3], 0.07)),
                                ("factored", correct_factored(z[:, 3], z[:, :3], 0.07))):  # fmt: skip
        tree = HeadTree.build(HEADS, {}, correction)
        np.testing.assert_allclose(tree.log_probabilities(z, 0.07)[:, :3], formula, rtol=1e-13)
        np.testing.assert_allclose(tree.log_probabilities(z, 0.07)[:, 3], correct_any(z[:, 3], 0.07), rtol=1e-13)


def test_where_the_any_event_is_unknown_nothing_is_learned_from_it() -> None:
    tree = HeadTree.build(HEADS, PARENTS, "factored")
    labels = tree.node_labels(np.array([[1, 0, np.nan], [0, 0, 0]], dtype=float), np.array([np.nan, 0.0]))
    assert np.isnan(labels[0, [0, 2, 3]]).all()  # any, and what is conditional on it
    assert labels[0, 1] == 0  # long_click is conditional on click, which is known
    assert labels[1, 3] == 0
