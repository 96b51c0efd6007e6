"""Distances, directives, and which clusters are merged."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from multitask.sharing.distances import distances, mirrored
from multitask.sharing.grouping import DIRECTIVES, clusters, hdbscan, hub_cover, in_order, propose


def pairs(n: int, seed: int = 0, noise: float = 0.1) -> NDArray[np.float64]:
    """K of n/2 pairs (i, i + n/2) of nearly equal rows among independent ones."""
    rng = np.random.default_rng(seed)
    rows = np.tile(rng.normal(size=(n // 2, 200)), (2, 1)) + noise * rng.normal(size=(n, 200))
    return rows @ rows.T


def test_distances_are_those_of_unit_vectors() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 20))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.linalg.norm(unit[:, None] - unit[None, :], axis=2)
    np.testing.assert_allclose(distances(rows @ rows.T), expected, atol=1e-7)


def test_distances_do_not_depend_on_the_scale_of_a_task() -> None:
    k, scale = pairs(6), np.array([1e-9, 1.0, 1e6, 3.0, 0.1, 1e3])
    np.testing.assert_allclose(distances(k * scale[:, None] * scale), distances(k), atol=1e-7)


@pytest.mark.parametrize("k", [np.zeros((2, 2)), np.full((2, 2), np.nan), np.ones((2, 3))])
def test_distances_of_anything_else_are_refused(k: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="`similarity` must"):
        distances(k)


def test_mirrored_swaps_near_and_far() -> None:
    d = distances(pairs(6))
    off = ~np.eye(6, dtype=bool)
    turned = mirrored(d)
    np.testing.assert_allclose(mirrored(turned), d)
    assert d[off].argmin() == turned[off].argmax()
    assert np.array_equal(mirrored(np.zeros((1, 1))), np.zeros((1, 1)))


def test_planted_pairs_are_found_exactly() -> None:
    assert propose(pairs(10)).tolist() == [0, 1, 2, 3, 4] * 2
    assert propose(pairs(10, noise=0.0)).tolist() == [0, 1, 2, 3, 4] * 2  # distances of exactly 0


def test_fifty_tasks() -> None:
    assert propose(pairs(50)).tolist() == list(range(25)) * 2


def test_dissimilar_groups_are_the_mirror_of_similar_ones() -> None:
    """Two pairs of opposites among tasks that are otherwise alike."""
    k = np.full((5, 5), 0.5) + 0.5 * np.eye(5)
    k[0, 3] = k[3, 0] = 0.0
    k[1, 4] = k[4, 1] = 0.01
    assert propose(k, "dissimilarity").tolist() == [0, 1, 2, 0, 1]


def test_variance_takes_hubs() -> None:
    """Ten pairs among 0 to 4, and 5 with 6, are nearer than the median of the 21 pairs: two hubs."""
    d = np.full((7, 7), 2.0)
    d[:5, :5] = 0.5
    d[5, 6] = d[6, 5] = 0.9
    np.fill_diagonal(d, 0)
    assert hub_cover(d).tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_variance_makes_larger_groups_than_similarity() -> None:
    """What the directive is for [Selective, section 3]."""
    k = pairs(10)
    assert len(set(propose(k, "variance").tolist())) < len(set(propose(k).tolist()))


def test_of_hubs_with_as_many_the_nearer_takes_them() -> None:
    """A chain 0 - 1 - 2 - 3 within the median distance of 1.5: both 1 and 2 reach two, 2 the nearer ones."""
    d = np.full((4, 4), 2.0) - 2 * np.eye(4)
    for i, near in enumerate([1.0, 0.5, 0.9]):
        d[i, i + 1] = d[i + 1, i] = near
    assert hub_cover(d).tolist() == [-1, 0, 0, 0]


@pytest.mark.parametrize("min_groups", [2, 6, 8])
def test_random_merges_as_many_into_groups_of_the_same_sizes(min_groups: int) -> None:
    """Also where some clusters may not be merged; a task that is absent stays alone."""
    k = pairs(10, noise=0.5)
    k[3] = k[:, 3] = 0
    similar = np.bincount(propose(k, min_groups=min_groups))
    for seed in range(20):
        labels = propose(k, "random", min_groups=min_groups, seed=seed)
        assert sorted(np.bincount(labels)) == sorted(similar)
        assert (labels == labels[3]).sum() == 1


def test_random_does_not_know_who_is_near() -> None:
    """One pair may merge, and 5 of the 45 are near ones: in 400 draws 44, with a standard deviation of 6."""
    k = pairs(10)
    drawn = [propose(k, "random", min_groups=9, seed=(0, epoch)) for epoch in range(400)]
    assert 20 <= sum(any(labels[i] == labels[i + 5] for i in range(5)) for labels in drawn) <= 70


def test_random_draws_anew_for_each_seed_and_epoch() -> None:
    drawn = {
        tuple(propose(pairs(20), "random", seed=(seed, epoch)).tolist()) for seed in range(3) for epoch in range(3)
    }
    assert len(drawn) == 9


def test_random_keeps_the_sizes_and_its_seed() -> None:
    k = pairs(10)
    drawn = [propose(k, "random", seed=seed).tolist() for seed in range(5)]
    assert all(sorted(np.bincount(labels)) == [2] * 5 for labels in drawn)
    assert len({tuple(labels) for labels in drawn}) > 1
    assert propose(k, "random", seed=3).tolist() == drawn[3]


def unrelated(n: int, seed: int) -> NDArray[np.float64]:
    """Rows of positive numbers, as the norms of gradients are, drawn independently."""
    return np.abs(np.random.default_rng(seed).normal(size=(n, 400)))


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("n", [3, 4, 5, 6, 8, 10])
def test_a_lone_pair_is_found(n: int, noise: float) -> None:
    for seed in range(20):
        rows = unrelated(n, seed)
        rows[1] = rows[0] * (1 + noise * np.random.default_rng(seed + 1).normal(size=400))
        labels = propose(rows @ rows.T)
        assert labels[0] == labels[1]
        if n == 3:
            assert labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("n", "most"), [(3, 0), (4, 6), (6, 16)])
def test_unrelated_tasks_are_merged_no_more_often_than_by_hdbscan(n: int, most: int) -> None:
    similarities = [rows @ rows.T for rows in (unrelated(n, seed) for seed in range(20))]
    merged = sum(len(set(propose(k).tolist())) < n for k in similarities)
    assert merged == sum(bool((hdbscan(distances(k)) >= 0).any()) for k in similarities) <= most


def test_what_is_unlike_all_others_does_not_make_them_alike() -> None:
    d = np.array([[0, 1.4, 1.4, 1.4], [1.4, 0, 0.5, 0.4], [1.4, 0.5, 0, 0.5], [1.4, 0.4, 0.5, 0]])
    assert clusters(d).tolist() == [-1] * 4
    assert clusters(d[:3, :3]).tolist() == [-1] * 3  # nor do two of three


def test_of_a_cluster_of_all_the_nearest_are_merged() -> None:
    """Everybody is within the median of 1, at distances that rise with the angles: the farthest are left out."""
    angles = np.array([0.5, 0.0, 0.44, 0.4, 0.42])
    rows = np.column_stack([np.cos(angles), np.diag(np.sin(angles))])
    k = rows @ rows.T
    assert hub_cover(distances(k)).tolist() == [0] * 5
    assert propose(k, "variance", min_groups=1).tolist() == [0] * 5
    assert propose(k, "variance").tolist() == [0, 1, 1, 1, 1]
    assert propose(k, "variance", min_groups=3).tolist() == [0, 1, 2, 1, 1]
    assert propose(k, "variance", min_groups=4).tolist() == [0, 1, 2, 1, 3]
    assert propose(k, "variance", min_groups=9).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("directive", DIRECTIVES)
@pytest.mark.parametrize("min_groups", [2, 4, 9, 10])
def test_at_least_min_groups_remain(directive: str, min_groups: int) -> None:
    labels = propose(pairs(10), directive, min_groups=min_groups)
    assert len(set(labels.tolist())) >= min_groups
    assert labels.tolist() == in_order(labels).tolist()


def test_the_tightest_clusters_come_first() -> None:
    k = pairs(6, noise=0.3)
    k[0, 3] = k[3, 0] = np.sqrt(k[0, 0] * k[3, 3]) * 0.999
    assert propose(k, min_groups=5).tolist() == [0, 1, 2, 0, 3, 4]


@pytest.mark.parametrize("directive", DIRECTIVES)
def test_an_absent_task_stays_alone(directive: str) -> None:
    k = pairs(8)
    k[2] = k[:, 2] = 0
    labels = propose(k, directive)
    assert (labels == labels[2]).sum() == 1
    if directive == "similarity":
        assert labels[[0, 1, 3]].tolist() == labels[[4, 5, 7]].tolist()


@pytest.mark.parametrize("directive", DIRECTIVES)
@pytest.mark.parametrize("n", [1, 2])
def test_two_tasks_are_not_clustered(directive: str, n: int) -> None:
    assert propose(np.ones((n, n)), directive, min_groups=1).tolist() == list(range(n))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`directive` must be one of .*, got 'entropy'"):
        propose(np.eye(3), "entropy")
    with pytest.raises(ValueError, match="`min_groups` must be at least 1, got 0"):
        propose(np.eye(3), min_groups=0)
