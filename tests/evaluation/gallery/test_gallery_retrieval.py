from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from evaluation.gallery import retrieval
from evaluation.gallery.cosine import UnitVectors
from evaluation.gallery.retrieval import ExactIndex


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9000, 12)).astype(np.float32)  # more than two blocks of items


def brute(matrix: np.ndarray, queries: np.ndarray, k: int, exclude: np.ndarray | None = None) -> np.ndarray:
    similarity = cosine_similarity(queries.astype(np.float64), matrix.astype(np.float64))
    if exclude is not None:
        similarity[np.arange(len(queries)), exclude] = -np.inf
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


def test_equals_scikit_learns_cosine(vectors: np.ndarray) -> None:
    queries = np.random.default_rng(1).normal(size=(700, 12)) * 50.0  # more than a block of queries
    rows, similarity = ExactIndex(vectors).search(queries, 15)
    truth = cosine_similarity(queries.astype(np.float64), vectors.astype(np.float64))
    np.testing.assert_allclose(similarity, np.take_along_axis(truth, rows, axis=1), atol=1e-6)
    np.testing.assert_allclose(similarity, -np.sort(-truth, axis=1)[:, :15], atol=1e-6)
    assert all(len(set(row)) == 15 for row in rows.tolist())
    assert (np.diff(similarity, axis=1) <= 0).all()


def test_a_query_can_leave_itself_out(vectors: np.ndarray) -> None:
    own = np.array([0, 4095, 4096, 8999, 17])
    with_itself, similarity = ExactIndex(vectors).search(vectors[own], 3)
    np.testing.assert_array_equal(with_itself[:, 0], own)
    np.testing.assert_allclose(similarity[:, 0], 1.0, atol=1e-6)
    without, _ = ExactIndex(vectors).search(vectors[own], 3, exclude=own)
    np.testing.assert_array_equal(without, brute(vectors, vectors[own], 3, own))
    partly, _ = ExactIndex(vectors).search(vectors[own], 3, exclude=[-1, -1, -1, -1, 17])
    np.testing.assert_array_equal(partly[:4], with_itself[:4])
    np.testing.assert_array_equal(partly[4], without[4])


def test_ties_go_to_the_lower_row_across_blocks(vectors: np.ndarray) -> None:
    matrix = vectors.copy()
    copies = [8500, 3, 4097, 4095, 12, 6000, 8999]
    matrix[copies] = matrix[12]
    rows, similarity = ExactIndex(matrix).search(matrix[[12]], 7)
    assert rows[0].tolist() == sorted(copies)
    assert len(set(similarity[0].tolist())) == 1


def test_a_collection_of_equal_vectors_is_found_in_order() -> None:
    rows, _ = ExactIndex(np.ones((10_000, 3))).search(np.ones((2, 3)), 40, exclude=[5, 9999])
    assert rows[0].tolist() == [row for row in range(41) if row != 5]
    assert rows[1].tolist() == list(range(40))


