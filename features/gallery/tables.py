"""The items and photos tables: their files, columns and types, with every fault of both at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as pt

from features.errors import Fault, InputError
from features.findings import Findings
from features.gallery.schema import GallerySchema
from features.ids import integers, is_id_type, is_string
from features.reading import as_type, read_batches, resolve_files, rows_of, schema_of
from features.sidetables import merged_types, missing_column

ROWS = 65_536
TABLES_OF_LOG = ("impressions", "users")


def attempt(faults: list[Fault], function: Callable[..., Any], *args: Any) -> Any:
    """What `function` returns; None, and its faults among `faults`, when it raises `InputError`."""
    try:
        return function(*args)
    except InputError as error:
        faults += error.faults
        return None


def column_types(
    faults: list[Fault], files: Sequence[Path], names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, pa.DataType]:
    """Types of the columns `names` over all files of a table; what is unreadable or missing goes to `faults`.

    Those of the `optional` columns that are there come after them.
    """
    before = len(faults)
    for file in files:
        attempt(faults, schema_of, file)
    if len(faults) > before or not files:
        return {}
    types = merged_types(files)
    for name in names:
        faults += [] if name in types else missing_column(files, name)
    return {
        name: pa.large_string() if is_string(types[name]) else types[name]
        for name in [*names, *optional]
        if name in types
    }


def type_faults(
    schema: GallerySchema,
    item_files: Sequence[Path],
    items: dict[str, pa.DataType],
    photo_files: Sequence[Path],
    photos: dict[str, pa.DataType],
) -> list[Fault]:
    """Columns of the wrong type; those that are missing have been told of."""
    table, found = schema.table, list[Fault]()

    def check(files: Sequence[Path], types: dict[str, pa.DataType], name: str | None, right: Any, wanted: str) -> None:
        if name in types and not right(types[name]):
            found.append(Fault(f"must be {wanted}, got type {types[name]}", files[0], name))

    check(item_files, items, schema.item, is_id_type, "integers or strings")
    check(photo_files, photos, schema.item, is_id_type, "integers or strings")
    check(item_files, items, table.group, is_id_type, "integers or strings")
    check(photo_files, photos, table.image, _is_binary, "binary (the bytes of image files)")
    check(photo_files, photos, table.path, is_string, "strings (file names)")
    check(photo_files, photos, table.order, _is_sortable, "numbers, strings, dates or times")
    of_items, of_photos = items.get(schema.item), photos.get(schema.item)
    if of_items is not None and of_photos is not None and is_string(of_items) != is_string(of_photos):
        message = f"must be of one kind in items and photos, got {of_items} and {of_photos}"
        found.append(Fault(message, photo_files[0], schema.item))
    return found


def holdout_faults(schema: GallerySchema, item_files: Sequence[Path], items: dict[str, pa.DataType]) -> list[Fault]:
    """Held-out columns that no table has: a mistyped name would keep nothing from the trainers.

    Without a log `schema.item_columns` has them all. With one, the log's own tables are looked at (their footers) for
    those that the items table does not have.
    """
    found, columns = list[Fault](), {"items": set(items)}
    for held in schema.holdout if schema.log_files else ():
        table, _, name = held.rpartition(".")
        table, name = (table, name) if table in ("items", *TABLES_OF_LOG) else ("", held)
        if name in columns["items"] and table in ("", "items"):
            continue
        for key in [key for key in schema.log_files if key not in columns]:
            files = attempt(found, resolve_files, schema.folder, schema.log_files[key]) or []
            columns[key] = {n for file in files for n in attempt(found, lambda f: schema_of(f).names, file) or ()}
        places = [table] if table else list(columns)
        if not any(name in columns.get(place, ()) for place in places):
            message = f"`{held}` is missing: no column of {' or '.join(places)} has that name"
            found.append(Fault(message, item_files[0], key="[columns].holdout"))
    return found


def _is_binary(dtype: pa.DataType) -> bool:
    return bool(pt.is_binary(dtype) or pt.is_large_binary(dtype) or pt.is_fixed_size_binary(dtype))


def _is_sortable(dtype: pa.DataType) -> bool:
    return bool(pt.is_integer(dtype) or pt.is_floating(dtype) or is_string(dtype) or pt.is_temporal(dtype))


def read_items(
    faults: list[Fault], files: Sequence[Path], types: dict[str, pa.DataType], schema: GallerySchema
) -> pa.Table | None:
    """The items table; None, and `faults`, where the ids are no key."""
    table = read_table(files, types)
    ids = table.column(schema.item).combine_chunks()
    null = ids.is_null().to_numpy(zero_copy_only=False)
    keys = ids.to_numpy(zero_copy_only=False) if is_string(ids.type) else integers(ids)
    repeated = np.asarray(pd.Series(keys).duplicated(), bool) & ~null
    findings, start = Findings(), 0
    for file in files:
        stop = start + rows_of(file)
        values = ids.slice(start, stop - start)
        findings.rows(null[start:stop], "id must not be null", file, schema.item)
        findings.rows(repeated[start:stop], "id must appear in one row only", file, schema.item, 0, values)
        start = stop
    if not len(ids):
        findings.add(Fault("holds no items", files[0]))
    faults += findings.faults()
    return None if faults else table


def read_table(files: Sequence[Path], types: dict[str, pa.DataType]) -> pa.Table:
    chunks: dict[str, list[pa.Array]] = {name: [] for name in types}
    for file in files:
        for batch in read_batches(file, list(types), ROWS):
            for name, dtype in types.items():
                chunks[name].append(as_type(batch.column(name), dtype))
    return pa.table({name: pa.chunked_array(chunks[name], dtype) for name, dtype in types.items()})


__all__ = ["attempt", "column_types", "holdout_faults", "read_items", "read_table", "type_faults"]
