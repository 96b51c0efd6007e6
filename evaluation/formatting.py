"""The one place where a number becomes text: report, figures and messages show the same digits of the same number."""

from __future__ import annotations

import math

MISSING = "–"  # an en dash


def format_number(value: float | None, *, signed: bool = False) -> str:
    """A count in full with thousands separators, any other number with four significant digits.

    Args:
        value: A count (int), a number (float), or None / NaN for what is undefined.
        signed: Write the plus sign too: for differences.

    >>> format_number(1234567), format_number(0.05), format_number(0.000012345), format_number(None)
    ('1,234,567', '0.05000', '1.234e-05', '–')
    >>> format_number(0.0123, signed=True)
    '+0.01230'
    """
    if value is None or math.isnan(value):
        return MISSING
    sign = "+" if signed else ""
    if isinstance(value, int):
        return f"{value:{sign},d}"
    if value == 0.0:
        return "0"
    size = abs(value)
    if math.isinf(value) or size < 1e-4 or size >= 1e7:
        return f"{value:{sign}.3e}"
    if size >= 9999.5:
        return f"{value:{sign},.0f}"
    return f"{value:{sign}#.4g}".rstrip(".")


def format_p(value: float | None) -> str:
    """A p-value with the two digits that count, and no zeros for what is beyond doubt.

    >>> format_p(0.006), format_p(0.0123), format_p(1e-9), format_p(None)
    ('0.006', '0.012', '< 0.000001', '–')
    """
    if value is None or math.isnan(value):
        return MISSING
    return "< 0.000001" if value < 1e-6 else f"{value:.2g}"


def chance(value: float) -> str:
    """A p-value in a sentence.

    >>> chance(0.0012), chance(1e-9)
    ('p = 0.0012', 'p < 0.000001')
    """
    text = format_p(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def format_interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """An interval, or nothing where it is undefined.

    >>> format_interval(0.1, 0.25)
    '[0.1000, 0.2500]'
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{format_number(low, signed=signed)}, {format_number(high, signed=signed)}]"
