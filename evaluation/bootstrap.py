"""The clustered bootstrap: whole requests drawn with replacement. Slow, assumption-free, the check of `intervals`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evaluation.average_precision import ap_on_order
from evaluation.checks import FloatArray, label_vector, score_vector, weight_vector
from evaluation.clusters import Clusters
from evaluation.ordering import ScoreOrder


def clustered_bootstrap(
    statistic: Callable[[FloatArray], float],
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    *,
    replicates: int = 200,
    seed: int = 0,
) -> FloatArray:
    """A weighted statistic over resampled requests.

    Drawing G of G requests with replacement gives them multinomial counts; a row counts as often as its request was
    drawn, so a replicate is the same statistic under other weights, and no row is ever copied.

    Args:
        statistic: From row weights `(N,)` to a number.
        groups: `(N,)` request ids or `Clusters`.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        replicates: How many times the requests are redrawn.
        seed: The same seed gives the same replicates.

    Returns:
        The statistic `(replicates,)`.

    Raises:
        ValueError: fewer than 2 replicates; lengths that differ.

    >>> values = np.array([1.0, 2.0, 3.0, 4.0])
    >>> draws = clustered_bootstrap(lambda w: float(w @ values / w.sum()), [1, 1, 2, 2], replicates=50)
    >>> sorted({float(draw) for draw in draws})
    [1.5, 2.5, 3.5]
    """
    if replicates < 2:
        raise ValueError(f"`replicates` must be at least 2, got {replicates}")
    clusters = Clusters.of(groups)
    base = weight_vector(weights, len(clusters.codes))
    generator = np.random.default_rng(seed)
    draws = np.empty(replicates)
    for replicate in range(replicates):
        drawn = generator.integers(clusters.count, size=clusters.count)
        counts = np.bincount(drawn, minlength=clusters.count)
        draws[replicate] = statistic(base * counts[clusters.codes])
    return draws


def bootstrap_ap_interval(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    replicates: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Average precision and its bootstrap standard error: what `ap_interval` must agree with. Sorts once.

    Args:
        labels, scores, groups, weights: As in `ap_interval`.
        replicates, seed: As in `clustered_bootstrap`.

    Returns:
        (value, standard error); replicates that happened to draw no positive row are left out.

    >>> value, error = bootstrap_ap_interval([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], ["a", "a", "b", "b"])
    >>> round(value, 4)
    0.8333
    """
    y = label_vector("labels", labels)
    w = weight_vector(weights, len(y))
    order = ScoreOrder.of(score_vector("scores", scores, len(y)))
    clusters = Clusters.of(groups, len(y))
    draws = clustered_bootstrap(
        lambda drawn: ap_on_order(order, y, drawn), clusters, w, replicates=replicates, seed=seed
    )
    defined = draws[np.isfinite(draws)]
    return ap_on_order(order, y, w), float(np.std(defined, ddof=1)) if len(defined) > 1 else float("nan")
