"""A block of photos painted together: soft shapes, as arrays, laid over each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# float32 throughout; that float32 times a Python number stays float32 is unknown to NumPy's annotations
Array = NDArray[np.floating]
Value = Array | float  # one number for each photo, (n,), or one for all of them


class Canvas:
    """n square photos of S pixels, every operation elementwise on all of them.

    A shape is a mask with values in 0..1, soft over one pixel at its edge; its place and size may differ from photo to
    photo. Places are those in the scene: (0, 0) is its upper left corner and (1, 1) its lower right one; `zoom`,
    `shift` and `mirrored` say what part of it the photo shows. As these move rows and columns as a whole, a rectangle
    is the product of a mask over rows and one over columns, which is what makes painting cheap.

    Only sums, products, quotients, minima, maxima and roundings are used, which IEEE 754 fixes to the last bit: a
    photo's pixels do not depend on which others share its block, nor on the machine.

    Parameters
    ----------
    size : int
        S.
    zoom : (n,) float32 array
        Part of the scene that the photo shows, 1 for all of it.
    right, down : (n,) float32 array
        How far the photo's centre lies right of and below the scene's.
    mirrored : (n,) bool array
        Photos whose left is the scene's right.

    Examples
    --------
    >>> one = np.ones(1, dtype=np.float32)
    >>> canvas = Canvas(4, one, 0 * one, 0 * one, one > 1)
    >>> canvas.paint(canvas.rectangle(0.5, 2.0, -1.0, 0.5), rgb(1, 0, 0))
    >>> canvas.rgb[0, 0].tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, size: int, zoom: Array, right: Array, down: Array, mirrored: NDArray[np.bool_]) -> None:
        pixel = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - np.float32(0.5)
        sign = np.where(mirrored, np.float32(-1), np.float32(1))[:, None]
        self.x: Array = pixel * zoom[:, None] * sign + np.float32(0.5) + right[:, None]  # (n, S)
        self.y: Array = pixel * zoom[:, None] + np.float32(0.5) + down[:, None]  # (n, S)
        self.sharp: Array = np.float32(size) / zoom[:, None]  # (n, 1): pixels per unit of the scene
        self.rgb: Array = np.zeros((len(zoom), 3, size, size), dtype=np.float32)
        self._change = np.empty_like(self.rgb)

    def __len__(self) -> int:
        return len(self.rgb)

    def paint(self, mask: Array, colour: Array, opacity: Value = 1.0) -> None:
        """Lay a colour, (n, 3) or (3,), over the photos where the mask, broadcastable to (n, S, S), is 1."""
        colours = np.broadcast_to(colour, (len(self), 3))
        np.subtract(colours[:, :, None, None], self.rgb, out=self._change)
        self._change *= (mask * _each(opacity, 3))[:, None]
        self.rgb += self._change

    def paint_gradient(self, above: Array, below: Array, bottom: Value) -> None:
        """Cover everything: the colour `above` at y = 0 goes over into `below` at y = bottom."""
        share = np.minimum(np.maximum(self.y / _each(bottom, 2), 0), 1)[:, None]  # (n, 1, S)
        first, last = (np.broadcast_to(colour, (len(self), 3))[:, :, None] for colour in (above, below))
        self.rgb[:] = (first + (last - first) * share)[..., None]

    def columns(self, left: Value, right: Value) -> Array:
        """(n, S) mask of the columns with left < x < right."""
        return self._soft(np.minimum(self.x - _each(left, 2), _each(right, 2) - self.x))

    def rows(self, top: Value, bottom: Value) -> Array:
        """(n, S) mask of the rows with top < y < bottom."""
        return self._soft(np.minimum(self.y - _each(top, 2), _each(bottom, 2) - self.y))

    def stripes(self, places: Array, start: Value, period: Value, share: Value) -> Array:
        """(n, S) mask of stripes, each filling `share` of a period from `start` on; `places` is `.x` or `.y`."""
        phase = self.phase(places, start, period)
        return self._soft(np.minimum(phase, _each(share, 2) - phase) * _each(period, 2))

    def phase(self, places: Array, start: Value, period: Value) -> Array:
        """(n, S) how far into its period, from `start` on, each place is; in 0..1."""
        cycle = (places - _each(start, 2)) / _each(period, 2)
        return np.asarray(cycle - np.floor(cycle))

    def ground(self, top: Value) -> Array:
        """(n, S, 1) mask of all that lies below y = top."""
        return self.rows(top, 9.0)[:, :, None]

    def rectangle(self, left: Value, right: Value, top: Value, bottom: Value) -> Array:
        """(n, S, S) mask of a rectangle."""
        return cross(self.rows(top, bottom), self.columns(left, right))

    def ellipse(self, x: Value, y: Value, wide: Value, high: Value) -> Array:
        """(n, S, S) mask of the ellipse around (x, y) with half axes `wide` and `high`."""
        across, down = (self.x - _each(x, 2)) / _each(wide, 2), (self.y - _each(y, 2)) / _each(high, 2)
        inside = (1 - down * down)[:, :, None] - (across * across)[:, None, :]
        # near the edge this falls by 2 over the length of a half axis
        inside *= (self.sharp * _each(high, 2) * np.float32(0.5))[:, :, None]
        inside += np.float32(0.5)
        return _between_0_and_1(inside)

    def wedge(self, x: Value, top: Value, bottom: Value, half_top: Value, half_bottom: Value) -> Array:
        """(n, S, S) mask of a trapezoid about the vertical line at x, half as wide as said at top and bottom."""
        span = _each(bottom, 2) - _each(top, 2)
        share = np.minimum(np.maximum((self.y - _each(top, 2)) / span, 0), 1)  # (n, S)
        half = _each(half_top, 2) + (_each(half_bottom, 2) - _each(half_top, 2)) * share
        inside = half[:, :, None] - np.abs(self.x - _each(x, 2))[:, None, :]
        inside *= self.sharp[:, :, None]
        inside += np.float32(0.5)
        return _between_0_and_1(inside) * self.rows(top, bottom)[:, :, None]

    def below(self, line: Array) -> Array:
        """(n, S, S) mask of what lies below the line y(x), given at the photo's columns as (n, S)."""
        inside = self.y[:, :, None] - line[:, None, :]
        inside *= self.sharp[:, :, None]
        inside += np.float32(0.5)
        return _between_0_and_1(inside)

    def _soft(self, distance: Array) -> Array:
        return _between_0_and_1(distance * self.sharp + np.float32(0.5))


def cross(rows: Array, columns: Array) -> Array:
    """(n, S, S) mask of what lies both in the rows (n, S) and in the columns (n, S)."""
    return rows[:, :, None] * columns[:, None, :]


def mix(first: Array, second: Array, share: Array) -> Array:
    """(n, 3) colours: (1 - share) first + share second, with share (n,).

    Examples
    --------
    >>> mix(rgb(0, 0, 0), rgb(1, 0.5, 0), np.array([0.0, 0.5], dtype=np.float32)).tolist()
    [[0.0, 0.0, 0.0], [0.5, 0.25, 0.0]]
    """
    return np.asarray(first + (second - first) * share[:, None])


def rgb(red: float, green: float, blue: float) -> Array:
    """One colour, (3,), its parts in 0..1."""
    return np.array([red, green, blue], dtype=np.float32)


def _each(value: Value, dimensions: int) -> Array:
    """A number as it is, or (n,) numbers with axes of length 1 behind."""
    if isinstance(value, float):
        return np.asarray(value, dtype=np.float32)
    return value.reshape(-1, *[1] * (dimensions - 1))


def _between_0_and_1(values: Array) -> Array:
    np.maximum(values, 0, out=values)
    return np.minimum(values, 1, out=values)
