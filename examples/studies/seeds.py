"""Several seeds in a table: means with intervals, differences within a seed, Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evaluation.estimate import normal_interval


def over_seeds(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over the seeds and its 95 % interval, by Student's t over them; NaN bounds for one seed.

    >>> [round(x, 3) for x in over_seeds([0.80, 0.82, 0.84])]
    [0.82, 0.77, 0.87]
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return mean, math.nan, math.nan
    low, high = normal_interval(mean, float(np.std(values, ddof=1)) / math.sqrt(n), freedom=n - 1)
    return mean, low, high


def percent(values: Sequence[float], *, signed: bool = False) -> str:
    """Shares over seeds in per cent, with the interval if there are several.

    >>> percent([0.80, 0.82, 0.84]), percent([0.5]), percent([0.01, 0.02], signed=True)
    ('82.0 [77.0, 87.0]', '50.0', '+1.5 [-4.9, +7.9]')
    """
    mean, low, high = (100 * x for x in over_seeds(values))
    sign = "+" if signed else ""
    return f"{mean:{sign}.1f}" + ("" if math.isnan(low) else f" [{low:{sign}.1f}, {high:{sign}.1f}]")


def differences(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Seed by seed: the seeds' own luck (images, triplets, first weights) is the same on both sides."""
    return [a - b for a, b in zip(values, baseline, strict=True)]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is left-aligned and the others right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
