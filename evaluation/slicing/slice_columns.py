"""Slices of a role's rows by the columns that people name: of the log, of items or users, or the position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from evaluation.measured.scored_log import role_batches
from evaluation.slicing.slices import Slices
from features import Dataset, Fault, InputError, raise_faults

__all__ = ["POSITION", "read_slices"]

POSITION = "position"  # whatever the log calls the column
SHOWN = 40  # columns that are offered for one that is not there


def read_slices(
    dataset: Dataset,
    role: str,
    columns: Sequence[str],
    expected: Mapping[str, Sequence[str]] | None = None,
) -> list[Slices]:
    """The partition of a role's rows by each of `columns`, in the rows' order of `ScoredLog` and `encode_log`.

    Args:
        dataset: The log.
        role: calibrate, tune or test.
        columns: Names of columns of the log; of a side table, also as "items.city" or "users.segment"; "position" is
            the position that was logged, whatever its column is called. A name that is repeated counts once.
        expected: Column -> values that are listed even where no row has them.

    Raises:
        InputError: every fault at once: columns that are not there (with those that are), outcomes and what depends
            on them, lists, `expected` values of a column that is not asked for.

    >>> [platform] = read_slices(dataset, "test", ["platform"])                               # doctest: +SKIP
    """
    named = {name: _column(dataset, name) for name in dict.fromkeys(columns)}
    faults = [fault for name in named for fault in _faults(dataset, name, named[name])]
    wanted = expected or {}
    faults += [
        Fault("has values that must be listed, but no slices of it are asked for", column=name)
        for name in wanted
        if name not in named
    ]
    raise_faults(faults)
    if not named:
        return []
    names = list(dict.fromkeys(named.values()))
    tables = list(role_batches(dataset, role, names))
    if not tables:
        raise InputError(f"role {role!r} has no rows: change [split] in dataset.toml")
    table = pa.concat_tables(tables)
    return [
        Slices.of(name, _classes(dataset, named[name], table[named[name]]), expected=wanted.get(name)) for name in named
    ]


def _classes(dataset: Dataset, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column's values; as text where it is declared categorical: its numbers are names, not to be cut into ranges."""
    declared = [dataset.place(name) for name in dataset.schema.columns.categorical]
    return values.cast(pa.string()) if dataset.place(column) in declared and pt.is_integer(values.type) else values


def _column(dataset: Dataset, name: str) -> str:
    """The column that a name means."""
    position = dataset.schema.position
    return position.column if name == POSITION and position is not None else name


def _faults(dataset: Dataset, name: str, column: str) -> list[Fault]:
    """Why rows cannot be partitioned by this column."""
    try:
        table, own = dataset.place(column)
    except InputError as error:
        if _is_there(dataset, column):  # in two tables, for instance
            return list(error.faults)
        told = "no position is declared" if name == POSITION else "there is no such column"
        return [Fault(f"{told}; there are {_offered(dataset)}", dataset.path, name)]
    schema = dataset.schema
    if table == "impressions" and own in {*schema.label_columns, *schema.protected_by, schema.columns.keep_prob}:
        message = "must be known before the outcome: slices by an outcome, or by what depends on it, are biased"
        return [Fault(message, dataset.path, name)]
    kind: Any = dataset.type_of(column)
    if pt.is_nested(kind):
        return [Fault("must hold one value per row", dataset.path, name, value=kind)]
    return []


def _is_there(dataset: Dataset, column: str) -> bool:
    """Whether some table has the column."""
    table, _, own = column.partition(".")
    return any(column in types for types in dataset.types.values()) or own in dataset.types.get(table, {})


def _offered(dataset: Dataset) -> str:
    """The names that would do, the position first."""
    schema = dataset.schema
    refused = {*schema.label_columns, *schema.protected_by, schema.columns.keep_prob}
    offered = [POSITION] if schema.position is not None else []
    for table, types in dataset.types.items():
        for name, kind in types.items():
            if not pt.is_nested(kind) and not (table == "impressions" and name in refused):
                offered.append(name if table == "impressions" else f"{table}.{name}")
    offered = list(dict.fromkeys(offered))
    more = f" and {len(offered) - SHOWN} more" if len(offered) > SHOWN else ""
    return ", ".join(offered[:SHOWN]) + more
