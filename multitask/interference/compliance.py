"""What the inner products of many minibatches say: shares of agreement, cosines, one number."""

from __future__ import annotations

import torch
from torch import Tensor


def update_compliance(grams: Tensor) -> Tensor:
    """Update Compliance Ratio: the share of minibatches in which two tasks' gradients agree [Modulation section 3.1].

    UCR(t, t') = #{A_tt' > 0} / #{minibatches}, A = sign <g_t, g_t'> (eq. 2). A minibatch in which either gradient is
    exactly zero (the task is absent, or all its triplets are learnt) says nothing about the pair and is left out;
    orthogonal gradients (A = 0) count as not agreeing.

    Near one half the ratio of K minibatches is known to +-1 / sqrt(K) (two standard errors), so small differences want
    many minibatches. It says how often gradients agree, not how much: for that see `gradient_cosines`.

    Args:
        grams: `(K, T, T)` of K minibatches, from `gradient_gram`.

    Returns:
        `(T, T)` in [0, 1], symmetric; 1 on the diagonal; NaN for pairs of which no minibatch is left.

    Raises:
        ValueError: if the shape does not fit.

    >>> gram = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])  # the third task is absent
    >>> update_compliance(gram[None]).tolist()
    [[1.0, 1.0, nan], [1.0, 1.0, nan], [nan, nan, nan]]
    """
    both = present_pairs(grams)
    return ((grams > 0) & both).sum(0).double() / both.sum(0)


def gradient_cosines(grams: Tensor) -> Tensor:
    """Mean cosine of each pair of gradients, over the minibatches in which neither is exactly zero.

    Args:
        grams: `(K, T, T)`.

    Returns:
        `(T, T)` in [-1, 1]; NaN for pairs of which no minibatch is left.

    >>> gradient_cosines(torch.tensor([[[4.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 9.0]]])).tolist()
    [[1.0, 0.25], [0.25, 1.0]]
    """
    both = present_pairs(grams)
    norms = grams.double().diagonal(dim1=1, dim2=2).sqrt()  # (K, T)
    cosines = grams / torch.where(both, norms[:, :, None] * norms[:, None], 1)
    return torch.where(both, cosines.clamp(-1, 1), 0).sum(0) / both.sum(0)


def conflict_index(grams: Tensor) -> float:
    """c = - sum_{t != t'} <g_t, g_t'> / sum_t |g_t|^2, how much of the tasks' gradients cancels.

    As |sum_t g_t|^2 = sum |g_t|^2 + sum_{t != t'} <g_t, g_t'>, c = 1 - |sum_t g_t|^2 / sum_t |g_t|^2: 1 if the
    gradients cancel, 0 if they are orthogonal, 1 - T if all are equal. Tasks with large gradients decide it.

    Args:
        grams: `(T, T)` of one minibatch, or `(K, T, T)` of K: numerator and denominator are summed over them.

    Returns:
        c in [1 - T, 1]; NaN if all gradients are zero.

    >>> conflict_index(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])), conflict_index(torch.ones(2, 3, 3))
    (1.0, -2.0)
    """
    several = grams if grams.ndim == 3 else grams[None]
    _refuse_other_shapes(several)
    squares = several.double().diagonal(dim1=1, dim2=2).sum()
    return ((squares - several.double().sum()) / squares).item()


def present_pairs(grams: Tensor) -> Tensor:
    """`(K, T, T)` Gram matrices to `(K, T, T)` bool: neither gradient of the pair is exactly zero."""
    _refuse_other_shapes(grams)
    present = grams.diagonal(dim1=1, dim2=2) > 0  # (K, T)
    return present[:, :, None] & present[:, None]


def _refuse_other_shapes(grams: Tensor) -> None:
    if grams.ndim != 3 or grams.shape[1] != grams.shape[2]:
        raise ValueError(f"`grams` must have shape (minibatches, tasks, tasks), got {tuple(grams.shape)}")
