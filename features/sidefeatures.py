"""Features of the item and user tables: encoded once per id, gathered by id for every impression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.fields import FieldEncoders, prefixed, unprefixed
from features.tables import Block, Columns
from features.vocabulary import Vocabulary

BLOCK_ROWS = 32768  # rows encoded at a time: the temporaries of one block stay in the processor's cache


@dataclass(frozen=True, eq=False)
class SideRows:
    """The encoded rows of a side table; row 0 stands for an id that the table does not have.

    Parameters
    ----------
    key : Vocabulary
        From ids to rows 1..V.
    ids : array `(V + 1, F)` int32
    lists : one array `(V + 1, L)` int32 per list field
    numeric : array `(V + 1, M)` float32
    """

    key: Vocabulary
    ids: np.ndarray
    lists: tuple[np.ndarray, ...]
    numeric: np.ndarray


@dataclass(frozen=True, eq=False)
class SideFeatures:
    """The features of one side table, with its encoded rows where they are held.

    Joining the raw columns into every impression would encode an item once per impression; this encodes it once, and
    candidates at scoring need nothing but their ids. A column that the candidates carry themselves wins.

    Parameters
    ----------
    key_column : str
        The id column of the impressions.
    fields : FieldEncoders
        Of the table's columns.
    absent : str or None
        Name of the numeric column that is 1 where nothing is known of an id (every column of the table missing),
        0 otherwise. None: training had no such row. It spares one indicator per column of a table with gaps in its ids.
    rows : SideRows or None
        The encoded rows; None when they are not held and scoring must bring the columns.
    """

    key_column: str
    fields: FieldEncoders
    absent: str | None = None
    rows: SideRows | None = None

    @cached_property
    def numeric_names(self) -> tuple[str, ...]:
        """What each column of the numeric matrix means."""
        return (*self.fields.numeric_names, *([self.absent] if self.absent else []))

    def required(self, available: Columns | None = None) -> list[str]:
        """The columns that the impressions must bring, given those that are `available`."""
        missing = [name for name in self.fields.columns if available is None or name not in available]
        if self.rows is not None:
            return [self.key_column] if missing else []
        return missing

    def hold(self, ids: pa.Array, columns: Columns, list_lengths: Sequence[int]) -> SideFeatures:
        """The same features with the rows of a table encoded.

        Parameters
        ----------
        ids : array `(V,)` of distinct ids
        columns : Columns
            The table, V rows, its columns under the names of the features.
        list_lengths : one int per list field
            The width L of its padded matrix.
        """
        size = len(columns) + 1
        rows = SideRows(
            _key(self.key_column, ids),
            np.zeros((size, len(self.fields.scalars)), np.int32),
            tuple(np.zeros((size, length), np.int32) for length in list_lengths),
            np.zeros((size, len(self.numeric_names)), np.float32),
        )
        unheld = SideFeatures(self.key_column, self.fields, self.absent)
        nothing = pa.table({name: pa.nulls(1) for name in self.fields.columns})
        for table, start in ((Columns(nothing), 0), (columns, 1)):
            unheld.encode_all(table, rows.ids[start:], [bag[start:] for bag in rows.lists], rows.numeric[start:])
        return SideFeatures(self.key_column, self.fields, self.absent, rows)

    def encode_all(self, columns: Columns, ids: np.ndarray, lists: Sequence[np.ndarray], numeric: np.ndarray) -> None:
        """Write every row of `columns`, block by block."""
        for start in range(0, len(columns), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(columns))
            self.encode(columns, start, stop, ids[start:stop], [bag[start:stop] for bag in lists], numeric[start:stop])

    def encode(
        self,
        columns: Columns,
        start: int,
        stop: int,
        ids: np.ndarray,
        lists: Sequence[np.ndarray],
        numeric: np.ndarray,
    ) -> None:
        """Write rows `start` to `stop` of the impressions; arguments as for `FieldEncoders.encode`."""
        given = [name for name in self.fields.columns if name in columns]
        unknown: np.ndarray | None = None
        if self.rows is not None and len(given) < len(self.fields.columns):
            found = self.rows.key.encode(columns.block(self.key_column, start, stop))
            ids[...] = self.rows.ids[found]
            numeric[...] = self.rows.numeric[found]
            for bag, rows in zip(lists, self.rows.lists, strict=True):
                bag[...] = rows[found]
            unknown = numeric[:, -1] > 0 if self.absent else None
        if given:
            self.fields.encode(columns, start, stop, ids, lists, numeric, only=given)
            if self.absent:
                known = np.zeros(stop - start, bool) if unknown is None else ~unknown
                for name in given:
                    known |= present(columns.block(name, start, stop))
                numeric[:, -1] = ~known

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able metadata and arrays for `from_state`."""
        meta, arrays = self.fields.state()
        arrays = prefixed("fields", arrays)
        described: dict[str, Any] = {"key_column": self.key_column, "fields": meta, "absent": self.absent, "rows": None}
        if self.rows is not None:
            key, keys = self.rows.key.state()
            described["rows"] = {"key": key, "lists": len(self.rows.lists)}
            arrays |= prefixed("key", keys)
            arrays |= {"rows/ids": self.rows.ids, "rows/numeric": self.rows.numeric}
            arrays |= {f"rows/list{j}": bag for j, bag in enumerate(self.rows.lists)}
        return described, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SideFeatures:
        """The features that `state` described."""
        rows = None
        if meta["rows"] is not None:
            rows = SideRows(
                Vocabulary.from_state(meta["rows"]["key"], unprefixed("key", arrays)),
                arrays["rows/ids"],
                tuple(arrays[f"rows/list{j}"] for j in range(meta["rows"]["lists"])),
                arrays["rows/numeric"],
            )
        fields = FieldEncoders.from_state(meta["fields"], unprefixed("fields", arrays))
        return cls(meta["key_column"], fields, meta["absent"], rows)


def present(block: Block) -> np.ndarray:
    """Where `(n,)` a column has a value: neither null nor NaN.

    Examples
    --------
    >>> present(pa.array([1.0, None, float("nan")])).tolist()
    [True, False, False]
    """
    if isinstance(block, np.ndarray):
        return ~np.isnan(block) if block.dtype.kind == "f" else np.ones(len(block), bool)
    is_float = pa.types.is_floating(block.type)
    mask: np.ndarray = pc.invert(pc.is_null(block, nan_is_null=is_float)).to_numpy(zero_copy_only=False)
    return mask


def _key(name: str, ids: pa.Array) -> Vocabulary:
    """Rows 1..V of a side table in its own order."""
    if pa.types.is_integer(ids.type):
        return Vocabulary(name, "int", ids.to_numpy().astype(np.int64))
    return Vocabulary(name, "string", ids.to_pylist())


__all__ = ["BLOCK_ROWS", "SideFeatures", "SideRows", "present"]
