"""A sequence cut into a fixed number of consecutive parts, none of them empty, of nearly equal weight."""

from __future__ import annotations

import numpy as np


def cut_evenly(sizes: np.ndarray, parts: int) -> np.ndarray:
    """Where the parts begin `(parts + 1,)` int64: part k holds the elements `cuts[k]` to `cuts[k + 1]`.

    An element belongs to the part in which it starts: with s_i the sum of the sizes before element i and T of all,
    to part floor(s_i parts / T). So a part weighs at most ceil(T / parts) - 1 + max size: the starts of its elements
    lie within ceil(T / parts) places, and the last one reaches beyond by its size less one. A part in which nothing
    starts takes one element from the parts before it (or after it), which makes no part heavier than that.

    Parameters
    ----------
    sizes : array `(n,)` of positive integers
    parts : int
        At most n.

    Raises
    ------
    ValueError
        There are more parts than elements, or fewer than one.

    Examples
    --------
    >>> cut_evenly(np.array([1, 1, 4, 2]), 3).tolist()
    [0, 2, 3, 4]
    """
    if not 1 <= parts <= len(sizes):
        raise ValueError(f"`parts` must satisfy 1 <= parts <= {len(sizes)} (the elements), got {parts}")
    ends = np.cumsum(sizes, dtype=np.int64)
    part = (ends - sizes) * parts // ends[-1]
    number = np.arange(parts + 1)
    cuts = np.searchsorted(part, number)
    cuts = np.minimum.accumulate((cuts - number)[::-1])[::-1] + number  # each before the next one
    return np.maximum(cuts, number)  # and none before the elements that earlier parts need


__all__ = ["cut_evenly"]
