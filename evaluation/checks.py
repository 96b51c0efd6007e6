"""Arrays that come in: converted to float64 once, and refused with argument, expectation and finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


def float_array(name: str, values: npt.ArrayLike, *, ndim: int = 1) -> FloatArray:
    """`values` as a float64 array of `ndim` dimensions.

    Args:
        name: The argument's name, for the message.
        values: Anything NumPy reads as numbers (lists, pandas columns, CPU tensors).
        ndim: The number of dimensions that is expected.

    Raises:
        ValueError: not numeric, or of another number of dimensions.

    >>> float_array("scores", [1, 2])
    array([1., 2.])
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be numeric, got {error}") from None
    if array.ndim != ndim:
        raise ValueError(f"`{name}` must have {ndim} dimension(s), got shape {array.shape}")
    return array


def score_vector(name: str, scores: npt.ArrayLike, rows: int | None = None) -> FloatArray:
    """Scores `(N,)`: NaN is refused (it has no rank); infinities are ranks like any other (log 0 is -inf)."""
    array = float_array(name, scores)
    _check_rows(name, array, rows)
    _check(name, array, ~np.isnan(array), "be numbers without NaN")
    return array


def label_vector(name: str, labels: npt.ArrayLike, rows: int | None = None) -> FloatArray:
    """Labels `(N,)`, each 0 or 1; a missing label (NaN) must have been taken out before."""
    array = float_array(name, labels)
    _check_rows(name, array, rows)
    _check(name, array, (array == 0.0) | (array == 1.0), "be 0 or 1")
    return array


def probability_vector(name: str, probabilities: npt.ArrayLike, rows: int | None = None) -> FloatArray:
    """Probabilities `(N,)` within [0, 1]."""
    array = float_array(name, probabilities)
    _check_rows(name, array, rows)
    _check(name, array, (array >= 0.0) & (array <= 1.0), "lie within [0, 1]")
    return array


def weight_vector(weights: npt.ArrayLike | None, rows: int) -> FloatArray:
    """Row weights `(N,)`, finite and not negative; None is one for every row."""
    if weights is None:
        return np.ones(rows)
    array = float_array("weights", weights)
    _check_rows("weights", array, rows)
    _check("weights", array, (array >= 0.0) & np.isfinite(array), "be finite and >= 0")
    return array


def label_matrix(
    name: str, labels: npt.ArrayLike, shape: tuple[int, int] | None = None, *, soft: bool = False
) -> FloatArray:
    """Labels `(N, T)`: 0, 1 or NaN for a missing one; with `soft`, true probabilities within [0, 1] as well."""
    array = float_array(name, labels, ndim=2)
    _check_shape(name, array, shape)
    missing = np.isnan(array)
    if soft:
        _check(name, array, missing | ((array >= 0.0) & (array <= 1.0)), "lie within [0, 1] or be NaN (missing)")
    else:
        _check(name, array, missing | (array == 0.0) | (array == 1.0), "be 0, 1 or NaN (missing)")
    return array


def probability_matrix(name: str, probabilities: npt.ArrayLike, shape: tuple[int, int] | None = None) -> FloatArray:
    """Probabilities `(N, T)` within [0, 1]."""
    array = float_array(name, probabilities, ndim=2)
    _check_shape(name, array, shape)
    _check(name, array, (array >= 0.0) & (array <= 1.0), "lie within [0, 1]")
    return array


def head_names(names: Sequence[str] | None, heads: int) -> tuple[str, ...]:
    """The heads' names in column order; `head_0`, `head_1`, ... where none are given."""
    if names is None:
        return tuple(f"head_{index}" for index in range(heads))
    if len(names) != heads:
        raise ValueError(f"`names` must name {heads} head(s), one per column, got {list(names)}")
    if len(set(names)) != heads:
        raise ValueError(f"`names` must differ from one another, got {list(names)}")
    return tuple(names)


def _check_rows(name: str, array: FloatArray, rows: int | None) -> None:
    if rows is not None and len(array) != rows:
        raise ValueError(f"`{name}` must have {rows} row(s), got {len(array)}")


def _check_shape(name: str, array: FloatArray, shape: tuple[int, int] | None) -> None:
    if shape is not None and array.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}")


def _check(name: str, array: FloatArray, good: npt.NDArray[np.bool_], expectation: str) -> None:
    if good.all():
        return
    bad = np.argwhere(~good)
    row = ", ".join(str(index) for index in bad[0])
    value = array[tuple(bad[0])]
    where = "row" if array.ndim == 1 else "row, column"
    raise ValueError(f"`{name}` must {expectation}, got {value:g} at {where} {row} ({len(bad)} value(s) in all)")
