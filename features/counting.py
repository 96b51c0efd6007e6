"""Counting the values of a column batch by batch, to know which are frequent enough for an index of their own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError
from features.tables import one_chunk
from features.vocabulary import Vocabulary, as_integers, key_kind, type_fault

MERGE_ROWS = 1 << 20  # counts of batches are added up when this many have come together


class VocabularyCounter:
    """Counts the values of one column batch by batch and keeps those that are frequent enough.

    Parameters
    ----------
    name : str
        The column, for messages.

    Examples
    --------
    >>> counter = VocabularyCounter("device")
    >>> counter.add(pa.array(["phone", "desktop", "phone", None]))
    >>> counter.add(pa.array(["phone", "tablet", "desktop"]))
    >>> counter.vocabulary(min_count=2).keys
    ['phone', 'desktop']
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind: str | None = None
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._merged_rows = 0

    def add(self, column: pa.Array | pa.ChunkedArray, weights: np.ndarray | None = None) -> None:
        """Count a batch; `weights` `(n,)` int64 counts each row that often."""
        values = one_chunk(column)
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pa.types.is_null(values.type) or values.null_count == len(values):
            return
        if key_kind(values.type) == "string":
            self._accept("string", str(values.type))
            values = values.cast(pa.large_string())
        else:
            values = as_integers(values, self.name, self.kind)
            self._accept("int", str(values.type))
            values = values.cast(pa.int64(), safe=False)
        if weights is None:
            counted = values.value_counts()
            keys, counts = counted.field("values"), counted.field("counts")
        else:
            keys, counts = values, pa.array(weights, pa.int64())
        table = pa.table({"key": keys, "count": counts})
        if values.null_count:
            table = table.filter(pc.is_valid(table["key"]))
        self._pending.append(table)
        self._pending_rows += table.num_rows
        if self._pending_rows > max(MERGE_ROWS, 2 * self._merged_rows):
            self._merge()

    def _accept(self, kind: str, found: str) -> None:
        if self.kind is not None and self.kind != kind:
            raise InputError(type_fault(self.name, self.kind, found))
        self.kind = kind

    def _merge(self) -> pa.Table:
        if not self._pending:
            return pa.table({"key": pa.array([], pa.int64()), "count": pa.array([], pa.int64())})
        table = pa.concat_tables(self._pending).group_by("key", use_threads=False).aggregate([("count", "sum")])
        table = table.rename_columns(["key", "count"]).select(["key", "count"])
        self._pending, self._pending_rows, self._merged_rows = [table], 0, table.num_rows
        return table

    def counts(self) -> tuple[np.ndarray | list[str], np.ndarray]:
        """Every value seen and how often (int64), the most frequent first, ties in the order of the values."""
        table = self._merge()
        table = table.take(pc.sort_indices(table, sort_keys=[("count", "descending"), ("key", "ascending")]))
        keys = table["key"].to_pylist() if self.kind == "string" else table["key"].to_numpy()
        return keys, table["count"].to_numpy()

    def vocabulary(self, min_count: int) -> Vocabulary:
        """The values seen at least `min_count` times; the most frequent come first, which keeps hot rows together."""
        if min_count < 1:
            raise ValueError(f"`min_count` must be at least 1, got {min_count}")
        keys, counts = self.counts()
        return Vocabulary(self.name, self.kind, keys[: int(np.searchsorted(-counts, -min_count, side="right"))])


__all__ = ["VocabularyCounter"]
