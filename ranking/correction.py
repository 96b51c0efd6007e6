"""From scores learned on a log that lost most of its negatives to true log probabilities, several heads at once.

Notation: z_t the logit of head t and A the logit of `any`, the event that protects a row from being dropped; q_t, q_any
the same as probabilities, learned on the sampled log; p_t, p_any on the full log; alpha the negative rate.

Derivation. A row whose protecting event did not happen is kept with probability alpha, every other row is kept, so
Z(x) = P(kept | x) = 1 - (1 - alpha) (1 - p_any). Every head implies `any`; its positives are therefore all kept, and
q_t = p_t / Z, q_any = p_any / Z. Eliminating p_any gives Z = alpha / (1 - (1 - alpha) q_any), and hence

    p_t = q_t * alpha / (1 - (1 - alpha) q_any)

    log p_t = logsigmoid(z_t) + (log(alpha) + (softplus(A) - softplus(A + log(alpha))))     # in this order

in float64 and log space, because probabilities in float32 saturate at z ~ 17; in this order alpha = 1 is the identity
bit for bit. The factor belongs to the row, not to the head, so an order between heads (long_click <= click) survives.
For t = any, and so for T = 1, it is logit p = logit q + log(alpha), the formula of [Dal Pozzolo 2015] that
[Pinterest 2020] applies per head: with T > 1 that understates every head, because a head's negatives include rows kept
for another head's sake.
Where whole *requests* are dropped, `any` is "the request has an engagement" and the formula is the same.

Modes: `any_head` (above), `factored`, `headwise`, `inverse_propensity`, `single_head` (the textbook formula).
NumPy arrays give NumPy arrays and tensors give tensors on the same device, by the same lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ranking.log_space import Array, library, logit_from_log, matrix, share, to_numpy, vector

__all__ = [
    "CORRECTION_MODES",
    "AnyHeadError",
    "correct_any",
    "correct_factored",
    "correct_row_sampling",
    "correct_single_head",
    "headwise_weights",
    "inverse_propensity_weights",
    "require_any_head",
    "row_sampling_log_factor",
    "sample_row",
]

CORRECTION_MODES = ("any_head", "factored", "headwise", "inverse_propensity", "single_head")

Rate = float | NDArray[Any] | torch.Tensor


class AnyHeadError(ValueError):
    """Several heads cannot be corrected for row sampling by a closed form without the protecting event's own logit."""


def require_any_head(heads: Sequence[str] | int, *, mode: str = "any_head", any_head: bool) -> None:
    """Refuse a correction that several heads under row sampling do not permit.

    Args:
        heads: the heads' names, or how many there are (T); the any-head is not among them.
        mode: one of `CORRECTION_MODES`.
        any_head: whether the model has a head for the protecting event.

    Raises:
        AnyHeadError: `any_head` and `factored` without an any-head, `single_head` with T > 1; the remedies are named.
        ValueError: an unknown mode.

    >>> require_any_head(["click", "save"], mode="headwise", any_head=False)
    """
    if mode not in CORRECTION_MODES:
        raise ValueError(f"`mode` must be one of {', '.join(CORRECTION_MODES)}, got {mode!r}")
    count, names = (heads, "") if isinstance(heads, int) else (len(heads), f" ({', '.join(heads)})")
    refused = mode == "single_head" or (mode in ("any_head", "factored") and not any_head)
    if refused and (count > 1 or mode == "factored"):
        lacking = "corrects each head as if only its own negatives had been sampled and understates them all"
        if mode != "single_head":
            lacking = "needs the logit of the event that protects a row from being dropped, and there is none"
        raise AnyHeadError(
            f"`{mode}` correction of {count} head{'s' if count > 1 else ''}{names} under row sampling {lacking}. "
            "Remedies: train the network with an any-head (mode `any_head`, or `factored`), or use mode `headwise` or "
            "`inverse_propensity`, which weight the training rows and need none. (What the heads alone say of the "
            "protecting event, the Frechet bounds, leaves a factor of 2 of ignorance.)"
        )


def row_sampling_log_factor(any_logit: Array, negative_rate: Rate) -> Array:
    """log(p_t / q_t) = log Z, the same for every head of a row: between log(alpha) and 0.

    Args:
        any_logit: (N,) logits A of the protecting event, as learned on the sampled log.
        negative_rate: alpha, a scalar or (N,); see `correct_row_sampling`.

    Returns:
        (N,) float64.

    Raises:
        ValueError: a wrong shape, or a rate outside (0, 1].

    >>> np.exp(row_sampling_log_factor(np.array([-30.0, 30.0]), 0.1)).round(6).tolist()
    [0.1, 1.0]
    """
    lib = library(any_logit)
    A = vector(lib, any_logit, "any_logit", any_logit)
    log_alpha = lib.log(share(lib, negative_rate, "negative_rate", any_logit, len(A)))
    A = lib.clip(A, -2000.0, 2000.0)  # log(alpha) >= -745: the factor is constant beyond, and inf - inf is avoided
    factor = log_alpha + (lib.log_sigmoid(-(A + log_alpha)) - lib.log_sigmoid(-A))  # softplus(x) = -logsigmoid(-x)
    result: Array = lib.clip(factor, None, 0.0)  # rounding at large A must not make p_t exceed q_t
    return result


