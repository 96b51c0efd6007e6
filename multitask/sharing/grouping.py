"""Which groups of tasks to merge: clusters by their distances, hubs, or chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multitask.sharing.distances import Array, distances, mirrored

Directive = Literal["similarity", "dissimilarity", "variance", "random"]
DIRECTIVES: tuple[str, ...] = get_args(Directive)
Labels = NDArray[np.int64]


def propose(
    similarity: ArrayLike, directive: Directive = "similarity", *, min_groups: int = 2, seed: int | Sequence[int] = 0
) -> Labels:
    """The merged group of each of G groups of tasks.

    - "similarity": clusters by the distances D [Selective 3.3], see `clusters`;
    - "dissimilarity": those by D_max + D_min - D;
    - "variance": hubs with many groups near them, see `hub_cover`;
    - "random": what "similarity" merges, with the members drawn by lot: groups of the same sizes, without the
      knowledge.

    A group without a gradient (K_gg = 0: its tasks were never present) stays alone, and where fewer than three
    groups are left there is nothing to cluster. Clusters are taken in the order of their mean distance, tightest
    first; of one that would leave fewer than `min_groups` groups as many members are merged as may be, the nearest to
    each other: a cluster of all is no reason to merge nothing.

    Args:
        similarity: K `(G, G)`.
        directive: one of `DIRECTIVES`.
        min_groups: groups that must remain.
        seed: of the directive "random", a number or several.

    Returns:
        `(G,)` numbers of the merged groups, in the order of their first member: all different = no merge.

    >>> k = np.kron(np.eye(3), [[1.0, 0.9], [0.9, 1.0]]) + 0.05
    >>> k[0, 1] = k[1, 0] = 1.0
    >>> propose(k).tolist()
    [0, 0, 1, 1, 2, 2]
    >>> propose(k, min_groups=5).tolist()
    [0, 0, 1, 2, 3, 4]
    >>> propose([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]]).tolist()
    [0, 0, 1]
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
    found = hub_cover(distance) if directive == "variance" else clusters(distance)
    for members in _tightest_first(distance, found):
        merged = _nearest(distance, members, max(1, len(np.unique(groups)) - min_groups + 1))
        groups[present[merged]] = present[merged[0]]
    if directive == "random":
        groups[present] = np.random.default_rng(seed).permutation(groups[present])
    return in_order(groups)


def clusters(distance: Array) -> Labels:
    """HDBSCAN's clusters, or those that stand out where it finds none; -1 = in none.

    HDBSCAN needs two clusters to tell one: of three points it finds none, and a lone pair among few others seldom (four
    tasks, two of them the same: in 25 to 41 of 100 drawn cases, by the kind of rows; ten tasks: in 96 to 99). Where it
    finds nothing, those that stand out are taken (`outstanding`). So the pair is found in all these cases, one of
    three too, and unrelated tasks (rows drawn independently) are merged hardly more often than by HDBSCAN itself: of
    three never, of four or more in 0 to 3 more of 100 cases.

    Of many unrelated tasks HDBSCAN by itself nearly always merges some: of eight in 77 to 88 of 100 cases.
    """
    found = hdbscan(distance)
    return found if found.max() >= 0 else outstanding(distance)


def hdbscan(distance: Array) -> Labels:
    """Clusters of at least two by excess of mass over the single-linkage tree; -1 = none [Campello 2013].

    Args:
        distance: `(G, G)` symmetric, G at least 2.
    """
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=2, min_samples=1, metric="precomputed", cluster_selection_method="eom", copy=True)
    return model.fit(distance).labels_.astype(np.int64)


def outstanding(distance: Array) -> Labels:
    """Clusters of at most half of the groups, at least twice as far from every other as they are wide; -1 = in none.

    Of nested ones the inner. With more than half it may as well be one group that is unlike the others, a task with few
    labels perhaps: so a pair of *three* groups must be five times as far from the third. In trainings on ten questions
    each (one, two or three epochs), the nearest two of three unrelated tasks were .21 to .63 times as wide as far, of
    four or five .66 and more; a question asked twice 0; asked again with one label of twenty turned, .26 to .63 among
    four or five.

    >>> outstanding(np.array([[0.0, 0.2, 1.0], [0.2, 0.0, 1.1], [1.0, 1.1, 0.0]])).tolist()
    [0, 0, -1]
    >>> outstanding(np.array([[0.0, 0.4, 1.0], [0.4, 0.0, 1.1], [1.0, 1.1, 0.0]])).tolist()
    [-1, -1, -1]
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    n = len(distance)
    times = 5 if n == 3 else 2
    labels, nodes = np.full(n, -1, dtype=np.int64), list(np.eye(n, dtype=bool))
    for left, right in linkage(squareform(distance, checks=False), "single")[:, :2].astype(int):
        inside = nodes[left] | nodes[right]
        nodes.append(inside)
        if inside.sum() <= max(2, n // 2) and (labels[inside] < 0).all():
            width, gap = distance[np.ix_(inside, inside)].max(), distance[np.ix_(inside, ~inside)].min()
            if times * width <= gap:
                labels[inside] = labels.max() + 1
    return labels


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
    found = [np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])]
    means = [distance[np.ix_(m, m)].sum() / (len(m) * (len(m) - 1)) for m in found]
    return [found[i] for i in np.argsort(means, kind="stable")]


def _nearest(distance: Array, members: Labels, most: int) -> Labels:
    """At most so many of the members: the nearest pair, then whoever is nearest on average to those chosen."""
    if len(members) <= most:
        return members
    own = distance[np.ix_(members, members)] + np.diag(np.full(len(members), np.inf))
    chosen = list(np.unravel_index(own.argmin(), own.shape))[:most]
    while len(chosen) < most:
        means = own[chosen].mean(0)
        means[chosen] = np.inf
        chosen.append(means.argmin())
    return members[np.sort(np.array(chosen))]
