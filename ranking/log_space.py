"""Log probabilities and logits in float64, by the same lines for NumPy arrays and torch tensors.

Probabilities in float32 saturate at a logit of 17; in log space and float64 nothing does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Array", "Library", "library", "log_sigmoid", "logit_from_log", "matrix", "share", "to_numpy", "vector"]

Array = TypeVar("Array", NDArray[Any], torch.Tensor)


class Library(NamedTuple):
    """The few functions in which NumPy and torch differ, so that every formula is written once."""

    float64: Callable[[Any, Any], Any]  # (values, like): float64, on the device of `like`
    log_sigmoid: Callable[[Any], Any]
    log: Callable[[Any], Any]
    expm1: Callable[[Any], Any]
    clip: Callable[[Any, Any, Any], Any]
    where: Callable[[Any, Any, Any], Any]


def to_numpy(values: Any, like: Any) -> Any:
    """float64 NumPy of an array or tensor; `like` is not needed here."""
    return np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=np.float64)


def _to_torch(values: Any, like: torch.Tensor) -> Any:
    if not isinstance(values, torch.Tensor):
        values = torch.tensor(np.asarray(values, dtype=np.float64))  # a copy: frames hand out read-only arrays
    return values.to(device=like.device, dtype=torch.float64)


# torch's softplus returns x itself above 20, an error of 2e-9; softplus(x) = -logsigmoid(-x) has no such seam.
_NUMPY = Library(to_numpy, lambda z: 0.0 - np.logaddexp(0.0, -z), np.log, np.expm1, np.clip, np.where)
_TORCH = Library(_to_torch, torch.nn.functional.logsigmoid, torch.log, torch.expm1, torch.clamp, torch.where)


def library(values: Any) -> Library:
    """The functions for tensors, or for everything else."""
    return _TORCH if isinstance(values, torch.Tensor) else _NUMPY


def log_sigmoid(logits: Array) -> Array:
    """log(1 / (1 + exp(-z))) of any shape, in float64; exact to rounding for every finite logit."""
    lib = library(logits)
    result: Array = lib.log_sigmoid(lib.float64(logits, logits))
    return result


def logit_from_log(log_p: Array) -> Array:
    """The logit log p - log(1 - exp(log p)) of a log probability of any shape, in float64.

    Written with expm1, it stays exact where p rounds to 1: the inverse of `log_sigmoid` over the whole range.

    >>> logit_from_log(log_sigmoid(np.array([-40.0, 0.0, 40.0]))).round(9).tolist()
    [-40.0, 0.0, 40.0]
    """
    lib = library(log_p)
    log_p = lib.float64(log_p, log_p)
    with np.errstate(divide="ignore"):  # log p = 0 is the logit +inf, and means it
        result: Array = log_p - lib.log(-lib.expm1(log_p))
    return result


def matrix(lib: Library, values: Any, name: str) -> Any:
    """(N, T) float64, or a ValueError that names the argument."""
    values = lib.float64(values, values)
    if values.ndim != 2:
        hint = f"; one head is `{name}[:, None]`" if values.ndim == 1 else ""
        raise ValueError(f"`{name}` must have shape (N, T), rows by heads, got {tuple(values.shape)}{hint}")
    return values


def vector(lib: Library, values: Any, name: str, like: Any, rows: int | None = None) -> Any:
    """(N,) float64 on the device of `like`, or a ValueError that names the argument."""
    values = lib.float64(values, like)
    if values.ndim != 1 or (rows is not None and len(values) != rows):
        expected = "(N,)" if rows is None else f"(N,) = ({rows},)"
        raise ValueError(f"`{name}` must have shape {expected}, one value per row, got {tuple(values.shape)}")
    return values


def share(lib: Library, values: Any, name: str, like: Any, rows: int) -> Any:
    """A number in (0, 1]: a scalar (0-d) or one per row, (N,)."""
    values = lib.float64(values, like)
    if values.ndim > 1 or (values.ndim == 1 and len(values) != rows):
        raise ValueError(f"`{name}` must be a scalar or have shape (N,) = ({rows},), got {tuple(values.shape)}")
    bad = ~((values > 0) & (values <= 1))  # written so that NaN is bad
    if bool(bad.any()):
        flat = bad.reshape(-1)
        row = int(to_numpy(flat, flat).argmax())
        where = f" (row {row}; {int(flat.sum())} such rows)" if values.ndim else ""
        raise ValueError(f"`{name}` must satisfy 0 < {name} <= 1, got {float(values.reshape(-1)[row])}{where}")
    return values
