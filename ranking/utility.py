"""The utility: one score per candidate, mixed from calibrated probabilities after training.

[Pinterest 2020], eq. (4), with w_t the weight and p_t the calibrated probability of engagement t:

    utility = sum_t w_t * p_t

The weights are chosen after training, so what the business values is decoupled from what the model learns.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

__all__ = ["Utility"]


class Utility:
    """Named weights of heads, immutable; equal and hashed as a mapping. A head that it does not name has weight 0.

    Args:
        weights: finite weight of each head, not all 0; negative for heads like hide or report.

    Raises:
        ValueError: a weight that is no finite number (all of them are named), or no weight other than 0.

    >>> utility = Utility(save=0.2, click=0.2, long_click=0.5, closeup=0.1)
    >>> utility
    Utility(save=0.2, click=0.2, long_click=0.5, closeup=0.1)
    >>> Utility(click=1, save=2).score(np.array([[0.5, 0.25]]), heads=["click", "save"]).tolist()
    [1.0]
    """

    __slots__ = ("_weights",)
    _weights: Mapping[str, float]

    def __init__(self, /, **weights: float) -> None:
        bad = [
            f"{name} = {value!r}"
            for name, value in weights.items()
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real) or not np.isfinite(float(value))
        ]
        if bad:
            raise ValueError(f"utility weights must be finite numbers, got {', '.join(bad)}")
        if not any(float(value) != 0.0 for value in weights.values()):
            raise ValueError(f"a utility must have a weight other than 0, got {dict(weights)}")
        plain = MappingProxyType({str(name): float(value) for name, value in weights.items()})
        object.__setattr__(self, "_weights", plain)

    @classmethod
    def from_mapping(cls, weights: Mapping[str, float]) -> Utility:
        """From a mapping of head to weight, whatever the heads are called."""
        return cls(**dict(weights))

    @classmethod
    def equal(cls, heads: Mapping[str, int]) -> Utility:
        """Every head counts the same: weight sign / T, so that sum |w| = 1. `heads` maps name to sign, 1 or -1.

        >>> Utility.equal({"click": 1, "hide": -1})
        Utility(click=0.5, hide=-0.5)
        """
        return cls(**{name: sign / len(heads) for name, sign in heads.items()})

    @property
    def weights(self) -> Mapping[str, float]:
        """Head to weight, in the order in which they were given; read-only."""
        return self._weights

    def check(self, heads: Mapping[str, int]) -> None:
        """Refuse a utility that does not fit a model.

        Args:
            heads: the model's heads and their declared signs, 1 or -1: a head of sign -1 (hide) must not be rewarded.

        Raises:
            ValueError: all unknown heads and all wrong signs at once.

        >>> Utility(click=1.0, hide=-0.5).check({"click": 1, "save": 1, "hide": -1})
        """
        faults = [
            f"unknown head `{name}` (the heads are {', '.join(heads) or 'none'})"
            for name in self._weights
            if name not in heads
        ]
        faults += [
            f"`{name}` has sign {heads[name]:+d}, so its weight must be {'<=' if value > 0 else '>='} 0, got {value}"
            for name, value in self._weights.items()
            if name in heads and value * heads[name] < 0
        ]
        if faults:
            raise ValueError(f"the utility does not fit the model: {'; '.join(faults)}")

    def score(self, probabilities: pd.DataFrame | ArrayLike, heads: Sequence[str] | None = None) -> NDArray[np.float64]:
        """sum_t w_t p_t for every row, [Pinterest 2020] eq. (4).

        Summed head by head in the order of their names, so that a row's score has the same bits whatever the batch it
        stands in, the order of the columns, or the order in which the weights were written (a matrix product has not).

        Args:
            probabilities: a frame with one column per head (further columns are ignored), or (N, T).
            heads: the T names of an array's columns.

        Returns:
            (N,) float64.

        Raises:
            ValueError: a weighted head without a column, or an array whose columns are not named.
        """
        columns = self._columns(probabilities, heads)
        first = next(iter(columns.values()))
        total = np.zeros(len(first))
        for name in sorted(columns):
            if self._weights[name] != 0.0:  # a head that counts nothing may hold NaN
                total += self._weights[name] * columns[name]
        return total

    def contributions(
        self, probabilities: pd.DataFrame | ArrayLike, heads: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """The terms w_t p_t of the score, (N, T) float64: why a row stands where it does.

        The columns are `heads` (0 where the utility names no weight); for a frame without `heads`, this utility's own.

        >>> frame = pd.DataFrame({"click": [0.5], "save": [0.25]})
        >>> Utility(save=2.0).contributions(frame, heads=["click", "save"]).tolist()
        [[0.0, 0.5]]
        """
        columns = self._columns(probabilities, heads)
        names = list(self._weights) if heads is None else list(heads)
        terms = np.zeros((len(next(iter(columns.values()))), len(names)))
        for index, name in enumerate(names):
            if self._weights.get(name, 0.0) != 0.0:
                terms[:, index] = self._weights[name] * columns[name]
        return terms

    def scaled(self, total: float = 1.0) -> Utility:
        """The same order of candidates with sum |w| = total: only the ratios of the weights matter to a ranking.

        >>> Utility(click=1, hide=-3).scaled()
        Utility(click=0.25, hide=-0.75)
        """
        if not (np.isfinite(total) and total > 0):
            raise ValueError(f"`total` must be finite and > 0, got {total}")
        largest = max(abs(value) for value in self._weights.values())  # first, so that no sum overflows
        size = sum(abs(value / largest) for value in self._weights.values())
        return Utility(**{name: value / largest / size * total for name, value in self._weights.items()})

    def to_toml(self) -> str:
        """A `[utility]` table, ready to paste into a config.

        >>> print(Utility(click=0.2, long_click=0.8).to_toml(), end="")
        [utility]
        click = 0.2
        long_click = 0.8
        """
        lines = [f"{_toml_key(name)} = {value!r}" for name, value in self._weights.items()]
        return "\n".join(["[utility]", *lines, ""])

    def to_dict(self) -> dict[str, float]:
        """Head to weight, for JSON."""
        return dict(self._weights)

    @classmethod
    def from_dict(cls, weights: Mapping[str, float]) -> Utility:
        """The inverse of `to_dict`."""
        return cls.from_mapping(weights)

    def _columns(
        self, probabilities: pd.DataFrame | ArrayLike, heads: Sequence[str] | None
    ) -> dict[str, NDArray[np.float64]]:
        """(N,) float64 probabilities of every head that the utility names."""
        present: Mapping[str, Any]
        if isinstance(probabilities, pd.DataFrame):
            present = {name: probabilities[name] for name in self._weights if name in probabilities.columns}
        else:
            matrix = np.asarray(probabilities, dtype=np.float64)
            if heads is None or matrix.ndim != 2 or matrix.shape[1] != len(heads):
                raise ValueError(
                    "`probabilities` must be a frame with head columns, or (N, T) with the names of its T columns in "
                    f"`heads`, got shape {matrix.shape} and heads {None if heads is None else list(heads)}"
                )
            present = dict(zip(heads, matrix.T, strict=True))
        missing = [name for name in self._weights if name not in present]
        if missing:
            raise ValueError(
                f"`probabilities` must have a column for every weighted head, missing {', '.join(missing)}"
            )
        return {name: np.asarray(present[name], dtype=np.float64) for name in self._weights}

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a Utility is immutable, so `{name}` cannot be set: build another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Utility is immutable, so `{name}` cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return Utility.from_mapping, (dict(self._weights),)

    def __eq__(self, other: object) -> bool:
        return dict(self._weights) == dict(other._weights) if isinstance(other, Utility) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._weights.items()))

    def __repr__(self) -> str:
        if all(name.isidentifier() and not keyword.iskeyword(name) for name in self._weights):
            return f"Utility({', '.join(f'{name}={value!r}' for name, value in self._weights.items())})"
        return f"Utility.from_mapping({dict(self._weights)!r})"


def _toml_key(name: str) -> str:
    # A TOML basic string takes JSON's escapes, but not JSON's bare DEL.
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name).replace("\x7f", "\\u007f")
