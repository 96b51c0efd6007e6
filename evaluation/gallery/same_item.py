"""Does a photo find its own gallery? Review photos, taken by another camera, as queries [Etsy, section 4]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray
from evaluation.gallery.cosine import row_vector
from evaluation.gallery.retrieval import ExactIndex
from evaluation.gallery.retrieval_metrics import chance_reciprocal_rank, query_mean, reciprocal_rank

COLUMNS = ["metric", "value", "se", "low", "high", "chance", "queries", "left_out"]


def same_item(
    review_vectors: npt.ArrayLike,
    review_item_rows: npt.ArrayLike,
    gallery_matrix: npt.ArrayLike,
    *,
    at: Sequence[int] = (1, 10, 100),
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """MRR and recall@k of each photo's own gallery among all galleries, by cosine.

    The photo and the gallery are the same place under two cameras: an encoder that codes the camera instead of the
    place fails here and nowhere else.

    Args:
        review_vectors: `(R, D)` vectors of the photos.
        review_item_rows: `(R,)` the row of each photo's own gallery, -1 where it has none: left out and counted.
        gallery_matrix: `(V, D)` vectors of the galleries.
        at: Places k of recall@k; those above V are left out (there recall is 1 by definition).
        replicates, seed: Of the bootstrap over items (photos of one item are drawn together).

    Returns:
        One row per metric: metric, value, se, low, high (95 %), chance (a random order), queries, left_out.

    Raises:
        ValueError: rows out of range; vectors of different widths; a number that is not finite.

    >>> same_item(np.eye(3), [0, 1, 1], np.eye(3))[["metric", "value"]].round(4).to_dict("list")
    {'metric': ['MRR', 'recall@1'], 'value': [0.7778, 0.6667]}
    """
    ranks = same_item_ranks(review_vectors, review_item_rows, gallery_matrix)
    items = len(np.asarray(gallery_matrix))
    values = {"MRR": (reciprocal_rank(ranks), float(chance_reciprocal_rank([1], items)[0]))}
    for k in at:
        if k <= items:
            values[f"recall@{k}"] = (np.where(np.isnan(ranks), np.nan, ranks <= k), k / items)
    rows = []
    for name, (each, chance) in values.items():
        estimate, left_out = query_mean(each, review_item_rows, replicates=replicates, seed=seed, unit="photo")
        rows.append(metric_row(name, estimate.to_dict(), chance, len(each) - left_out, left_out))
    return pd.DataFrame(rows, columns=COLUMNS)


def same_item_ranks(
    review_vectors: npt.ArrayLike, review_item_rows: npt.ArrayLike, gallery_matrix: npt.ArrayLike
) -> FloatArray:
    """The place `(R,)`, from 1, at which each photo finds its own gallery; NaN where it has none.

    Two encoders are compared on the same photos by `query_mean(reciprocal_rank(a) - reciprocal_rank(b), rows)`.
    """
    vectors, index = np.asarray(review_vectors), ExactIndex(gallery_matrix)
    rows = row_vector("review_item_rows", review_item_rows, len(vectors), len(index), lowest=-1)
    ranks = np.full(len(rows), np.nan)
    known = rows >= 0
    ranks[known] = index.ranks(vectors[known], rows[known])
    return ranks


def metric_row(name: str, estimate: dict[str, float | str | None], chance: float, queries: int, left_out: int) -> dict:
    """One row of a retrieval table."""
    numbers = {key: np.nan if estimate[key] is None else estimate[key] for key in ("value", "se", "low", "high")}
    return {"metric": name, **numbers, "chance": chance, "queries": queries, "left_out": left_out}
