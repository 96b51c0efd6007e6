"""Values of a TOML table by their kind: what is of another kind, or known to nobody, becomes a fault with its key."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features import Fault


class Reader:
    """Takes values out of a table and notes what is wrong with them.

    Args:
        path: The file, for the faults.
        table: Its content.

    Attributes:
        faults: What was found wrong so far.

    >>> reader, values = Reader(Path("gate.toml"), {"level": "high", "levle": 1}), {}
    >>> reader.number(values, "level")
    >>> reader.finish()
    >>> [str(fault) for fault in reader.faults]
    ["gate.toml: level: must be a number, got 'high'", 'gate.toml: levle: unknown key (there are level)']
    """

    def __init__(self, path: Path, table: Mapping[str, Any]) -> None:
        self.path, self.faults = path, list[Fault]()
        self._table = table
        self._known: list[str] = []

    def number(self, values: dict[str, Any], key: str) -> None:
        """A finite number, into `values`."""
        found = self._take(key)
        if found is not None and self._numeric(found, key):
            values[key] = float(found)

    def whole_number(self, values: dict[str, Any], key: str) -> None:
        """A whole number, into `values`."""
        found = self._take(key)
        if isinstance(found, int) and not isinstance(found, bool):
            values[key] = found
        elif found is not None:
            self._fault(key, "must be a whole number", found)

    def texts(self, values: dict[str, Any], key: str) -> None:
        """A list of texts, into `values` as a tuple."""
        found = self._take(key)
        if found is not None and self._texts(found, key):
            values[key] = tuple(found)

    def numbers(self, values: dict[str, Any], key: str, name: str) -> None:
        """A table of numbers, into `values` under `name`."""
        found = self._take(key)
        if found is not None and self._is_table(found, f"[{key}]"):
            numbers = self._numbers(found, key)
            if numbers or not found:  # a table whose every value is at fault is not an empty one
                values[name] = numbers

    def tables(self, key: str) -> dict[str, dict[str, float]]:
        """A table of tables of numbers."""
        found = self._take(key)
        if found is None or not self._is_table(found, f"[{key}]"):
            return {}
        inner = {name: own for name, own in found.items() if self._is_table(own, f"[{key}.{name}]")}
        return {name: self._numbers(own, f"{key}.{name}") for name, own in inner.items()}

    def text_lists(self, values: dict[str, Any], key: str) -> None:
        """A table of lists of texts, into `values`."""
        found = self._take(key)
        if found is not None and self._is_table(found, f"[{key}]"):
            values[key] = {name: tuple(own) for name, own in found.items() if self._texts(own, f"[{key}].{name}")}

    def finish(self) -> None:
        """Every key that nothing took is unknown."""
        for key in self._table:
            if key not in self._known:
                self._fault(key, f"unknown key (there are {', '.join(self._known)})")

    def _take(self, key: str) -> Any:
        self._known.append(key)
        return self._table.get(key)

    def _numbers(self, table: Mapping[str, Any], key: str) -> dict[str, float]:
        return {name: float(value) for name, value in table.items() if self._numeric(value, f"[{key}].{name}")}

    def _numeric(self, value: Any, key: str) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._fault(key, "must be a number", value)
        elif not abs(value) <= sys.float_info.max:  # NaN, infinities, and whole numbers that no float holds
            self._fault(key, "must be a finite number", value)
        else:
            return True
        return False

    def _texts(self, value: Any, key: str) -> bool:
        good = isinstance(value, list) and all(isinstance(text, str) for text in value)
        if not good:
            self._fault(key, "must be a list of texts", value)
        return good

    def _is_table(self, value: Any, key: str) -> bool:
        if not isinstance(value, Mapping):
            self._fault(key, "must be a table", value)
        return isinstance(value, Mapping)

    def _fault(self, key: str, message: str, value: Any = None) -> None:
        self.faults.append(Fault(message, self.path, key=key, value=value))
