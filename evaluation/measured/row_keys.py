"""What tells the rows of a role apart: request and item, as numbers that two tables can be joined by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.checks import IntArray
from features import Fault, InputError
from features.ids import IdIndex

__all__ = ["RowKeys"]


class RowKeys:
    """The (request, item) of N rows.

    Ids become consecutive codes, so that a pair is one int64 and a join compares exactly: no hash can be shared.

    Args:
        request: Chunks of request ids, N in all: integers or strings, none of them null.
        item: Chunks of item ids, likewise.
        names: What the two columns are called, for messages.

    Raises:
        InputError: a null among the ids.

    >>> keys = RowKeys([pa.array([7, 7, 9])], [pa.array(["a", "b", "a"])])
    >>> keys.places(pa.array([9, 7, 9]), pa.array(["a", "z", "b"])).tolist(), keys.text(1)
    ([2, -1, -1], "request 7, item 'b'")
    """

    def __init__(
        self, request: Sequence[pa.Array], item: Sequence[pa.Array], names: tuple[str, str] = ("request", "item")
    ) -> None:
        (self.request, requests), (self.item, items) = (
            _coded(chunks, name) for chunks, name in zip((request, item), names, strict=True)
        )
        self.ids = requests, items

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return len(self.ids[0])

    @property
    def pairs(self) -> IntArray:
        """`(P,)` the distinct pairs as sorted numbers."""
        return self._pairs[0]

    @property
    def pair_of_row(self) -> IntArray:
        """`(N,)` where each row's pair stands in `pairs`; rows that repeat a pair share it."""
        return self._pairs[1]

    def places(self, request: pa.Array, item: pa.Array) -> npt.NDArray[np.int64]:
        """Where each `(n,)` pair stands in `pairs`; -1 for a pair that no row has, or with a null."""
        r, i = (index.rows(found) for index, found in zip(self._indices, (request, item), strict=True))
        pair = r * len(self.ids[1]) + i
        place = np.minimum(np.searchsorted(self.pairs, pair), len(self.pairs) - 1)
        return np.where((r >= 0) & (i >= 0) & (self.pairs[place] == pair), place, -1)

    def text(self, row: int) -> str:
        """Request and item of a row, for people."""
        request, item = self.ids[0][int(self.request[row])].as_py(), self.ids[1][int(self.item[row])].as_py()
        return f"request {request!r}, item {item!r}"

    @cached_property
    def _indices(self) -> tuple[IdIndex, IdIndex]:
        return IdIndex(self.ids[0]), IdIndex(self.ids[1])

    @cached_property
    def _pairs(self) -> tuple[IntArray, IntArray]:
        return np.unique(self.request.astype(np.int64) * len(self.ids[1]) + self.item, return_inverse=True)


def _coded(chunks: Sequence[pa.Array], name: str) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Codes `(N,)` of ids, numbered as they first appear, and the distinct ids that they number."""
    encoded = pa.chunked_array([chunk.dictionary_encode() for chunk in chunks]).unify_dictionaries()
    if any(chunk.indices.null_count for chunk in encoded.chunks):
        raise InputError(Fault("an id must not be null", column=name))
    codes = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks])
    return codes.astype(np.int64), encoded.chunk(0).dictionary
