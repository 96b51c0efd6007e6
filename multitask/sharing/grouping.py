"""Which groups of tasks to merge: HDBSCAN over distances, hubs, or chance."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multitask.sharing.distances import Array, distances, mirrored

Directive = Literal["similarity", "dissimilarity", "variance", "random"]
DIRECTIVES: tuple[str, ...] = get_args(Directive)
Labels = NDArray[np.int64]


def propose(similarity: ArrayLike, directive: str = "similarity", *, min_groups: int = 2, seed: int = 0) -> Labels:
    """The merged group of each of G groups of tasks.

    - "similarity": HDBSCAN clusters of the distances D [Selective 3.3];
    - "dissimilarity": those of D_max + D_min - D;
    - "variance": hubs with many groups near them, see `hub_cover`;
    - "random": the clusters of "similarity" with their members drawn by lot: as much sharing, without the knowledge.

    A group without a gradient (K_gg = 0: its tasks were never present) stays alone, and where fewer than three
    groups are left there is nothing to cluster. Clusters are taken in the order of their mean distance, tightest
    first; one that would leave fewer than `min_groups` groups is left out.

    Args:
        similarity: K `(G, G)`.
        directive: one of `DIRECTIVES`.
        min_groups: groups that must remain.
        seed: of the directive "random".

    Returns:
        `(G,)` numbers of the merged groups, in the order of their first member: all different = no merge.

    >>> k = np.kron(np.eye(3), [[1.0, 0.9], [0.9, 1.0]]) + 0.05
    >>> k[0, 1] = k[1, 0] = 1.0
    >>> propose(k).tolist()
    [0, 0, 1, 1, 2, 2]
    >>> propose(k, min_groups=5).tolist()
    [0, 0, 1, 2, 3, 4]
    """
    if directive not in DIRECTIVES:
        raise ValueError(f"`directive` must be one of {DIRECTIVES}, got {directive!r}")
    if min_groups < 1:
        raise ValueError(f"`min_groups` must be at least 1, got {min_groups}")
    k = np.asarray(similarity, dtype=np.float64)
    groups = np.arange(len(k))
    present = np.flatnonzero(np.diag(k) > 0)
    if len(present) < 3:
        return groups
    distance = distances(k[np.ix_(present, present)])
    if directive == "dissimilarity":
        distance = mirrored(distance)
    found = hub_cover(distance) if directive == "variance" else hdbscan(distance)
    if directive == "random":
        found = np.random.default_rng(seed).permutation(found)
    for members in _tightest_first(distance, found):
        if len(np.unique(groups)) - (len(members) - 1) >= min_groups:
            groups[present[members]] = present[members[0]]
    return in_order(groups)


def hdbscan(distance: Array) -> Labels:
    """Clusters of at least two by excess of mass over the single-linkage tree; -1 = none [Campello 2013].

    Args:
        distance: `(G, G)` symmetric.
    """
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=2, min_samples=1, metric="precomputed", cluster_selection_method="eom", copy=True)
    return model.fit(distance).labels_.astype(np.int64)


def hub_cover(distance: Array) -> Labels:
    """Greedy cover by hubs: again and again, the group with most free ones within the median distance takes them.

    "Defined by the number of different task gradient factors near a point" [Selective, figure 12]; ties go to the
    nearer ones, then to the first. -1 = nobody free was near.

    >>> hub_cover(np.array([[0.0, 1, 1, 4], [1, 0, 3, 4], [1, 3, 0, 4], [4, 4, 4, 0]])).tolist()
    [0, 0, 0, -1]
    """
    n = len(distance)
    off = ~np.eye(n, dtype=bool)
    near = (distance <= np.median(distance[off])) & off
    labels, free = np.full(n, -1, dtype=np.int64), np.ones(n, dtype=bool)
    for label in range(n):
        reach = near & free[None, :] & free[:, None]
        counts = reach.sum(1)
        if counts.max() == 0:
            break
        sums = np.where(reach, distance, 0).sum(1)
        hub = np.lexsort((np.arange(n), sums, -counts))[0]
        members = reach[hub] | (np.arange(n) == hub)
        labels[members], free[members] = label, False
    return labels


def in_order(labels: ArrayLike) -> Labels:
    """The same groups, numbered from 0 in the order of their first member.

    >>> in_order([7, 2, 7, 0]).tolist()
    [0, 1, 0, 2]
    """
    _, first, inverse = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _tightest_first(distance: Array, labels: Labels) -> list[Labels]:
    """Members of each cluster, by the mean distance of its pairs."""
    clusters = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    means = [distance[np.ix_(m, m)].sum() / (len(m) * (len(m) - 1)) for m in clusters]
    return [clusters[i] for i in np.argsort(means, kind="stable")]
