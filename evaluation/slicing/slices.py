"""A column's partition of the rows: the parts in which a metric is looked at one by one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import IntArray
from evaluation.slicing.value_names import MISSING, edge_text, expected_texts, free_name, value_text


@dataclass(frozen=True)
class Slices:
    """One column's partition of the N rows into S slices.

    Attributes:
        column: What people call the column: "platform".
        names: The S slices' names in order. A slice may hold no row: it is then listed as empty.
        codes: `(N,)` each row's slice, 0 .. S - 1.

    Raises:
        ValueError: names that repeat, codes outside 0 .. S - 1.

    >>> Slices.of("platform", ["web", "app", "web", None], expected=["web", "app", "tv"])
    Slices(column='platform', names=('web', 'app', 'tv', 'missing'), codes=array([0, 1, 0, 3]))
    """

    column: str
    names: tuple[str, ...]
    codes: IntArray

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"`names` of column {self.column!r} must differ from one another, got {list(self.names)}")
        if len(self.codes) and not 0 <= self.codes.min() <= self.codes.max() < len(self.names):
            found = f"{self.codes.min()} .. {self.codes.max()}"
            raise ValueError(f"`codes` of column {self.column!r} must lie in 0 .. {len(self.names) - 1}, got {found}")

    @classmethod
    def of(
        cls, column: str, values: Any, *, expected: Sequence[str] | None = None, most: int = 12, bins: int = 5
    ) -> Slices:
        """The slices of a column's `values` `(N,)`.

        - Text, truth values and numbers or times of at most `most` different values: one slice per value, text the
          largest slice first, numbers and times in their own order. The rarest values beyond `most` share the slice
          "other (37 values)".
        - Numbers and times of more different values: `bins` parts of about equally many rows, named by the smallest and
          the largest value in them ("12.5 to 40"). Rows of one value stay together, so there may be fewer parts.
        - Null and NaN: the slice "missing", the last one.

        Args:
            column: What people call the column.
            values: One value per row: a list, a NumPy array, a pandas Series, an Arrow array.
            expected: Values that are listed even where no row has them, one slice each however rare; with them numbers
                are not cut into parts. In a column of numbers "1", "1.0" and "1e0" are one value. Truth values are
                "true" and "false".
            most: How many different values have a slice of their own (`expected` ones on top).
            bins: How many parts of a column of numbers, at least 2.

        Raises:
            ValueError: a list in a row, `most` below 1, `bins` below 2.

        >>> Slices.of("price", np.arange(100) / 2).names
        ('0 to 9.5', '10 to 19.5', '20 to 29.5', '30 to 39.5', '40 to 49.5')
        """
        faults = [f"`most` must be at least 1, got {most}"] if most < 1 else []
        faults += [f"`bins` must be at least 2, got {bins}"] if bins < 2 else []
        if faults:
            raise ValueError("; ".join(faults))
        codes, uniques = _factorised(column, values)
        ordered = _ordered(uniques)
        if ordered and not expected and len(uniques) > most:
            names, codes = _binned(codes.astype(np.intp), np.asarray(uniques), bins)
        else:
            names, codes = _valued(codes, uniques, expected_texts(expected or (), uniques), most, ordered)
        if (codes < 0).any():
            names = [*names, free_name(MISSING, names)]
            codes = np.where(codes < 0, len(names) - 1, codes)
        return cls(column, tuple(names), np.asarray(codes, dtype=np.intp))

    @property
    def count(self) -> int:
        """How many slices there are, empty ones included."""
        return len(self.names)

    def rows(self) -> IntArray:
        """How many rows each slice holds, `(S,)`."""
        return np.bincount(self.codes, minlength=self.count)

    def take(self, rows: npt.NDArray[np.bool_] | IntArray) -> Slices:
        """The same slices over some of the rows (a mask or row numbers): one that is left without a row stays listed.

        >>> Slices("platform", ("web", "app"), np.array([0, 1, 0])).take(np.array([0, 2])).rows().tolist()
        [2, 0]
        """
        return Slices(self.column, self.names, self.codes[rows])


def _factorised(column: str, values: Any) -> tuple[npt.NDArray[Any], Any]:
    """Codes `(N,)`, -1 where missing, and the different values; lists are refused."""
    if hasattr(values, "type") and hasattr(values, "to_pandas"):  # an Arrow array: no import of pyarrow for the others
        values = _arrow_series(values)
    elif isinstance(values, np.ndarray) and values.ndim != 1:
        raise ValueError(f"`{column}` must hold one value per row, got an array of shape {values.shape}")
    cells = pd.Series(values)
    if isinstance(cells.dtype, pd.CategoricalDtype):  # numbers in categories are in their own order too
        cells = cells.astype(object if cells.isna().any() else cells.cat.categories.dtype)
    try:
        codes, uniques = pd.factorize(cells)
        nested = [value for value in uniques if isinstance(value, tuple)] if uniques.dtype == object else []
    except TypeError:  # lists, arrays and dicts cannot be hashed
        codes, uniques = np.empty(0, np.intp), pd.Index(cells)
        nested = [cell for cell in cells if not isinstance(cell, Hashable)]
    if nested:
        raise ValueError(f"`{column}` must hold one value per row, got {nested[0]!r}")
    return codes, uniques


def _arrow_series(values: Any) -> pd.Series:
    import pyarrow as pa

    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_dictionary(values.type):
        values = values.cast(kind)
    if pa.types.is_decimal(kind):
        values = values.cast(pa.float64())
    if pa.types.is_date(kind):
        values = values.cast(pa.timestamp("s"))
    if pa.types.is_integer(kind):  # through float64, nulls would turn large integers into their neighbours
        return values.to_pandas(types_mapper={values.type: pd.Int64Dtype()}.get)
    return values.to_pandas()


def _ordered(uniques: Any) -> bool:
    """Whether the values are numbers or times, which have an order of their own."""
    kind = uniques.dtype
    return bool(
        (pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind))
        or pd.api.types.is_datetime64_any_dtype(kind)
        or pd.api.types.is_timedelta64_dtype(kind)
    )


def _valued(
    codes: npt.NDArray[Any], uniques: Any, expected: list[str], most: int, ordered: bool
) -> tuple[list[str], npt.NDArray[Any]]:
    """One slice per value, the rarest together."""
    texts = [value_text(value) for value in uniques]
    distinct = list(dict.fromkeys(texts))  # 1 and "1" of a mixed column read the same: one slice
    place = {text: index for index, text in enumerate(distinct)}
    codes = _lookup(np.array([place[text] for text in texts], dtype=np.intp), codes)
    rows = np.bincount(codes[codes >= 0], minlength=len(distinct))
    by_size = [distinct[index] for index in np.argsort(-rows, kind="stable")]
    own = [text for text in by_size if text in set(expected)]
    free = [text for text in by_size if text not in set(expected)]
    # a slice "other (1 value)" would say less than the value itself
    kept = set(own) | set(free if len(free) <= most + 1 else free[:most])
    others = [text for text in free if text not in kept]
    shown = [text for text in by_size if text in kept]
    if ordered:
        rank = {texts[index]: order for order, index in enumerate(np.argsort(np.asarray(uniques), kind="stable"))}
        shown.sort(key=lambda text: rank[text])
    shown += [text for text in dict.fromkeys(expected) if text not in place]
    names = [*shown, free_name(f"other ({len(others)} values)", shown)] if others else shown
    target = {text: index for index, text in enumerate(shown)}
    return names, _lookup(np.array([target.get(text, len(shown)) for text in distinct], dtype=np.intp), codes)


def _binned(codes: IntArray, uniques: npt.NDArray[Any], bins: int) -> tuple[list[str], IntArray]:
    """Parts of about equally many rows; rows of one value stay together."""
    order = np.argsort(uniques, kind="stable")
    rows = np.bincount(codes[codes >= 0], minlength=len(uniques))[order]
    middle = (np.cumsum(rows) - rows / 2.0) / rows.sum()  # where each value stands among the rows
    part = np.unique(np.minimum((middle * bins).astype(np.intp), bins - 1), return_inverse=True)[1]
    first = np.flatnonzero(np.diff(part, prepend=-1))
    last = np.append(first[1:], len(part)) - 1
    low, high = uniques[order][first], uniques[order][last]
    names: list[str] = []
    for digits in (4, 6, 9, 17):  # as many as it takes to tell the parts from one another
        edges = [(edge_text(a, digits), edge_text(b, digits)) for a, b in zip(low, high)]
        names = [a if a == b else f"{a} to {b}" for a, b in edges]
        if len(set(names)) == len(names):
            break
    of_unique = np.empty(len(uniques), dtype=np.intp)
    of_unique[order] = part
    return names, _lookup(of_unique, codes)


def _lookup(table: IntArray, codes: npt.NDArray[Any]) -> IntArray:
    """`table[codes]` with -1 (missing) kept."""
    return np.append(table, -1)[codes]
