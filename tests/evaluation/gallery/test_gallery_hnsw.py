from __future__ import annotations

import numpy as np
import pytest

from evaluation.gallery import hnsw
from evaluation.gallery.hnsw import HnswIndex
from evaluation.gallery.index_comparison import compare_indexes, found_share
from evaluation.gallery.retrieval import ExactIndex
from features.errors import InputError

needs_faiss = pytest.mark.skipif(not hnsw.hnsw_available(), reason="faiss is not installed (extra `ann`)")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    generator = np.random.default_rng(0)
    latent = generator.normal(size=(3000, 5))
    return (latent @ generator.normal(size=(5, 16)) + 0.1 * generator.normal(size=(3000, 16))).astype(np.float32)


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hnsw, "hnsw_available", lambda: False)
    with pytest.raises(InputError, match=r"needs the package faiss: pip install 'galleryrank\[ann\]'"):
        HnswIndex(np.eye(3))


@needs_faiss
def test_finds_nearly_all_neighbours_with_exact_similarities(vectors: np.ndarray) -> None:
    own = np.arange(0, 3000, 20)
    truth, similarity = ExactIndex(vectors).search(vectors[own], 10, exclude=own)
    rows, found = HnswIndex(vectors).search(vectors[own], 10, exclude=own)
    assert found_share(found, similarity) > 0.97
    agree = rows == truth
    np.testing.assert_array_equal(found[agree], similarity[agree])
    assert (rows != own[:, None]).all()
    assert all(len(set(row)) == 10 for row in rows.tolist())


@needs_faiss
def test_more_effort_finds_more() -> None:
    hard = np.random.default_rng(1).normal(size=(3000, 48))
    _, truth = ExactIndex(hard).search(hard[:200], 10)
    shares = [
        found_share(HnswIndex(hard, links=4, build=10, effort=effort).search(hard[:200], 10)[1], truth)
        for effort in (10, 400)
    ]
    assert shares[0] + 0.1 < shares[1]


@needs_faiss
def test_every_place_is_filled(vectors: np.ndarray) -> None:
    """All of a small collection, where a walk may miss some, and zero vectors, which are near nothing."""
    matrix = np.concatenate([vectors[:60], np.zeros((40, 16), np.float32)])
    rows, similarity = HnswIndex(matrix, links=2, build=2, effort=1).search(matrix[:30], 99, exclude=np.arange(30))
    exact, its = ExactIndex(matrix).search(matrix[:30], 99, exclude=np.arange(30))
    assert (rows >= 0).all()
    np.testing.assert_array_equal(rows, exact)
    np.testing.assert_array_equal(similarity, its)
    assert np.isfinite(similarity).all()


@needs_faiss
def test_the_comparison_has_its_row(vectors: np.ndarray) -> None:
    table = compare_indexes(vectors, queries=100, indexes={"hnsw": HnswIndex})
    assert table.loc[0, "recall@10"] > 0.95
    assert table.loc[0, "note"] == ""


@needs_faiss
def test_bad_settings_are_named() -> None:
    with pytest.raises(
        ValueError, match="`links` must be at least 2, `build` and `effort` at least 1, got 1, 80 and 64"
    ):
        HnswIndex(np.eye(3), links=1)
    with pytest.raises(ValueError, match=r"`k` must lie within 1..3"):
        HnswIndex(np.eye(3)).search(np.eye(3), 4)
