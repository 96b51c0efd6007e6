"""List-valued columns without a loop over rows: the first elements of each list, and a padded matrix of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.errors import Fault, InputError
from features.tables import Block
from features.vocabulary import Vocabulary


def is_list(data_type: pa.DataType) -> bool:
    """Whether an Arrow type is a list of any layout."""
    types = pa.types
    return bool(
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
        or types.is_list_view(data_type)
        or types.is_large_list_view(data_type)
    )


def first_elements(column: pa.Array, limit: int, name: str) -> tuple[pa.Array, np.ndarray]:
    """The first `limit` elements of each list, one list after the other, and how many each row has.

    Parameters
    ----------
    column : list array of any layout, `(n,)`; a null list is an empty one
    limit : int
        The most elements to keep of one list; later ones are dropped.
    name : str
        The column, for messages.

    Returns
    -------
    elements : pa.Array of sum(lengths) values
    lengths : array `(n,)` int64

    Examples
    --------
    >>> elements, lengths = first_elements(pa.array([["a", "b", "c"], None, [], ["d"]]), 2, "filters")
    >>> elements.to_pylist(), lengths.tolist()
    (['a', 'b', 'd'], [2, 0, 0, 1])
    """
    if pa.types.is_null(column.type):
        return column.slice(0, 0), np.zeros(len(column), np.int64)
    if not is_list(column.type):
        raise InputError(Fault(f"must hold lists, got type {column.type}", column=name))
    types = pa.types
    is_view = types.is_list_view(column.type) or types.is_large_list_view(column.type)
    if is_view:  # read as it is: casting a view with null elements to a list loses them (PyArrow 26)
        starts = column.offsets.to_numpy().astype(np.int64)
        lengths = column.sizes.to_numpy().astype(np.int64)
    elif types.is_fixed_size_list(column.type):
        width = column.type.list_size
        starts = (np.arange(len(column), dtype=np.int64) + column.offset) * width
        lengths = np.full(len(column), width, np.int64)
    else:
        offsets = column.offsets.to_numpy().astype(np.int64)
        starts, lengths = offsets[:-1], np.diff(offsets)
    if column.null_count:
        lengths = np.where(column.is_null().to_numpy(zero_copy_only=False), 0, lengths)
    kept = np.minimum(lengths, limit)
    total = int(kept.sum())
    if total == 0:
        return column.values.slice(0, 0), kept
    first, last = int(starts[0]), int(starts[-1] + lengths[-1])
    if total == last - first and not is_view:  # nothing is cut and nothing lies under a null: the values as they are
        return column.values.slice(first, total), kept
    before = np.cumsum(kept) - kept  # where each row begins in the result
    index = np.arange(total) + np.repeat(starts - before, kept)
    return column.values.take(pa.array(index)), kept


def encode_lists(column: Block, vocabulary: Vocabulary, offset: int, out: np.ndarray) -> None:
    """Write padded indices of list values.

    Parameters
    ----------
    column : list array `(n,)`
    vocabulary : Vocabulary
        Of the elements; unknown and null elements go to its bucket, which is not padding.
    offset : int
        Added to every index: where the field begins in the fused table.
    out : array `(n, L)` int32
        Receives the first L elements of each list, padded with 0 on the right.

    Examples
    --------
    >>> out = np.empty((2, 3), np.int32)
    >>> encode_lists(pa.array([["pool", "moat"], []]), Vocabulary("filters", "string", ["spa", "pool"]), 10, out)
    >>> out.tolist()
    [[12, 10, 0], [0, 0, 0]]
    """
    if isinstance(column, np.ndarray):
        raise InputError(Fault(f"must hold lists, got type {column.dtype}", column=vocabulary.name))
    elements, lengths = first_elements(column, out.shape[1], vocabulary.name)
    out[...] = 0
    out[np.arange(out.shape[1]) < lengths[:, None]] = vocabulary.encode(elements) + np.int32(offset)


__all__ = ["encode_lists", "first_elements", "is_list"]
