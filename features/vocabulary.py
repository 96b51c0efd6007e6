"""Which index stands for which id: 64-bit integers or strings, with one bucket for everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import Fault, InputError
from features.tables import Block, primitive

DENSE_ENTRIES = 1 << 20  # a lookup table of at most 4 MB is worth it for any number of ids
DENSE_RATIO = 4  # beyond that, at most four slots per id


class Vocabulary:
    """Indices 1..V for V known keys; index 0 is the bucket for unseen, rare and missing values.

    Integers are looked up in a table where their range is narrow, else in a hash table built once; strings first shrink
    to the distinct ones of the batch. An unsigned id above 2**63 is its own two's complement: still one id, one index.

    Parameters
    ----------
    name : str
        The column, for messages.
    kind : "int", "string" or None
        What the column holds; None (nothing but nulls was seen) accepts anything and knows nothing.
    keys : array of int64, or iterable of str
        The known values in the order of their indices, without duplicates.

    Examples
    --------
    >>> vocabulary = Vocabulary("item", "int", np.array([2**60 + 1, 7]))
    >>> vocabulary.encode(np.array([7, 2**60 + 1, 2**60])).tolist()
    [2, 1, 0]
    >>> Vocabulary("device", "string", ["phone", "desktop"]).encode(pa.array(["desktop", None, "fridge"])).tolist()
    [2, 0, 0]
    """

    def __init__(self, name: str, kind: str | None, keys: np.ndarray | Iterable[str] = ()) -> None:
        if kind not in ("int", "string", None):
            raise ValueError(f'`kind` must be "int", "string" or None, got {kind!r}')
        self.name, self.kind = name, kind
        self._dense: np.ndarray | None = None
        if kind == "int":
            self._keys = np.ascontiguousarray(keys, dtype=np.int64)
            self._prepare_integers()
        else:
            strings = list(keys)
            self._strings: dict[str, int] = {key: index for index, key in enumerate(strings, start=1)}
            self._string_array = pa.array(strings, pa.large_string())
            if len(self._strings) != len(strings):
                repeated = len(strings) - len(self._strings)
                raise ValueError(f"`keys` of `{name}` must be distinct, got {repeated} repeated")

    def _prepare_integers(self) -> None:
        keys = self._keys
        self._low, self._high = (int(keys.min()), int(keys.max())) if len(keys) else (0, -1)
        span = self._high - self._low + 1
        limits = np.iinfo(np.int64)
        narrow = span <= max(DENSE_ENTRIES, DENSE_RATIO * len(keys))
        if len(keys) and narrow and self._low > limits.min and self._high < limits.max:
            # one slot to either side of the range stays 0 and catches every value outside
            self._dense = np.zeros(span + 2, np.int32)
            self._dense[keys - (self._low - 1)] = np.arange(1, len(keys) + 1, dtype=np.int32)
            distinct = int(np.count_nonzero(self._dense)) == len(keys)
        else:
            self._index = pd.Index(keys)
            distinct = self._index.is_unique  # builds the hash table now: lazily, two threads could see half of it
            if distinct and len(keys):
                self._index.get_indexer(pd.Index(keys[:1]))
        if not distinct:
            repeated = len(keys) - len(np.unique(keys))
            raise ValueError(f"`keys` of `{self.name}` must be distinct, got {repeated} repeated")

    def __len__(self) -> int:
        """How many keys are known; indices run from 0 to this number."""
        return len(self._keys) if self.kind == "int" else len(self._strings)

    @property
    def keys(self) -> np.ndarray | list[str]:
        """The known values in the order of their indices: int64, or a list of strings."""
        return self._keys if self.kind == "int" else list(self._strings)

    def encode(self, column: Block) -> np.ndarray:
        """Indices `(n,)` int32 of the values of a column, 0 where a value is unknown or missing.

        Raises
        ------
        InputError
            The column holds strings where training saw integers, or the reverse.
        """
        if isinstance(column, np.ndarray):
            if column.dtype.kind in "iub":
                return self._encode_integers(column, None)
            column = pa.array(column, from_pandas=True)
        if pa.types.is_dictionary(column.type):
            return self._encode_dictionary(column)
        if self.kind is None or pa.types.is_null(column.type):
            return np.zeros(len(column), np.int32)
        kind = key_kind(column.type)
        if kind == "string":
            return self._encode_dictionary(column.dictionary_encode())
        return self._encode_integers(*primitive(as_integers(column, self.name, self.kind)))

    def _encode_integers(self, values: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
        if self.kind == "string":
            raise InputError(type_fault(self.name, "string", str(values.dtype)))
        if self.kind is None or not len(self):
            return np.zeros(len(values), np.int32)
        values = values.astype(np.int64, copy=False)
        if self._dense is None:
            codes: np.ndarray = (self._index.get_indexer(pd.Index(values)) + 1).astype(np.int32)
        else:
            slots = np.clip(values, self._low - 1, self._high + 1)
            slots -= self._low - 1
            codes = self._dense[slots]
        if missing is not None:
            codes[missing] = 0
        return codes

    def _encode_dictionary(self, column: pa.DictionaryArray) -> np.ndarray:
        if len(column.dictionary) > 2 * len(column):  # a few rows of a large dictionary: leave its other values alone
            column = column.dictionary_decode().dictionary_encode()
        dictionary = column.dictionary
        is_text = key_kind(dictionary.type) == "string"
        codes = self._encode_strings(dictionary) if is_text else self.encode(dictionary)
        slots, missing = primitive(column.indices)
        if not len(codes):
            return np.zeros(len(column), np.int32)
        result: np.ndarray = codes[slots]
        if missing is not None:
            result[missing] = 0
        return result

    def _encode_strings(self, values: pa.Array) -> np.ndarray:
        if self.kind == "int":
            raise InputError(type_fault(self.name, "int", str(values.type)))
        if len(values) * 4 > len(self):  # many against few: one vectorised pass that hashes the whole vocabulary
            found = pc.index_in(values.cast(pa.large_string()), value_set=self._string_array)
            return np.asarray(pc.add(pc.fill_null(found, -1), 1).to_numpy(zero_copy_only=False), np.int32)
        strings = self._strings
        return np.fromiter((strings.get(value, 0) for value in values.to_pylist()), np.int32, len(values))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What `from_state` needs: JSON-able metadata (with string keys) and arrays (integer keys)."""
        meta: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.kind == "int":
            return meta, {"keys": self._keys}
        return {**meta, "keys": list(self._strings)}, {}

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Vocabulary:
        """The vocabulary that `state` described."""
        return cls(meta["name"], meta["kind"], arrays["keys"] if meta["kind"] == "int" else meta["keys"])


def key_kind(data_type: pa.DataType) -> str | None:
    """The kind of key an Arrow type can be: "string", "int" (also booleans), "float" (whole numbers only) or None."""
    types = pa.types
    if types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type):
        return "string"
    if types.is_integer(data_type) or types.is_boolean(data_type):
        return "int"
    return "float" if types.is_floating(data_type) else None


def as_integers(column: pa.Array, name: str, expected: str | None) -> pa.Array:
    """An id column as an integer or boolean array; floats with whole values (pandas with gaps) become integers.

    Raises
    ------
    InputError
        The column holds something else.
    """
    kind = key_kind(column.type)
    if kind == "int":
        return column
    if kind == "float" and expected != "string":
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise InputError(type_fault(name, "int", f"{column.type} with fractions")) from error
    raise InputError(type_fault(name, expected, str(column.type)))


def type_fault(name: str, expected: str | None, found: str) -> Fault:
    """The fault of an id column of the wrong type."""
    wanted = {"int": "integers, as in training", "string": "strings, as in training"}
    kinds = wanted.get(expected or "", "integers, booleans or strings")
    return Fault(f"must hold {kinds}, got type {found}", column=name)


__all__ = ["Vocabulary", "as_integers", "key_kind", "type_fault"]
