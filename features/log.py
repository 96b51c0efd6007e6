"""The tables of a data set, read in a stream: files resolved, columns found, side tables joined by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import Fault, InputError, raise_faults
from features.ids import is_id_type
from features.reading import as_type, read_batches, resolve_files, rows_of, time_seconds
from features.schema import TABLES, Schema
from features.sidetables import SideTable, merged_types, missing_column

BATCH_ROWS = 131072


@dataclass(frozen=True)
class RawBatch:
    """Consecutive rows of one file, whatever their role: `first_row` counts in the file, `start` in the whole log."""

    table: pa.Table
    file: Path
    first_row: int
    start: int


class Log:
    """The impressions that a schema describes, with columns of its side tables at hand.

    Parameters
    ----------
    schema : Schema
    folder : Path or str
        What the schema's file names are relative to.
    path : Path or str, optional
        The dataset.toml it came from, for messages.
    """

    def __init__(self, schema: Schema, folder: Path | str, path: Path | str | None = None) -> None:
        self.schema = schema
        self.folder = Path(folder)
        self.path = Path(path) if path is not None else self.folder / "dataset.toml"

    @cached_property
    def impression_files(self) -> list[Path]:
        """The Parquet files of the log, in the order of its rows."""
        return resolve_files(self.folder, self.schema.files.impressions)

    @cached_property
    def file_rows(self) -> list[int]:
        """Rows of each of `impression_files`."""
        return [rows_of(file) for file in self.impression_files]

    @property
    def num_rows(self) -> int:
        """Rows of the log as it lies there, dropped duplicates included."""
        return sum(self.file_rows)

    @cached_property
    def side_tables(self) -> dict[str, SideTable]:
        """The declared side tables by name ("items", "users")."""
        return {
            name: SideTable(resolve_files(self.folder, paths), key) for name, (paths, key) in self.side_files.items()
        }

    @property
    def side_files(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """The files, as the schema names them, and the key of each declared side table."""
        files, columns = self.schema.files, self.schema.columns
        declared = {"items": (files.items, columns.item), "users": (files.users, columns.user)}
        return {name: (paths, key) for name, (paths, key) in declared.items() if paths is not None and key is not None}

    @property
    def vector_file(self) -> Path:
        """The file of item vectors.

        Raises
        ------
        InputError
            There is none of this name, with the remedy; or there are several.
        """
        try:
            files = resolve_files(self.folder, [str(self.schema.files.vectors)])
        except InputError as error:
            made = f"make it by `galleryrank embed {self.path} --out DIR`, or go without (`--vectors none`)"
            raise InputError([replace(f, message=f"{f.message}: {made}") for f in error.faults]) from error
        if len(files) > 1:
            raise InputError(Fault("must be one file", self.path, key="[files].vectors", value=f"{len(files)} files"))
        return files[0]

    @property
    def files(self) -> list[Path]:
        """Every data file: the log, its side tables, its vectors."""
        side = [file for table in self.side_tables.values() for file in table.files]
        return [*self.impression_files, *side, *([self.vector_file] if self.schema.files.vectors else [])]

    def replace_files(self, impressions: Sequence[Path], side_tables: Mapping[str, SideTable]) -> Log:
        """The same log over other files, e.g. over those that can be read."""
        other = Log(self.schema, self.folder, self.path)
        other.impression_files, other.side_tables = list(impressions), dict(side_tables)
        return other

    @cached_property
    def types(self) -> dict[str, dict[str, pa.DataType]]:
        """Columns and types of each table: types["impressions"]["click"]; the key of a side table is left out."""
        side = {
            name: {c: t for c, t in table.types.items() if c != table.key} for name, table in self.side_tables.items()
        }
        return {"impressions": merged_types(self.impression_files), **side}

    def place(self, name: str) -> tuple[str, str]:
        """The (table, column) that `name` means: "star" is looked for in every table, "items.star" in the items.

        Raises
        ------
        InputError
            No table has the column, some file of the table lacks it, or several tables have it.
        """
        if name in self.types["impressions"] and ("." in name or name in self.schema.own_columns):
            return "impressions", name
        table, dot, column = name.partition(".")
        if dot and table in TABLES:
            if column in self.types.get(table, {}):
                return table, column
            raise InputError(self._missing(column, table))
        found = [table for table, types in self.types.items() if name in types]
        if len(found) > 1:
            choice = " or ".join(f'"{table}.{name}"' for table in found)
            raise InputError(Fault(f"is in {' and '.join(found)}: write {choice}", self.path, name))
        if not found:
            raise InputError(self._missing(name, "impressions"))
        return found[0], name

    def type_of(self, name: str) -> pa.DataType:
        """The Arrow type of a column, found as in `place`."""
        table, column = self.place(name)
        return self.types[table][column]

    def _missing(self, column: str, table: str) -> list[Fault]:
        if table not in self.types:
            return [Fault(f"there is no [files].{table} to look it up in", self.path, f"{table}.{column}")]
        files = self.impression_files if table == "impressions" else self.side_tables[table].files
        faults = missing_column(files, column)
        others = [name for name in self.side_tables if table == "impressions"]
        if others and len(faults) == len(files):  # no file has it: nowhere at all
            where = f"column is missing, also in {' and '.join(others)}"
            faults = [Fault(where, fault.file, fault.column) for fault in faults]
        return faults

    def raw(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[RawBatch]:
        """Stream all rows of `columns` (side-table columns joined in) in the log's order, before roles and policies.

        Raises
        ------
        InputError
            Every missing column at once, or the file that cannot be read.
        """
        places: dict[str, tuple[str, str]] = {}
        faults: list[Fault] = []
        for name in dict.fromkeys(columns):
            try:
                places[name] = self.place(name)
            except InputError as error:
                faults += error.faults
        raise_faults(faults)
        keys = {table: self.side_tables[table].key for table, _ in places.values() if table != "impressions"}
        own = [column for table, column in places.values() if table == "impressions"]
        needed = list(dict.fromkeys([*own, *keys.values()])) or [self.schema.columns.request]
        for key in (*keys.values(), *([] if own or keys else needed)):
            if not is_id_type(self.type_of(key)):
                raise InputError(Fault(f"must be integers or strings, got {self.type_of(key)}", self.path, key))
        start = 0
        for file in self.impression_files:
            first = 0
            for batch in read_batches(file, needed, batch_rows):
                yield RawBatch(self._assemble(batch, places, keys), file, first, start)
                first += batch.num_rows
                start += batch.num_rows

    def _assemble(self, batch: pa.RecordBatch, places: dict[str, tuple[str, str]], keys: dict[str, str]) -> pa.Table:
        joined: dict[tuple[str, str], pa.Array] = {}
        for table, key in keys.items():
            wanted = list(dict.fromkeys(column for t, column in places.values() if t == table))
            values = self.side_tables[table].take(batch.column(key), wanted)
            joined |= {(table, column): array for column, array in zip(wanted, values, strict=True)}
        types = self.types["impressions"]
        arrays = [
            as_type(batch.column(column), types[column]) if table == "impressions" else joined[table, column]
            for table, column in places.values()
        ]
        return pa.Table.from_arrays(arrays, names=list(places))

    @cached_property
    def last_time(self) -> float | None:
        """The latest time of the log in seconds, from which the maturity of heads counts; None without a time."""
        time = self.schema.columns.time
        if time is None:
            return None
        latest = [pc.max(batch.table.column(0)) for batch in self.raw([time])]
        seconds = time_seconds(pa.array([scalar.as_py() for scalar in latest], self.type_of(time)))
        return float(np.nanmax(seconds)) if np.isfinite(seconds).any() else None
