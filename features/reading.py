"""Parquet files as a stream of record batches; whatever cannot be read is an `InputError` that names the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from features.errors import Fault, InputError
from features.ids import plain_type

GLOB = frozenset("*?[")


def resolve_files(base: Path, names: Sequence[str]) -> list[Path]:
    """The Parquet files that `names` (files, globs or folders, relative to `base`) mean, in a stable order.

    Raises
    ------
    InputError
        Names every file that does not exist and every glob or folder that holds no Parquet file.
    """
    files: list[Path] = []
    faults: list[Fault] = []
    for name in names:
        path = base / name
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = sorted(path.glob("*.parquet"))
        elif GLOB & set(name):
            pattern = Path(name)
            anchor = Path(pattern.anchor) if pattern.is_absolute() else base
            found = sorted(anchor.glob(str(pattern.relative_to(pattern.anchor))))
        else:
            faults.append(Fault("does not exist", path))
            continue
        if not found:
            faults.append(Fault("holds no Parquet file" if path.is_dir() else "matches no file", path))
        files += found
    if faults:
        raise InputError(faults)
    return list(dict.fromkeys(files))


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open one file; a truncated file, another format or a missing file is an `InputError` naming it."""
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: BaseException) -> InputError:
    """What a failed read says to the user."""
    if isinstance(error, FileNotFoundError):
        return InputError(Fault("does not exist", path))
    return InputError(Fault(f"cannot be read as Parquet (truncated or damaged?): {str(error).splitlines()[0]}", path))


def read_batches(path: Path, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The `columns` of one file in batches of at most `batch_rows` rows; memory holds a batch, not the file."""
    with open_parquet(path) as file:
        batches = file.iter_batches(batch_size=batch_rows, columns=list(columns))
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise unreadable(path, error) from error
            if batch is None:
                return
            yield batch


def schema_of(path: Path) -> pa.Schema:
    """Names and types of a file's columns, dictionaries as what they hold."""
    with open_parquet(path) as file:
        schema = file.schema_arrow
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def rows_of(path: Path) -> int:
    """Rows of a file, from its footer."""
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)


def common_type(types: Sequence[pa.DataType]) -> pa.DataType | None:
    """The type that every file's values fit in (int32 and int64 meet in int64); None when there is none.

    Examples
    --------
    >>> common_type([pa.int32(), pa.int64()]), common_type([pa.int32(), pa.string()])
    (DataType(int64), None)
    """
    try:
        schemas = [pa.schema([pa.field("x", dtype)]) for dtype in types]
        return pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except pa.ArrowException:
        return None


def as_type(values: pa.Array, dtype: pa.DataType) -> pa.Array:
    """`values` with dictionaries decoded, as `dtype`."""
    if pt.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values if values.type == dtype else values.cast(dtype)


def time_ticks(times: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Times (N,) as int64: integer seconds as they are, timestamps in their own unit. Nulls are not allowed."""
    if pt.is_timestamp(times.type):
        times = times.cast(pa.int64())
    return np.asarray(times.to_numpy(), dtype=np.int64)


def time_seconds(times: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Times (N,) as float64 seconds (since 1970 for timestamps); null -> NaN.

    Examples
    --------
    >>> time_seconds(pa.array([1500, None], pa.timestamp("ms"))).tolist()
    [1.5, nan]
    """
    if isinstance(times, pa.ChunkedArray):
        times = times.combine_chunks()
    unit = times.type.unit if pt.is_timestamp(times.type) else "s"
    ticks = times.cast(pa.int64()).cast(pa.float64(), safe=False)
    return np.asarray(pc.divide(ticks, PER_SECOND[unit]).to_numpy(zero_copy_only=False), dtype=np.float64)


PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
