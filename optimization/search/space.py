"""The search space of utility weights: shares on a bounded simplex, times the declared signs.

[Pinterest 2020], the constraints S1 and S2 of the tuning problem; w_t is the weight, x_t = |w_t| / total the share:

    S1: sum_t |w_t| = total          S2: low_t <= x_t <= high_t

The ranking does not change when all weights are multiplied by one number, so S1 takes nothing away. A negative head
(hide) has a negative weight: the search sees its share only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from evaluation.checks import FloatArray
from features import Fault, raise_faults
from optimization.search.even_points import Around, simplex_around
from optimization.search.space_faults import space_faults
from optimization.search.stick_breaking import balanced, shares_to_sticks, sticks_to_shares


@dataclass(frozen=True)
class SearchSpace:
    """All shares x with low <= x <= high and sum x = 1, of heads with declared signs.

    Attributes:
        heads: The T heads, in order.
        signs: 1 or -1 for each head.
        bounds: (low, high) of each head's share; () means (0, 1) for every head.
        total: sum |w| of the weights.

    Raises:
        InputError: fewer than 2 heads, a head named twice, a sign other than 1 and -1, bounds outside
            0 <= low <= high <= 1 or that leave no or only one point, a total that is not finite and positive; all
            faults at once.

    >>> space = SearchSpace(("click", "save", "hide"), (1, 1, -1), total=2.0)
    >>> space.weights([0.5, 0.25, 0.25]).tolist()
    [[1.0, 0.5, -0.5]]
    """

    heads: tuple[str, ...]
    signs: tuple[int, ...]
    bounds: tuple[tuple[float, float], ...] = ()
    total: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple(self.heads))
        object.__setattr__(self, "signs", tuple(self.signs))
        pairs = tuple(tuple(pair) for pair in self.bounds) or ((0.0, 1.0),) * len(self.heads)
        object.__setattr__(self, "bounds", pairs)
        raise_faults(space_faults(self))
        object.__setattr__(self, "bounds", tuple((float(low), float(high)) for low, high in pairs))

    @classmethod
    def of(
        cls, signs: Mapping[str, int], bounds: Mapping[str, tuple[float, float]] | None = None, total: float = 1.0
    ) -> SearchSpace:
        """From mappings of head to sign and of head to (low, high); a head without bounds has (0, 1).

        Raises:
            InputError: bounds of an unknown head, and all that the class refuses.

        >>> SearchSpace.of({"click": 1, "save": 1}, {"save": (0.1, 0.5)}).bounds
        ((0.0, 1.0), (0.1, 0.5))
        """
        bounds = bounds or {}
        heads = ", ".join(signs) or "none"
        raise_faults(Fault(f"`bounds`: unknown head `{h}` (the heads are {heads})") for h in bounds if h not in signs)
        return cls(tuple(signs), tuple(signs.values()), tuple(bounds.get(h, (0.0, 1.0)) for h in signs), total)

    @property
    def low(self) -> FloatArray:
        """Lowest share of each head in the space, (T,): `bounds` tightened by the other heads' bounds."""
        low, high = np.array(self.bounds).T
        return np.maximum(low, 1.0 - (high.sum() - high))

    @property
    def high(self) -> FloatArray:
        """Highest share of each head in the space, (T,)."""
        low, high = np.array(self.bounds).T
        return np.minimum(high, 1.0 - (low.sum() - low))

    @property
    def movable(self) -> npt.NDArray[np.intp]:
        """The heads whose share is not pinned by the bounds, as indices; there are at least two."""
        return np.flatnonzero(self.high - self.low > 1e-9)

    @property
    def dimensions(self) -> int:
        """D, the number of free coordinates: one less than the heads that can move, so mostly T - 1."""
        return len(self.movable) - 1

    def weights(self, shares: npt.ArrayLike) -> FloatArray:
        """Signed weights w_t = sign_t * total * x_t, (V, T), of `shares` (V, T) or (T,)."""
        return self._rows("shares", shares) * np.array(self.signs, dtype=np.float64) * self.total + 0.0  # no -0.0

    def shares(self, weights: npt.ArrayLike) -> FloatArray:
        """Shares |w_t| / sum |w|, (V, T), of `weights` (V, T) or (T,).

        Raises:
            ValueError: a weight against its head's sign, or that is not finite; weights that are all 0.

        >>> SearchSpace.of({"click": 1, "hide": -1}).shares([3.0, -1.0]).tolist()
        [[0.75, 0.25]]
        """
        rows = self._rows("weights", weights)
        wrong = np.argwhere(rows * np.array(self.signs) < 0)
        if len(wrong):
            row, head = wrong[0]
            raise ValueError(
                f"`weights` must have the declared signs: `{self.heads[head]}` has sign {self.signs[head]:+d}, "
                f"got {rows[row, head]} in vector {row}"
            )
        sizes = np.abs(rows).sum(axis=1, keepdims=True)
        if not (sizes > 0).all():
            raise ValueError(f"`weights` must not all be 0, got such a vector at {int(sizes.argmin())}")
        return np.asarray(np.abs(rows) / sizes)

    def contains(self, shares: npt.ArrayLike, tol: float = 1e-9) -> npt.NDArray[np.bool_]:
        """Which of `shares` (V, T) satisfy the bounds and sum to 1, both within `tol`: (V,) bool.

        >>> SearchSpace.of({"click": 1, "save": 1}).contains([[0.5, 0.5], [0.6, 0.6], [1.5, -0.5]]).tolist()
        [True, False, False]
        """
        rows = np.atleast_2d(np.asarray(shares, dtype=np.float64))
        low, high = np.array(self.bounds).T
        inside = ((rows >= low - tol) & (rows <= high + tol)).all(axis=1)  # NaN is outside
        return np.asarray(inside & (np.abs(rows.sum(axis=1) - 1.0) <= tol))

    def nearest(self, shares: npt.ArrayLike) -> FloatArray:
        """The points of the space nearest to `shares` (V, T) by Euclidean distance; one inside stays bit for bit.

        >>> SearchSpace.of({"click": 1, "save": 1}, {"save": (0.5, 1.0)}).nearest([0.9, 0.1]).tolist()
        [[0.5, 0.5]]
        """
        rows = self._rows("shares", shares)
        return np.where(self.contains(rows)[:, None], rows, balanced(rows, np.ones_like(rows), self.low, self.high))

    def fill(self, proportions: npt.ArrayLike) -> FloatArray:
        """Shares in the given proportions (V, T), as far as the bounds allow: x = clip(c * proportions, low, high)
        with c > 0 such that sum x = 1. Without bounds the proportions are only scaled.

        >>> SearchSpace.of({"a": 1, "b": 1, "c": 1}, {"a": (0.0, 0.4)}).fill([8.0, 1.0, 1.0]).tolist()
        [[0.4, 0.3, 0.3]]
        """
        rows = self._rows("proportions", proportions)
        if not ((rows >= 0).all() and (rows.sum(axis=1) > 0).all()):
            raise ValueError("`proportions` must be >= 0 with a sum > 0")
        # A proportion of exactly 0 could not grow where the bounds of the others ask for it.
        rows = np.maximum(rows / rows.max(axis=1, keepdims=True), 1e-15)
        return balanced(np.zeros_like(rows), rows, self.low, self.high)

    def sobol(self, count: int, seed: int) -> FloatArray:
        """`count` scrambled Sobol points of the space, (count, T); the first of a longer sequence of the same seed.

        Uniform over the space (see `even_points`); where the bounds leave so little of every simplex around it that
        this cannot be, spread over it unevenly (see `stick_breaking`).

        >>> space = SearchSpace.of({"click": 1, "save": 1})
        >>> bool((space.sobol(3, seed=0) == space.sobol(8, seed=0)[:3]).all())
        True
        """
        engine = torch.quasirandom.SobolEngine(self.dimensions, scramble=True, seed=seed)
        return self._spread(count, lambda number: engine.draw(number, dtype=torch.float64).numpy())

    def random(self, count: int, seed: int) -> FloatArray:
        """`count` independent points of the space, (count, T), distributed as `sobol`."""
        rng = np.random.default_rng(seed)
        return self._spread(count, lambda number: rng.random((number, self.dimensions)))

    def free_to_shares(self, free: npt.ArrayLike) -> FloatArray:
        """Shares (V, T) of free coordinates (V, D), points of the unit cube: sticks broken one after another.

        A coordinate is the fraction of what is left to a head, so shares are polynomials of them, and every point of
        the cube is a point of the space: an optimiser needs no constraint beside 0 <= free <= 1.

        Raises:
            ValueError: another shape, or values outside the unit cube by more than rounding.

        >>> SearchSpace.of({"a": 1, "b": 1, "c": 1}).free_to_shares([0.5, 0.25]).tolist()
        [[0.5, 0.125, 0.375]]
        """
        cube = np.atleast_2d(np.asarray(free, dtype=np.float64))
        if cube.ndim != 2 or cube.shape[1] != self.dimensions or not (np.abs(cube - 0.5) <= 0.5 + 1e-9).all():
            raise ValueError(f"`free` must be points of the unit cube of shape (V, {self.dimensions}), got {free!r}")
        return self._break(np.clip(cube, 0.0, 1.0), even=False)

    def shares_to_free(self, shares: npt.ArrayLike) -> FloatArray:
        """Free coordinates (V, D) of `shares` (V, T): the inverse of `free_to_shares`.

        Raises:
            ValueError: shares off the space (see `nearest`).
        """
        rows = self._rows("shares", shares)
        if not self.contains(rows).all():
            first = rows[~self.contains(rows)][0]
            raise ValueError(f"`shares` must sum to 1 within the bounds {self.bounds}, got {first.tolist()}")
        return shares_to_sticks(rows[:, self.movable], *self._moving())

    @cached_property
    def _around(self) -> Around | None:
        """The simplex that points are drawn in."""
        return simplex_around(*self._moving())

    def _spread(self, count: int, draw: Callable[[int], FloatArray]) -> FloatArray:
        """`count` points of the space (count, T) from a sequence of the unit cube, whose next n points `draw(n)` is."""
        if self._around is None:
            return self._break(draw(count), even=True)
        return self._whole(self._around.first(count, draw))

    def _break(self, cube: FloatArray, even: bool) -> FloatArray:
        """Points of the space (V, T) from points of the unit cube (V, D)."""
        return self._whole(sticks_to_shares(cube, *self._moving(), even=even))

    def _moving(self) -> tuple[FloatArray, FloatArray, float]:
        """(low, high, total) of the heads that can move."""
        moving = self.movable
        return self.low[moving], self.high[moving], float(1.0 - np.delete(self.low, moving).sum())

    def _whole(self, shares: FloatArray) -> FloatArray:
        """Shares (V, T) of those of the heads that can move: the others stand at their only value."""
        rows = np.tile(self.low, (len(shares), 1))
        rows[:, self.movable] = shares
        return rows

    def _rows(self, name: str, values: npt.ArrayLike) -> FloatArray:
        rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
        if rows.ndim != 2 or rows.shape[1] != len(self.heads) or not np.isfinite(rows).all():
            raise ValueError(f"`{name}` must hold finite numbers of shape (V, {len(self.heads)}), got {values!r}")
        return rows
