from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from evaluation.gallery import hnsw
from evaluation.gallery.cosine import UnitVectors
from evaluation.gallery.index_comparison import compare_indexes, found_share
from evaluation.gallery.projections import RandomProjectionIndex, bucket_width, collision, width_for
from evaluation.gallery.retrieval import ExactIndex


@pytest.fixture(scope="module")
def clustered() -> np.ndarray:
    """Galleries as encoders place them: many small groups on a few directions of variation."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(200, 6))
    latent = centres[generator.integers(200, size=6000)] + 0.4 * generator.normal(size=(6000, 6))
    vectors: np.ndarray = latent @ generator.normal(size=(6, 32)) + 0.2 * generator.normal(size=(6000, 32))
    return vectors.astype(np.float32)


def test_one_hash_collides_as_the_paper_says() -> None:
    """[Datar 2004]: p(c) = integral over 0..w of 2/c phi(t/c) (1 - t/w) dt, for h = floor((a.x + b) / w)."""
    generator = np.random.default_rng(0)
    x, y = np.zeros(8), np.full(8, 0.5 / math.sqrt(8))  # 0.5 apart
    for width in (0.2, 0.7, 2.0):
        a, b = generator.normal(size=(40_000, 8)), generator.uniform(0.0, width, 40_000)
        share = (np.floor((a @ x + b) / width) == np.floor((a @ y + b) / width)).mean()
        assert share == pytest.approx(collision(width / 0.5), abs=4 * math.sqrt(0.25 / 40_000))
        t = np.linspace(0.0, width, 20_001)
        density = 2 / 0.5 * norm.pdf(t / 0.5) * (1 - t / width)
        assert np.trapezoid(density, t) == pytest.approx(collision(width / 0.5), abs=1e-6)


def test_the_default_width_finds_a_neighbour_with_the_probability_asked_for() -> None:
    """A pair at exactly the typical distance, over many draws of the hashes."""
    p = collision(width_for(8, 8, 0.9))
    assert 1 - (1 - p**8) ** 8 == pytest.approx(0.9, abs=1e-9)
    angle = 2 * math.asin(0.2 / 2)  # 0.2 apart on the circle
    pair = np.array([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    width = 0.2 * width_for(8, 8, 0.9)
    shared = []
    for seed in range(300):
        index = RandomProjectionIndex(pair, width=width, seed=seed)
        shared.append((index._keys(UnitVectors(pair).rows(slice(None)))[0] == index._keys(
            UnitVectors(pair).rows(slice(None)))[1]).any())  # fmt: skip
    assert np.mean(shared) == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 300))


def test_buckets_are_those_of_the_formula(clustered: np.ndarray) -> None:
    """The 64-bit sums put two vectors together exactly where all K hashes of a table agree."""
    index = RandomProjectionIndex(clustered[:300], width=1.0, hashes=3, tables=2)
    units = UnitVectors(clustered[:300]).rows(slice(None))
    hashes = np.floor((units @ index._directions + index._offsets) / 1.0).astype(int).reshape(300, 2, 3)
    keys = index._keys(units)
    for table in range(2):
        same_hashes = (hashes[:, None, table] == hashes[None, :, table]).all(axis=2)
        np.testing.assert_array_equal(keys[:, None, table] == keys[None, :, table], same_hashes)
        assert same_hashes.sum() > 300


def test_neighbours_are_found_among_few_candidates(clustered: np.ndarray) -> None:
    own = np.arange(0, 6000, 30)
    truth, similarity = ExactIndex(clustered).search(clustered[own], 10, exclude=own)
    rows, found, counts = RandomProjectionIndex(clustered).search_counted(clustered[own], 10, exclude=own)
    assert found_share(found, similarity) > 0.85
    assert counts.candidates.mean() < 0.25 * 6000
    agree = rows == truth
    np.testing.assert_array_equal(found[agree], similarity[agree])  # the re-ranking is exact, to the bit
    assert (rows != own[:, None]).all()
    assert (np.diff(found, axis=1) <= 0).all()
    assert all(len(set(row)) == 10 for row in rows.tolist())


def test_wide_buckets_are_exact_search(clustered: np.ndarray) -> None:
    index = RandomProjectionIndex(clustered, width=1e6)
    rows, similarity, counts = index.search_counted(clustered[:50], 7)
    exact, its = ExactIndex(clustered).search(clustered[:50], 7)
    np.testing.assert_array_equal(rows, exact)
    np.testing.assert_array_equal(similarity, its)
    assert counts.candidates.tolist() == [6000] * 50
    assert (counts.probed, counts.exact) == (0, 0)


def test_narrow_buckets_fall_back_and_say_so(clustered: np.ndarray) -> None:
    own = np.arange(40)
    rows, _, counts = RandomProjectionIndex(clustered, width=0.001).search_counted(clustered[own], 7, exclude=own)
    np.testing.assert_array_equal(rows, ExactIndex(clustered).search(clustered[own], 7, exclude=own)[0])
    assert (counts.queries, counts.probed, counts.exact) == (40, 40, 40)
    assert counts.candidates.tolist() == [5999] * 40


def test_neighbouring_buckets_help_before_every_item_is_asked(clustered: np.ndarray) -> None:
    """Between the two: with one table of narrow buckets some queries are saved by the buckets one step aside."""
    index = RandomProjectionIndex(clustered, tables=1, hashes=4, width=0.4)
    _, _, counts = index.search_counted(clustered[:300], 10)
    assert 0 < counts.exact < counts.probed < 300
    units = UnitVectors(clustered).rows(slice(None))
    hashes = np.floor((units @ index._directions + index._offsets) / 0.4).astype(int)
    own, steps = hashes[:300, None] == hashes[None], np.abs(hashes[:300, None] - hashes[None]).sum(axis=2)
    few = own.all(axis=2).sum(axis=1) < 10
    assert counts.probed == few.sum()
    beside = (steps <= 1).sum(axis=1)
    np.testing.assert_array_equal(counts.candidates[few & (beside >= 10)], beside[few & (beside >= 10)])
    np.testing.assert_array_equal(counts.candidates[~few], own.all(axis=2).sum(axis=1)[~few])


def test_the_seed_decides_and_parts_of_the_queries_do_not(clustered: np.ndarray) -> None:
    first, again = (RandomProjectionIndex(clustered, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.search(clustered[:90], 5)[0], again.search(clustered[:90], 5)[0])
    alone = np.concatenate([first.search(clustered[row : row + 1], 5)[0] for row in range(20)])
    np.testing.assert_array_equal(first.search(clustered[:90], 5)[0][:20], alone)
    other = RandomProjectionIndex(clustered, seed=4)
    assert other.width != first.width or not np.array_equal(other._offsets, first._offsets)


@pytest.mark.parametrize("matrix", [np.ones((30, 3)), np.zeros((30, 3)), np.ones((1, 3))])
def test_collections_without_distances(matrix: np.ndarray) -> None:
    index = RandomProjectionIndex(matrix)
    assert index.width == 1.0
    assert index.search(np.ones((1, 3)), 1)[0].tolist() == [[0]]


def test_the_width_rule_uses_the_same_neighbour_in_a_sample(
    clustered: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bucket_width(UnitVectors(clustered), 8, 8, 0.9, np.random.default_rng(0))
    monkeypatch.setattr("evaluation.gallery.projections.SAMPLE_ITEMS", 3000)
    half = bucket_width(UnitVectors(clustered), 8, 8, 0.9, np.random.default_rng(0))
    assert half == pytest.approx(whole, rel=0.15)


def test_bad_settings_are_named() -> None:
    for settings, message in [
        ({"hashes": 0}, "`hashes` and `tables` must be at least 1, got 0 and 8"),
        ({"width": 0.0}, "`width` must be at least 1e-6 and finite, got 0.0"),
        ({"found": 1.0}, "`found` must satisfy 0 < found < 1, got 1.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            RandomProjectionIndex(np.eye(3), **settings)  # type: ignore[arg-type]


def test_the_comparison_measures_what_it_says(clustered: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.gallery.index_comparison.hnsw_available", lambda: False)
    table = compare_indexes(clustered[:2000], k=5, queries=50).set_index("index")
    assert list(table.index) == ["exact", "random projections", "hnsw"]
    assert table.loc["exact", "recall@5"] == 1.0
    assert table.loc["exact", "candidates_per_query"] == 1999
    assert 0.7 < table.loc["random projections", "recall@5"] <= 1.0
    assert table.loc["random projections", "candidates_per_query"] < 1000
    assert (table.loc[["exact", "random projections"], ["build_s", "query_ms"]] > 0).all(axis=None)
    assert table.loc["hnsw", "note"] == "not measured: needs pip install 'galleryrank[ann]'"
    assert table.loc["hnsw", ["recall@5", "build_s"]].isna().all()
    narrow = compare_indexes(
        clustered[:500], k=5, queries=20, indexes={"n": lambda m: RandomProjectionIndex(m, width=0.001)}
    )
    assert narrow.loc[0, ["recall@5", "probed", "fell_back"]].tolist() == [1.0, 1.0, 1.0]


def test_equal_similarity_is_no_miss_and_less_is() -> None:
    truth = np.array([[0.9, 0.8, 0.8]], np.float32)
    assert found_share(np.array([[0.9, 0.8, 0.8]], np.float32), truth) == 1.0
    assert found_share(np.array([[0.9, 0.8, 0.79]], np.float32), truth) == pytest.approx(2 / 3)


def test_availability_of_faiss_is_asked_without_importing_it() -> None:
    import importlib.util

    assert hnsw.hnsw_available() is (importlib.util.find_spec("faiss") is not None)
