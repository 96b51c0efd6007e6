"""Neighbouring positions taken together where one alone has seen too little."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.checks import IntArray

__all__ = ["LEAST", "pool_positions"]

LEAST = 20  # matches, or engagements, from which a position (or a run of them) has a mean of its own


def pool_positions(counts: npt.NDArray[Any], least: int = LEAST) -> IntArray:
    """The group `(P,)` of every position 1 .. P: runs from the top that have seen `least` or more.

    A mean over a handful of events, used as a divisor, would be biased and could be 0 / 0.

    Args:
        counts: `(P,)` events at each position.
        least: A run ends as soon as it holds so many; what is left at the end joins the last run.

    >>> pool_positions(np.array([30.0, 5.0, 16.0, 3.0, 1.0])).tolist()
    [0, 1, 1, 1, 1]
    """
    groups = np.zeros(len(counts), dtype=np.intp)
    group, seen = 0, 0.0
    for position, count in enumerate(counts):
        groups[position] = group
        seen += count
        if seen >= least:
            group, seen = group + 1, 0.0
    if seen < least and group > 0:  # the rest, if any, has seen too little
        groups[groups == group] = group - 1
    return groups
