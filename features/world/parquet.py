"""Parquet written the same way every time: equal tables give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 65_536


def write_parquet(tables: Iterable[pa.Table], path: Path, row_group: int = ROW_GROUP) -> None:
    """Write tables of one schema one after the other into one file of full row groups.

    Only what does not fill a row group is held back, so memory does not grow with the file. Dictionaries are built for
    every column but float32 and binary, whose values (probabilities, drivers, photos) hardly repeat; there they cost
    time and save no space.

    Parameters
    ----------
    tables : iterable of pa.Table
        At least one.
    path : Path
        Overwritten if it is there.
    row_group : int
        Rows of a group: a reader has at least one group in memory, hence few rows where they are large.
    """
    source = iter(tables)
    rest = next(source)
    repeating = [field.name for field in rest.schema if not _hardly_repeats(field.type)]
    options = {"compression": "zstd", "compression_level": 1, "use_dictionary": repeating}
    with pq.ParquetWriter(path, rest.schema, **options) as writer:
        for table in source:
            rest = pa.concat_tables([rest, table])
            full = rest.num_rows - rest.num_rows % row_group
            if full:
                writer.write_table(rest.slice(0, full), row_group_size=row_group)
                rest = rest.slice(full)
        writer.write_table(rest, row_group_size=row_group)


def _hardly_repeats(dtype: pa.DataType) -> bool:
    if pa.types.is_binary(dtype):
        return True
    return pa.types.is_float32(dtype.value_type if pa.types.is_fixed_size_list(dtype) else dtype)
