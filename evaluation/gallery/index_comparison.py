"""What an approximate index gives up and what it saves: recall against exact search, and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.gallery.cosine import Similarities
from evaluation.gallery.hnsw import HnswIndex, hnsw_available
from evaluation.gallery.projections import RandomProjectionIndex
from evaluation.gallery.retrieval import ExactIndex, Index

SAME = 1e-6  # cosines closer than this are one neighbour as good as the other

INDEXES: Mapping[str, Callable[[npt.ArrayLike], Index]] = {
    "exact": ExactIndex,
    "random projections": RandomProjectionIndex,
    "hnsw": HnswIndex,
}


def compare_indexes(
    matrix: npt.ArrayLike,
    *,
    k: int = 10,
    queries: int = 200,
    seed: int = 0,
    indexes: Mapping[str, Callable[[npt.ArrayLike], Index]] | None = None,
) -> pd.DataFrame:
    """Each index builds on the same items and answers the same queries, which are items of the collection themselves.

    Args:
        matrix: `(V, D)` item vectors.
        k: Neighbours per query, the query itself left out.
        queries: How many items are drawn as queries.
        seed: Of the draw.
        indexes: Name -> what makes an index of a matrix; None takes exact search, random projections and HNSW, the
            last without numbers and with a note where FAISS is not installed.

    Returns:
        One row per index: index, build_s (seconds), query_ms (milliseconds per query when all are asked at once),
        recall@k (share of the exact neighbours found; one as similar as the kth counts as found),
        candidates_per_query (items compared; NaN where the index does not say), probed and fell_back (shares of
        queries that looked into neighbouring buckets, or at every item, for lack of candidates), note.

    Raises:
        ValueError: as the indexes do.

    >>> table = compare_indexes(np.random.default_rng(0).normal(size=(60, 3)), k=5, indexes={"exact": ExactIndex})
    >>> table[["index", "recall@5", "candidates_per_query"]].to_dict("list")
    {'index': ['exact'], 'recall@5': [1.0], 'candidates_per_query': [59.0]}
    """
    array = np.asarray(matrix)
    if queries < 1:
        raise ValueError(f"`queries` must be at least 1, got {queries}")
    own = np.sort(np.random.default_rng(seed).permutation(len(array))[:queries])
    _, truth = ExactIndex(array).search(array[own], k, exclude=own)
    rows: list[dict[str, object]] = []
    for name, make in (INDEXES if indexes is None else indexes).items():
        if make is HnswIndex and not hnsw_available():
            rows.append({"index": name, "note": "not measured: needs pip install 'galleryrank[ann]'"})
            continue
        start = time.perf_counter()
        index = make(array)
        built = time.perf_counter()
        candidates, probed, fell_back = np.nan, np.nan, np.nan
        if isinstance(index, RandomProjectionIndex):
            _, similarity, counts = index.search_counted(array[own], k, exclude=own)
            candidates = float(counts.candidates.mean())
            probed, fell_back = counts.probed / counts.queries, counts.exact / counts.queries
        else:
            _, similarity = index.search(array[own], k, exclude=own)
            candidates = float(len(array) - 1) if isinstance(index, ExactIndex) else np.nan
        done = time.perf_counter()
        rows.append(
            {
                "index": name,
                "build_s": built - start,
                "query_ms": 1e3 * (done - built) / len(own),
                f"recall@{k}": found_share(similarity, truth),
                "candidates_per_query": candidates,
                "probed": probed,
                "fell_back": fell_back,
                "note": "",
            }
        )
    columns = [
        "index", "build_s", "query_ms", f"recall@{k}", "candidates_per_query", "probed", "fell_back", "note",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def found_share(similarity: Similarities, truth: Similarities) -> float:
    """Recall against exact search, from similarities: an equal one in another row is no miss.

    Args:
        similarity: `(Q, k)` what an index found.
        truth: `(Q, k)` the exact ones, best first.

    >>> found_share(np.array([[0.9, 0.7]], np.float32), np.array([[0.9, 0.8]], np.float32))
    0.5
    """
    return float((similarity >= truth[:, -1:] - SAME).mean())
