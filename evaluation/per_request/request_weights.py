"""Row weights as what they are to a ranking: weights of whole requests, or numbers of rows within a request."""

from __future__ import annotations

import numpy as np

from evaluation.checks import FloatArray
from evaluation.clusters import Clusters

__all__ = ["SAMPLED_ROWS", "ranks_are_estimates", "rows_were_sampled", "split_weights"]

SAMPLED_ROWS = "rows were sampled within requests: ranks are estimates, so the value is biased and has no interval"


def split_weights(weights: FloatArray | None, clusters: Clusters) -> tuple[FloatArray, FloatArray]:
    """Weights of the requests and of the rows within them, whose product is `weights`.

    If the weight is the same on all rows of each request (whole requests were sampled), it weighs the requests, and
    every row counts once. Otherwise rows were sampled, and one of weight w = 1 / keep_prob counts as w rows of the same
    score and label. As nothing counts as less than a row, a request whose smallest weight is below 1 has its weights
    divided by that, and counts itself as much less.

    Args:
        weights: `(N,)` finite and >= 0; 0 takes a row out. None is one for every row.
        clusters: The requests.

    Returns:
        `(R,)` of the requests (1 for those without a row), and `(N,)` of the rows.

    >>> requests = Clusters.of(["a", "a", "b"])
    >>> [part.tolist() for part in split_weights(np.array([3.0, 3.0, 2.0]), requests)]
    [[3.0, 2.0], [1.0, 1.0, 1.0]]
    >>> [part.tolist() for part in split_weights(np.array([1.0, 10.0, 10.0]), requests)]
    [[1.0, 1.0], [1.0, 10.0, 10.0]]
    """
    of_request = np.ones(clusters.count)
    if weights is None or (weights == 1.0).all():
        return of_request, np.ones(len(clusters.codes))
    alive = np.flatnonzero(weights > 0.0)
    of_request[clusters.codes[alive]] = weights[alive]
    if (of_request[clusters.codes[alive]] == weights[alive]).all():
        return of_request, (weights > 0.0).astype(np.float64)
    smallest = np.ones(clusters.count)
    np.minimum.at(smallest, clusters.codes[alive], weights[alive])
    return smallest, weights / smallest[clusters.codes]


def rows_were_sampled(row_weights: FloatArray) -> bool:
    """Whether the second part of `split_weights` counts some rows more than once: ranks are then estimates."""
    return bool((row_weights > 1.0).any())


def ranks_are_estimates(weights: FloatArray, clusters: Clusters) -> bool:
    """Whether rows were sampled within requests, by their weights `(N,)` >= 0.

    >>> ranks_are_estimates(np.array([1.0, 10.0]), Clusters.of(["a", "a"]))
    True
    """
    return rows_were_sampled(split_weights(weights, clusters)[1])
