"""A log and its side tables as one object: read in a stream, joined by id, every row in its role."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from features.duplicates import duplicate_rows
from features.log import BATCH_ROWS, Log
from features.schema import ROLES, Schema
from features.splits import NO_ROLE, row_roles

if TYPE_CHECKING:
    from features.validation import ValidationReport
    from features.vectors import ItemVectors


@dataclass(frozen=True)
class LogBatch:
    """Some rows of one file.

    Parameters
    ----------
    table : pa.Table (n rows)
        The columns asked for, under the names they were asked for.
    file : Path
        The file the rows are from.
    first_row : int
        Row number in `file` (from 0) at which the batch starts; rows of other roles have been taken out after it.
    role : ndarray (n,) int8
        Index into `ROLES`.
    rows : ndarray (n,) int64
        Row numbers in the whole log (its files one after another).
    """

    table: pa.Table
    file: Path
    first_row: int
    role: np.ndarray
    rows: np.ndarray


class Dataset(Log):
    """A log described by a schema.

    Parameters
    ----------
    schema : Schema
    folder : Path or str
        What the schema's file names are relative to.
    path : Path or str, optional
        The dataset.toml it came from, for messages.

    Examples
    --------
    >>> import tempfile, pyarrow.parquet as pq
    >>> folder = Path(tempfile.mkdtemp())
    >>> log = pa.table({"request": ["a", "a", "b"], "item": [1, 2, 1], "click": [0, 1, 0]})
    >>> pq.write_table(log, folder / "log.parquet")
    >>> schema = Schema.from_dict({
    ...     "files": {"impressions": "log.parquet"},
    ...     "columns": {"request": "request", "item": "item"},
    ...     "heads": {"click": {}},
    ... })
    >>> dataset = Dataset(schema, folder)
    >>> dataset.num_rows, [batch.table.num_rows for batch in dataset.scan(["item", "click"])]
    (3, [3])
    """

    replaced_vectors: Path | Literal[False] | None = None  # what `open` was asked to put in [files].vectors

    @classmethod
    def open(cls, path: Path | str, vectors: Path | str | Literal[False] | None = None) -> Dataset:
        """The data set of a dataset.toml, or of a folder that holds one. Files are looked for when they are read.

        Parameters
        ----------
        path : path
        vectors : path or False, optional
            Another file of item vectors in the place of [files].vectors, relative to the working folder. False: none,
            so that a ranker is fitted without galleries; a query item, which is known by its vector, is left out too.
        """
        if vectors is True:
            raise ValueError("`vectors` must be a path, False (none) or None (those of the data set), got True")
        path = Path(path)
        if path.is_dir():
            path = path / "dataset.toml"
        replaced = Path(vectors) if isinstance(vectors, str | Path) else vectors
        name = _seen_from(path.parent, replaced) if isinstance(replaced, Path) else replaced
        dataset = cls(Schema.load(path, vectors=name), path.parent, path)
        dataset.replaced_vectors = replaced
        return dataset

    @cached_property
    def roles(self) -> np.ndarray:
        """The role (num_rows,) int8 of every row as an index into `ROLES`; -1 for a duplicate that policy drops."""
        roles = row_roles(self)
        if self.schema.policy.duplicates == "drop":
            roles[duplicate_rows(self)] = NO_ROLE
        return roles

    def count(self, *roles: str) -> int:
        """How many rows play one of `roles` (all four when none is given), i.e. how many `scan` gives."""
        return int(np.isin(self.roles, role_codes(roles)).sum())

    def scan(
        self,
        columns: Sequence[str] | None = None,
        roles: str | Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[LogBatch]:
        """Stream the rows of `roles` (None: all four) in the order of the log, at most `batch_rows` at a time.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns by name; those of side tables ("star" or "items.star") are joined by id, unknown ids give null.
            None: every column that the schema names.
        roles : str or sequence of str, optional
            Names from `ROLES`.
        batch_rows : int
            Rows held in memory at a time.

        Raises
        ------
        InputError
            Every missing column at once, or the file that cannot be read.
        """
        if batch_rows < 1:
            raise ValueError(f"`batch_rows` must be at least 1, got {batch_rows}")
        wanted = role_codes(() if roles is None else (roles,) if isinstance(roles, str) else roles)
        for batch in self.raw(self.schema.named_columns if columns is None else columns, batch_rows):
            role = self.roles[batch.start : batch.start + batch.table.num_rows]
            kept = np.flatnonzero(np.isin(role, wanted))
            if len(kept):
                table = batch.table if len(kept) == len(role) else batch.table.take(kept)
                yield LogBatch(table, batch.file, batch.first_row, role[kept], kept + batch.start)

    def table(self, role: str | Sequence[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a role (or roles; None: all four) in one table, for data that fits in memory."""
        columns = self.schema.named_columns if columns is None else columns
        tables = [batch.table for batch in self.scan(columns, role)]
        empty = pa.schema([pa.field(name, self.type_of(name)) for name in dict.fromkeys(columns)]).empty_table()
        return pa.concat_tables([empty, *tables]).combine_chunks()

    def item_vectors(self) -> ItemVectors | None:
        """The item vectors of [files].vectors, read anew at each call; None when there are none."""
        if self.schema.files.vectors is None:
            return None
        from features.vectors import ItemVectors  # torch-free start for those who only read

        return ItemVectors.from_parquet(self.vector_file, self.schema.columns.item)

    def data_hash(self, files: Sequence[Path] | None = None) -> dict[str, str]:
        """sha256 of every data file (or of `files`), by its path relative to the folder where it lies below it."""
        hashes = {}
        for file in self.files if files is None else files:
            name = file.relative_to(self.folder) if file.is_relative_to(self.folder) else file
            with file.open("rb") as stream:
                hashes[name.as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
        return hashes

    def validate(self) -> ValidationReport:
        """Check the whole log in a stream; every fault with file, column, row and value."""
        from features.validation import validate  # the checks read this class

        return validate(self)


def _seen_from(folder: Path, file: Path) -> str:
    """`file` as [files] would name it: relative to `folder`, as long as both are on one drive."""
    try:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return str(file.resolve())


def role_codes(roles: Sequence[str]) -> list[int]:
    """Indices into `ROLES`; all four for no names.

    Examples
    --------
    >>> role_codes(["tune", "test"])
    [2, 3]
    """
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise ValueError(f"`roles` must be among {', '.join(ROLES)}, got {', '.join(unknown)}")
    return [ROLES.index(role) for role in roles] or list(range(len(ROLES)))
