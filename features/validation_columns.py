"""Which columns the schema needs, where they must be, and of which type: all that is missing or wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pt

from features.errors import Fault, InputError
from features.findings import Findings
from features.ids import is_id_type, is_string
from features.lists import is_list

if TYPE_CHECKING:
    from features.log import Log

TypeTest = Callable[[pa.DataType], bool]


def usable_columns(dataset: Log, findings: Findings, lost: set[str]) -> set[str]:
    """The columns that exist with a type fit for their part; faults about all others go into `findings`.

    Parameters
    ----------
    dataset : Log
        With the files that can be read.
    findings : Findings
    lost : set of str
        Side tables that cannot be read: a column that may be in one of them is not called missing.
    """
    usable: set[str] = set()
    unusable: set[str] = set()
    for name, test, expectation, own in _needs(dataset):
        try:
            table, column = dataset.place(name)
        except InputError as error:
            unusable.add(name)
            if not _may_be_lost(name, own, lost):
                findings.add(*error.faults)
            continue
        files = dataset.impression_files if table == "impressions" else dataset.side_tables[table].files
        dtype = dataset.types[table][column]
        if own and table != "impressions":
            findings.add(Fault("must be a column of the impressions", files[0], column))
            unusable.add(name)
        elif not test(dtype):
            findings.add(Fault(f"must be {expectation}", files[0], column, value=f"{dtype}"))
            unusable.add(name)
        else:
            usable.add(name)
    for table, side in dataset.side_tables.items():
        if side.key in usable and side.key in side.types:
            here, there = dataset.types["impressions"][side.key], side.types[side.key]
            if is_id_type(there) and is_string(here) != is_string(there):
                message = f"must be of the kind that [files].{table} has in its key ({there})"
                findings.add(Fault(message, dataset.impression_files[0], side.key, value=f"{here}"))
                unusable |= {name for name in usable if _in_table(dataset, name, table)}
        elif side.key not in usable:  # nothing can be joined
            unusable |= {name for name in usable if _in_table(dataset, name, table)}
    return usable - unusable


def _needs(dataset: Log) -> Iterator[tuple[str, TypeTest, str, bool]]:
    """(column, test of its type, what the type must be, whether it must be in the impressions)."""
    schema, c = dataset.schema, dataset.schema.columns
    for name in (c.request, c.item, c.user, c.query_item):
        if name is not None:
            yield name, is_id_type, "an id: integers or strings", True
    if c.time is not None:
        yield c.time, lambda t: bool(pt.is_integer(t) or pt.is_timestamp(t)), "integer seconds or a timestamp", True
    for name in dict.fromkeys([*schema.label_columns, *schema.protected_by]):
        yield name, is_label_type, "0/1 numbers or booleans", True
    for name in (c.keep_prob, c.propensity):
        if name is not None:
            yield name, is_number, "numbers", True
    if schema.position is not None:
        yield schema.position.column, is_number, "integers", True
    if schema.sampling is not None and schema.sampling.negative_rate_column is not None:
        yield schema.sampling.negative_rate_column, is_number, "numbers", False
    if schema.split.column is not None:
        yield schema.split.column, is_string, "strings: the names of roles", False
    for name in c.numeric:
        yield name, is_numeric_feature, "numbers or booleans", False
    for name in c.categorical:
        yield name, is_categorical, "integers, strings, booleans or lists of them", False
    for name in c.holdout:
        yield name, lambda _: True, "", False


def is_number(dtype: pa.DataType) -> bool:
    """Integers and floats."""
    return bool(pt.is_integer(dtype) or pt.is_floating(dtype))


def is_label_type(dtype: pa.DataType) -> bool:
    """Numbers, booleans, and the type of a column that is null throughout."""
    return bool(is_number(dtype) or pt.is_boolean(dtype) or pt.is_null(dtype))


def is_numeric_feature(dtype: pa.DataType) -> bool:
    """Numbers, booleans and decimals, and the type of a column that is null throughout."""
    return bool(is_label_type(dtype) or pt.is_decimal(dtype))


def is_categorical(dtype: pa.DataType) -> bool:
    """Integers, strings and booleans, or lists of them, or nothing but nulls."""
    values = dtype.value_type if is_list(dtype) else dtype
    return bool(is_id_type(values) or pt.is_boolean(values) or pt.is_null(values))


def _may_be_lost(name: str, own: bool, lost: set[str]) -> bool:
    table, dot, _ = name.partition(".")
    return not own and bool(lost) and (not dot or table in lost)


def _in_table(dataset: Log, name: str, table: str) -> bool:
    try:
        return dataset.place(name)[0] == table
    except InputError:
        return False