def correct_row_sampling(logits: Array, any_logit: Array | None, negative_rate: Rate) -> Array:
    """True log probabilities of T heads that were learned on a row-sampled log (mode `any_head`).

        log p_t = logsigmoid(z_t) + (log(alpha) + (softplus(A) - softplus(A + log(alpha))))

    Generalises [Dal Pozzolo 2015], the calibration of [Pinterest 2020], to several heads; see the module's derivation.
    Exact for the Bayes-optimal q; what a misspecified model keeps of a bias is left to `ranking.refit`.

    Args:
        logits: (N, T) logits z_t of the heads. Every head must imply the protecting event.
        any_logit: (N,) logits A of the protecting event. None is accepted for T = 1, where the head is that event.
        negative_rate: alpha, the probability with which an unprotected row was kept: a scalar, or (N,) if it is known
            *before* the outcome. Never the `keep_prob` column: it is 1 on every engaged row and hands over the label.

    Returns:
        (N, T) log p_t, float64; an array for arrays, a tensor on the same device for tensors.

    Raises:
        AnyHeadError: several heads and no any-head.
        ValueError: a wrong shape, or a rate outside (0, 1].

    >>> z, A = np.log([[0.25 / 0.75, 0.1 / 0.9]]), np.log([0.5 / 0.5])  # q = .25 and .1, q_any = .5
    >>> np.exp(correct_row_sampling(z, A, negative_rate=0.1)).round(6).tolist()  # q * .1 / (1 - .9 * .5)
    [[0.045455, 0.018182]]
    """
    lib = library(logits)
    z = matrix(lib, logits, "logits")
    if any_logit is None:
        require_any_head(z.shape[1], any_head=False)
        any_logit = z[:, 0]
    A = vector(lib, any_logit, "any_logit", logits, len(z))
    result: Array = lib.log_sigmoid(z) + row_sampling_log_factor(A, negative_rate)[:, None]
    return result


def correct_single_head(logits: Array, negative_rate: Rate) -> Array:
    """The textbook formula, logit p = logit s + log(alpha), head by head [Dal Pozzolo 2015; He 2014; Pinterest 2020].

    Equivalently p = s / (s + (1 - s) / alpha). Exact where exactly this head's negatives were sampled: T = 1, the
    any-head itself, or a head trained with `headwise_weights`. For several heads of a row-sampled log it is kept as the
    naive comparison: it understates every head (measured: to between .46 and .77 of the truth at alpha = .1).

    Args:
        logits: (N,) or (N, T) logits.
        negative_rate: alpha, a scalar or (N,).

    Returns:
        log probabilities, float64, in the shape of `logits`.

    Raises:
        ValueError: a wrong shape, or a rate outside (0, 1].

    >>> np.exp(correct_single_head(np.array([0.0]), 0.1)).round(6).tolist()  # .5 / (.5 + .5 / .1)
    [0.090909]
    """
    lib = library(logits)
    z = lib.float64(logits, logits)
    if z.ndim not in (1, 2):
        raise ValueError(f"`logits` must have shape (N,) or (N, T), got {tuple(z.shape)}")
    log_alpha = lib.log(share(lib, negative_rate, "negative_rate", logits, len(z)))
    result: Array = lib.log_sigmoid(z + (log_alpha if z.ndim == 1 else log_alpha[..., None]))
    return result


def correct_any(any_logit: Array, negative_rate: Rate) -> Array:
    """log p_any (N,) of the protecting event: logit p = logit q + log(alpha), exact because its negatives were sampled.

    >>> np.exp(correct_any(np.array([0.0]), 1.0)).tolist()
    [0.5]
    """
    checked: Array = vector(library(any_logit), any_logit, "any_logit", any_logit)
    return correct_single_head(checked, negative_rate)


def correct_factored(any_logit: Array, conditional_logits: Array, negative_rate: Rate) -> Array:
    """Mode `factored`: p_t = p_any * r_t with r_t = P(y_t = 1 | any, x), which the sampling leaves untouched.

    Only p_any is corrected, so p_t <= p_any by construction.

    Args:
        any_logit: (N,) logits of the protecting event on the sampled log.
        conditional_logits: (N, T) logits of r_t, learned on the rows where the event happened.
        negative_rate: alpha, a scalar or (N,).

    Returns:
        (N, T) log p_t, float64.

    Raises:
        ValueError: a wrong shape, or a rate outside (0, 1].
    """
    lib = library(conditional_logits)
    r = matrix(lib, conditional_logits, "conditional_logits")
    A = vector(lib, any_logit, "any_logit", conditional_logits, len(r))
    result: Array = correct_any(A, negative_rate)[:, None] + lib.log_sigmoid(r)
    return result


