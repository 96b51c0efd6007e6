"""How the values of a column are written where they name a slice."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd

MISSING = "missing"


def value_text(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return f"{float(value):.17g}" if float(value) != float(f"{float(value):.6g}") else f"{float(value):.6g}"
    if isinstance(value, np.datetime64 | pd.Timestamp):
        return str(pd.Timestamp(value)).removesuffix(" 00:00:00")
    if isinstance(value, np.timedelta64 | pd.Timedelta):
        return str(pd.Timedelta(value))
    text = str(value)
    return text if text.strip() else repr(text)


def edge_text(value: Any, digits: int) -> str:
    """One end of a part of numbers or times."""
    if isinstance(value, np.datetime64 | pd.Timestamp):
        stamp = pd.Timestamp(value)
        return str(stamp.date()) if digits == 4 else str(stamp)
    if isinstance(value, np.timedelta64 | pd.Timedelta):
        return str(pd.Timedelta(value))
    if isinstance(value, int | np.integer):
        return f"{int(value):,d}"
    if isinstance(value, float | np.floating):
        number = float(value)
        return f"{number:,.0f}" if 10.0 ** min(digits, 15) <= abs(number) < 1e15 else f"{number:.{digits}g}"
    return str(value)


def free_name(name: str, taken: Sequence[str]) -> str:
    """`name`, or a longer one where a value of the column is called the same."""
    while name in taken:
        name += " (no value)" if name.startswith(MISSING) else " (together)"
    return name


def expected_texts(expected: Sequence[str], uniques: Any) -> list[str]:
    """Expected values as the column's own are written: numbers are known by their value, not by their spelling.

    Args:
        expected: As people write them.
        uniques: The column's different values.

    >>> expected_texts(["2.0", "1e0", "3.5"], np.array([1.0, 2.0]))
    ['2', '1', '3.5']
    """
    texts = [value_text(value) for value in expected]
    kind = uniques.dtype
    if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        return texts
    names = {value: value_text(own) for value, own in zip(np.asarray(uniques).tolist(), uniques)}
    return [names.setdefault(_number(text, kind), text) for text in texts]


def _number(text: str, kind: Any) -> Hashable:
    """The number that a text spells, as a column of this type holds it; the text itself where it spells none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if number.is_nan():
        return text
    if pd.api.types.is_integer_dtype(kind):
        return number  # exact: a float would take 2^60 + 1 for 2^60
    with np.errstate(over="ignore"):
        return float(np.asarray(float(number), dtype=getattr(kind, "numpy_dtype", kind)))