def test_zero_vectors_are_similar_to_nothing() -> None:
    matrix = np.array([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    rows, similarity = ExactIndex(matrix).search([[2.0, 0.0], [0.0, 0.0]], 4)
    assert rows.tolist() == [[2, 0, 3, 1], [0, 1, 2, 3]]
    assert similarity.tolist() == [[1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(1e-20, 1e20))
def test_the_length_of_vectors_changes_nothing(seed: int, k: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    matrix, queries = generator.normal(size=(30, 4)), generator.normal(size=(3, 4))
    _, similarity = ExactIndex(matrix).search(queries, k)
    _, again = ExactIndex(matrix * scale * generator.uniform(0.5, 2.0, (30, 1))).search(queries * scale, k)
    np.testing.assert_allclose(similarity, again, atol=1e-6)


def test_a_batch_equals_one_at_a_time(vectors: np.ndarray) -> None:
    index = ExactIndex(vectors)
    rows, similarity = index.search(vectors[:20], 5)
    for query in range(20):
        alone, its = index.search(vectors[query : query + 1], 5)
        np.testing.assert_array_equal(alone[0], rows[query])
        np.testing.assert_array_equal(its[0], similarity[query])


def test_ranks_are_the_places_of_the_search(vectors: np.ndarray) -> None:
    index = ExactIndex(vectors)
    queries, own = vectors[100:140] + 0.3, np.arange(100, 140)
    rows, _ = index.search(queries, 4500, exclude=own)
    targets = rows[np.arange(40), np.arange(40) * 100]
    np.testing.assert_array_equal(index.ranks(queries, targets, exclude=own), 1 + np.arange(40) * 100)


def test_equal_vectors_earn_the_ranks_of_chance() -> None:
    assert ExactIndex(np.ones((50, 2))).ranks(np.ones((3, 2)), [0, 30, 49]).tolist() == [1, 31, 50]
    assert ExactIndex(np.ones((50, 2))).ranks(np.ones((2, 2)), [30, 3], exclude=[3, 30]).tolist() == [30, 4]


def test_memory_holds_a_block_and_not_the_matrix_of_similarities(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    keys = retrieval._keys
    monkeypatch.setattr(retrieval, "_keys", lambda s, start: seen.append(s.numel()) or keys(s, start))
    matrix = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    ExactIndex(matrix).search(matrix[:1500], 3)
    assert sum(seen) == 1500 * 20_000
    assert max(seen) <= retrieval.ITEM_BLOCK * retrieval.QUERY_BLOCK


def test_a_read_only_memory_map_is_searched_in_place(vectors: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    index = ExactIndex(mapped)
    assert index.vectors.matrix.base is mapped or index.vectors.matrix is mapped
    np.testing.assert_array_equal(index.search(mapped[:3], 4)[0], ExactIndex(vectors).search(vectors[:3], 4)[0])


def test_no_queries_no_results(vectors: np.ndarray) -> None:
    rows, similarity = ExactIndex(vectors).search(np.empty((0, 12)), 3)
    assert rows.shape == similarity.shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ExactIndex(np.empty((0, 3))), r"`matrix` must be \(rows, D\) with at least one of each, got shape"),
        (lambda: ExactIndex([[0.0, np.nan]]), "`matrix` must hold finite numbers, got others in row 0"),
        (lambda: ExactIndex(np.eye(3)).search(np.eye(2), 1), r"`queries` must be \(Q, 3\) as the items, got shape"),
        (lambda: ExactIndex(np.eye(3)).search([[0, 0, np.inf]], 1), "`queries` must hold finite numbers"),
        (lambda: ExactIndex(np.eye(3)).search(np.eye(3), 4), r"`k` must lie within 1..3 \(.*\), got 4"),
        (lambda: ExactIndex(np.eye(3)).search(np.eye(3), 3, exclude=[0, 1, 2]), r"`k` must lie within 1..2 .* got 3"),
        (lambda: ExactIndex(np.eye(3)).search(np.eye(3), 1, exclude=[0]), r"`exclude` must be \(3,\) rows"),
        (lambda: ExactIndex(np.eye(3)).search(np.eye(3), 1, exclude=[0, 1, 3]), r"within -1..2, got 3"),
        (lambda: ExactIndex(np.eye(3)).search(np.eye(3), 1, exclude=[0.0, 1.0, 2.0]), "`exclude` must hold integers"),
        (lambda: ExactIndex(np.eye(3)).ranks(np.eye(3), [0, 1, -1]), r"`targets` must lie within 0..2, got -1"),
        (lambda: ExactIndex(np.eye(2)).ranks(np.eye(2), [0, 1], exclude=[1, 1]), "`targets` must not be excluded"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_unit_vectors_have_length_one_or_zero() -> None:
    units = UnitVectors([[3, 4], [0, 0], [1, 0]]).rows(slice(None))
    assert units.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), [1.0, 0.0, 1.0])