def headwise_weights(labels: Array, protected: Array, negative_rate: Rate) -> Array:
    """Mode `headwise`: loss weights that thin each head's remaining negatives to the rate of the dropped ones.

    Weight alpha where y_t = 0 on a protected row (it was kept for another head's sake), 1 elsewhere. Then every
    negative of head t counts alpha in expectation, and `correct_single_head` is exact for it.

    Args:
        labels: (N, T) 0/1; NaN = missing (its weight is finite and the masked loss never reads it).
        protected: (N,) 0/1, whether the protecting event happened.
        negative_rate: alpha, a scalar or (N,).

    Returns:
        (N, T) weights in the floating type of `labels` (float64 for integers).

    Raises:
        ValueError: a wrong shape, a rate outside (0, 1], or a positive label on an unprotected row: then the head does
            not imply the protecting event, no closed form holds, and `inverse_propensity` is the mode to use.

    >>> headwise_weights(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([1.0, 0.0]), 0.1).tolist()
    [[1.0, 0.1], [1.0, 1.0]]
    """
    lib = library(labels)
    y = matrix(lib, labels, "labels")
    kept_surely = (vector(lib, protected, "protected", labels, len(y)) == 1)[:, None]
    alpha = share(lib, negative_rate, "negative_rate", labels, len(y))[..., None]
    stray = (y == 1) & ~kept_surely
    if bool(stray.any()):
        row, head = divmod(int(to_numpy(stray, stray).argmax()), y.shape[1])
        raise ValueError(
            f"every head must imply the protecting event, got label 1 in row {row}, head {head} with `protected` 0 "
            f"({int(stray.sum())} such labels); use mode `inverse_propensity`"
        )
    weights: Any = lib.where(kept_surely & (y != 1), alpha, lib.float64(1.0, y))
    if isinstance(labels, torch.Tensor):
        weights = weights.to(labels.dtype) if labels.is_floating_point() else weights
    elif isinstance(labels, np.ndarray) and labels.dtype.kind == "f":
        weights = weights.astype(labels.dtype, copy=False)
    result: Array = weights
    return result


def inverse_propensity_weights(keep_prob: Array) -> Array:
    """Mode `inverse_propensity`: loss weights 1 / pi, (N,) float64; unbiased for any sampling, with more variance.

        p_t = E_s[y_t / pi | x] / E_s[1 / pi | x]

    Args:
        keep_prob: (N,) pi, the probability with which this very row was kept; 1 where nothing was dropped.

    Raises:
        ValueError: a wrong shape, or a value outside (0, 1].

    >>> inverse_propensity_weights(np.array([1.0, 0.1])).tolist()
    [1.0, 10.0]
    """
    lib = library(keep_prob)
    pi = vector(lib, keep_prob, "keep_prob", keep_prob)
    result: Array = 1.0 / share(lib, pi, "keep_prob", pi, len(pi))
    return result


def sample_row(log_p: Array, log_p_any: Array, negative_rate: Rate) -> tuple[Array, Array]:
    """The inverse: the logits (z (N, T), A (N,)) that a Bayes-optimal model learns on the sampled log.

        q_t = p_t / Z,   Z = 1 - (1 - alpha) (1 - p_any)

    Args:
        log_p: (N, T) true log probabilities.
        log_p_any: (N,) of the protecting event, which every head implies.
        negative_rate: alpha, a scalar or (N,).

    Raises:
        ValueError: a wrong shape, a rate outside (0, 1], or a head more probable than the protecting event.

    >>> z, A = sample_row(np.log([[0.02, 0.05]]), np.log([0.06]), 0.1)
    >>> np.exp(correct_row_sampling(z, A, 0.1)).round(12).tolist()
    [[0.02, 0.05]]
    """
    lib = library(log_p)
    log_p_t = matrix(lib, log_p, "log_p")
    log_any = vector(lib, log_p_any, "log_p_any", log_p, len(log_p_t))
    excess = log_p_t > log_any[:, None] + 1e-9  # 1e-9: the rounding of a caller's own p_any
    if bool(excess.any()):
        row, head = divmod(int(to_numpy(excess, excess).argmax()), log_p_t.shape[1])
        raise ValueError(
            f"`log_p` must not exceed `log_p_any` (every head implies it), got {float(log_p_t[row, head])} > "
            f"{float(log_any[row])} in row {row}, head {head}"
        )
    A = logit_from_log(log_any) - lib.log(share(lib, negative_rate, "negative_rate", log_p, len(log_any)))
    log_q = log_p_t - row_sampling_log_factor(A, negative_rate)[:, None]
    # A q_t that rounds to 1 keeps a finite logit; 2^-53 changes p by less than its own rounding.
    return logit_from_log(lib.clip(log_q, None, -(2.0**-53))), A
