"""Any table a user may hand over, read column by column: Arrow, pandas, mappings of arrays, the Arrow C stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import Fault, InputError

Block: TypeAlias = "np.ndarray | pa.Array"  # some rows of one column


def as_arrow(data: Any) -> pa.Table:
    """One Arrow table from any of the accepted kinds; memory is shared with `data` where its layout allows.

    Parameters
    ----------
    data : pa.Table, pa.RecordBatch, pandas.DataFrame, mapping of arrays, or anything with `__arrow_c_stream__`
        (Polars and DuckDB frames have it). A mapping holds one equally long array or list per column;
        a two-dimensional array becomes a list-valued column.

    Raises
    ------
    InputError
        `data` is none of these, or its columns differ in length.

    Examples
    --------
    >>> as_arrow({"item": np.array([7, 8]), "filters": [["pool"], []]}).schema.names
    ['item', 'filters']
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pd.DataFrame):
        return pa.table({str(name): _series_to_arrow(data[name], str(name)) for name in data.columns})
    if isinstance(data, Mapping):
        columns = {str(name): _to_arrow(values, str(name)) for name, values in data.items()}
        _check_lengths({name: len(column) for name, column in columns.items()})
        return pa.table(columns)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise InputError(_not_a_table(data))


class Columns:
    """Named columns of one table, each fetched only when it is asked for; NumPy columns are left as they are.

    Scoring a few hundred candidates takes less time than turning a data frame into Arrow, hence this view.

    Parameters
    ----------
    data : as for `as_arrow`

    Examples
    --------
    >>> columns = Columns({"price": np.array([80.0, 120.0]), "device": ["phone", None]})
    >>> len(columns), "price" in columns, columns["device"].null_count
    (2, True, 1)
    """

    def __init__(self, data: Any) -> None:
        if isinstance(data, pd.DataFrame):
            self._source: Any = data
            self.names: frozenset[str] = _unique_names(data.columns)
            self._rows = len(data)
        elif isinstance(data, Mapping):
            self._source = {str(name): _as_sequence(values) for name, values in data.items()}
            self.names = frozenset(self._source)
            self._rows = _check_lengths({name: len(values) for name, values in self._source.items()})
        else:
            self._source = as_arrow(data)
            self.names = _unique_names(self._source.schema.names)
            self._rows = self._source.num_rows
        self._cache: dict[str, np.ndarray | pa.Array | pa.ChunkedArray] = {}

    def __len__(self) -> int:
        return self._rows

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> np.ndarray | pa.Array | pa.ChunkedArray:
        column = self._cache.get(name)
        if column is None:
            column = self._cache[name] = self._fetch(name)
        return column

    def _fetch(self, name: str) -> np.ndarray | pa.Array | pa.ChunkedArray:
        values = self._source[name]
        if isinstance(self._source, pd.DataFrame):
            plain = isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb"
            return values.to_numpy() if plain else _series_to_arrow(values, name)
        if isinstance(self._source, dict):
            plain = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iufb"
            return values if plain else _to_arrow(values, name)
        return modern(values)

    def block(self, name: str, start: int, stop: int) -> Block:
        """Rows `start` to `stop` of one column as one contiguous array."""
        column = self[name]
        if isinstance(column, np.ndarray):
            rows: np.ndarray = column[start:stop]
            return rows
        if start > 0 or stop < self._rows:
            column = column.slice(start, stop - start)
        return one_chunk(column)

    def require(self, names: Iterable[str]) -> None:
        """Raise one `InputError` that lists every column of `names` that is missing."""
        missing = [name for name in dict.fromkeys(names) if name not in self.names]
        if missing:
            raise InputError([Fault("is missing", column=name) for name in missing])


def one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array, without a copy when it already is."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def modern(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Replace the string-view layout (Polars), which few Arrow functions read, by large strings, also inside lists."""
    types, data_type, text = pa.types, column.type, pa.large_string()
    if types.is_string_view(data_type):
        return column.cast(text)
    if types.is_dictionary(data_type) and types.is_string_view(data_type.value_type):
        return column.cast(pa.dictionary(data_type.index_type, text))
    if types.is_fixed_size_list(data_type) and types.is_string_view(data_type.value_type):
        return column.cast(pa.list_(text, data_type.list_size))
    if (types.is_list(data_type) or types.is_large_list(data_type)) and types.is_string_view(data_type.value_type):
        return column.cast(pa.large_list(text))
    return column


def primitive(array: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """Values and the mask of missing ones (None = none is missing) of an integer, float or boolean array.

    Null slots hold 0: a null must not turn 64-bit integers into floats, which lose ids beyond 2**53.

    Examples
    --------
    >>> primitive(pa.array([2**60 + 1, None]))
    (array([1152921504606846977,                   0]), array([False,  True]))
    """
    if array.null_count == 0:
        return array.to_numpy(zero_copy_only=False), None
    missing = pc.is_null(array).to_numpy(zero_copy_only=False)
    filler = False if pa.types.is_boolean(array.type) else 0
    return pc.fill_null(array, pa.scalar(filler, array.type)).to_numpy(zero_copy_only=False), missing


def _as_sequence(values: Any) -> Any:
    if isinstance(values, (np.ndarray, pa.Array, pa.ChunkedArray, pd.Series, list, tuple)):
        return values
    return np.asarray(values)  # tensors and whatever else speaks the array protocol


def _series_to_arrow(series: pd.Series, name: str) -> pa.Array | pa.ChunkedArray:
    try:
        return modern(pa.array(series, from_pandas=True))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(Fault(f"must hold values of one type: {error}", column=name)) from error


def _to_arrow(values: Any, name: str) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return modern(values)
    if isinstance(values, pd.Series):
        return _series_to_arrow(values, name)
    values = _as_sequence(values)
    try:
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return modern(pa.array(values, from_pandas=True))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(Fault(f"must hold values of one type: {error}", column=name)) from error


def _unique_names(names: Iterable[Any]) -> frozenset[str]:
    counts = Counter(name for name in names if isinstance(name, str))
    if any(count > 1 for count in counts.values()):
        raise InputError([Fault("appears more than once", column=name) for name, n in counts.items() if n > 1])
    return frozenset(counts)


def _check_lengths(lengths: Mapping[str, int]) -> int:
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise InputError(f"columns must be equally long, got {listing}")
    return next(iter(lengths.values()), 0)


def _not_a_table(data: Any) -> str:
    return (
        "data must be an Arrow table, a pandas DataFrame, a mapping of arrays or offer the Arrow C stream interface, "
        f"got {type(data).__name__}"
    )


__all__ = ["Block", "Columns", "as_arrow", "modern", "one_chunk", "primitive"]
