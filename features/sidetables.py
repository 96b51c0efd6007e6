"""Side tables: item and user columns stored once per id and joined into the log when asked for by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from features.errors import Fault, InputError
from features.ids import IdIndex
from features.reading import as_type, common_type, read_batches, schema_of


class SideTable:
    """The items or users table, keyed by one id column. Columns are loaded when first asked for, and once.

    Parameters
    ----------
    files : list of Path
        The Parquet files that hold it.
    key : str
        Its id column, named as in the impressions.
    """

    def __init__(self, files: Sequence[Path], key: str) -> None:
        self.files, self.key = list(files), key
        self._loaded: dict[str, pa.Array] = {}

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        """Columns and their types over all files of the table."""
        return merged_types(self.files)

    def take(self, ids: pa.Array, columns: Sequence[str]) -> list[pa.Array]:
        """The values (N,) of each of `columns` for `ids` (N,); an id that is null or unknown gives null."""
        self._load(columns)
        rows = self._index.rows(ids)
        indices = pa.array(rows, mask=rows < 0)
        return [self._loaded[column].take(indices) for column in columns]

    @cached_property
    def ids(self) -> pa.Array:
        """The key (V,) of every row of the table, in order."""
        self._load([self.key])
        return self._loaded[self.key]

    @cached_property
    def _index(self) -> IdIndex:
        if self.ids.null_count or len(self.ids.unique()) < len(self.ids):
            message = "must be a key: one row per id and no null ids"
            raise InputError(Fault(message, self.files[0], self.key))
        return IdIndex(self.ids)

    def _load(self, columns: Sequence[str]) -> None:
        missing = [column for column in dict.fromkeys(columns) if column not in self._loaded]
        if not missing:
            return
        chunks: dict[str, list[pa.Array]] = {column: [] for column in missing}
        for file in self.files:
            for batch in read_batches(file, missing, 65536):
                for column in missing:
                    chunks[column].append(as_type(batch.column(column), self.types[column]))
        for column in missing:
            self._loaded[column] = pa.chunked_array(chunks[column], self.types[column]).combine_chunks()


def merged_types(files: Sequence[Path]) -> dict[str, pa.DataType]:
    """Columns that every one of `files` has, each with the type that holds all files' values."""
    schemas = [schema_of(file) for file in files]
    merged: dict[str, pa.DataType] = {}
    for name in dict.fromkeys(name for schema in schemas for name in schema.names):
        present = [schema.field(name).type for schema in schemas if name in schema.names]
        dtype = common_type(present)
        if dtype is not None and len(present) == len(schemas):
            merged[name] = dtype
    return merged


def missing_column(files: Sequence[Path], name: str) -> list[Fault]:
    """Why `merged_types(files)` has no column `name`: one fault per file that lacks it, or one for types that clash."""
    types = {file: dict(zip(schema.names, schema.types, strict=True)) for file in files for schema in [schema_of(file)]}
    lacking = [Fault("column is missing", file, name) for file in files if name not in types[file]]
    if lacking:
        return lacking
    found = " and ".join(dict.fromkeys(str(types[file][name]) for file in files))
    return [Fault(f"must have one type in all files, got {found}", files[-1], name)]
