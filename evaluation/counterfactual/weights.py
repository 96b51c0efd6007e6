"""Importance weights of the placements that log and new ranking share, and where they are clipped."""

from __future__ import annotations

import numpy as np

from evaluation.checks import FloatArray
from evaluation.counterfactual.reranking import Reranking

__all__ = ["check_clip", "default_clip", "effective_sample_size", "match_weights"]


def match_weights(reranking: Reranking, clip: float) -> FloatArray:
    """w_i = 1[new place = logged place] / max(p_i, clip), `(N,)`; without clipping E[w_i] = 1 wherever p_i > 0.

    Args:
        reranking: N rows.
        clip: The smallest propensity that is divided by; 0 clips nothing.

    >>> two = Reranking.of([1, 0, 0, 1], list("abab"), [1, 1, 2, 2], [1, 2, 1, 2], [0.5, 0.5, 0.1, 0.1])
    >>> match_weights(two, 0.0).tolist()
    [2.0, 2.0, 0.0, 0.0]
    """
    return np.asarray(reranking.matched / np.maximum(reranking.propensity, clip))


def default_clip(reranking: Reranking) -> float:
    """min(1 / sqrt(R), 1 / (2 C)) for R requests with C candidates on average.

    [Ionides 2008, "Truncated importance sampling"] cuts weights at sqrt(n) of their mean: the variance stays finite
    however rare a placement was, and the bias vanishes as n grows. The second bound leaves a log of few requests whose
    policy treated all candidates alike (p = 1 / C) as it is.
    """
    if not reranking.requests:
        return 1.0
    rows = float(reranking.clusters.sums(np.ones(len(reranking.new)))[reranking.weights > 0].mean())
    return float(min(reranking.requests**-0.5, 0.5 / rows))


def check_clip(clip: float) -> float:
    """Refuse a clip outside [0, 1)."""
    if not 0.0 <= clip < 1.0:
        raise ValueError(f"`clip` must satisfy 0 <= clip < 1, got {clip}")
    return float(clip)


def effective_sample_size(weights: FloatArray) -> float:
    """(sum w)^2 / sum w^2: so many equally weighted rows would be as informative [Kong 1992].

    >>> effective_sample_size(np.array([1.0, 1.0, 0.0])), effective_sample_size(np.zeros(2))
    (2.0, 0.0)
    """
    squares = float(np.sum(weights**2))
    return float(np.sum(weights) ** 2 / squares) if squares > 0.0 else 0.0
