"""What a model sees of N rows: indices into one fused embedding table, numbers, and rows of the item vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Inputs:
    """The encoded features of N impressions, column by column, on one device.

    Every index points into **one** embedding table shared by all fields (one gather instead of F). Row 0 of that table
    is padding and belongs to no field; each field's own first row is its bucket for unseen, rare and missing values.

    Parameters
    ----------
    ids : Tensor
        `(N, F)` int32, one index into the fused table per scalar categorical field.
    lists : tuple of Tensor
        One `(N, L)` int32 tensor per list-valued field, 0 where a list is shorter than L. Indices into the fused table.
    numeric : Tensor
        `(N, M)` float32, scaled, never NaN, within ±8.
    item_row : Tensor or None
        `(N,)` int32 row of the item vectors, 0 = no vector known (row 0 holds zeros). None: the log has no vectors.
    query_row : Tensor or None
        `(N,)` int32 row of the query item's vector, likewise.

    Examples
    --------
    >>> inputs = Inputs(torch.tensor([[1, 5], [2, 4]], dtype=torch.int32), (), torch.zeros(2, 3))
    >>> len(inputs), inputs.select(torch.tensor([1])).ids.tolist(), inputs.slice(0, 1).ids.tolist()
    (2, [[2, 4]], [[1, 5]])
    """

    ids: Tensor
    lists: tuple[Tensor, ...]
    numeric: Tensor
    item_row: Tensor | None = None
    query_row: Tensor | None = None

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.ids.device

    def select(self, index: Tensor) -> Inputs:
        """Rows by `(B,)` int64 index, gathered column by column (a copy)."""
        return Inputs(
            self.ids.index_select(0, index),
            tuple(bag.index_select(0, index) for bag in self.lists),
            self.numeric.index_select(0, index),
            None if self.item_row is None else self.item_row.index_select(0, index),
            None if self.query_row is None else self.query_row.index_select(0, index),
        )

    def slice(self, start: int, stop: int) -> Inputs:
        """Rows `start` to `stop` as views: nothing is copied."""
        return Inputs(
            self.ids[start:stop],
            tuple(bag[start:stop] for bag in self.lists),
            self.numeric[start:stop],
            None if self.item_row is None else self.item_row[start:stop],
            None if self.query_row is None else self.query_row[start:stop],
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Inputs:
        """The same rows on `device`."""
        return replace(
            self,
            ids=self.ids.to(device, non_blocking=non_blocking),
            lists=tuple(bag.to(device, non_blocking=non_blocking) for bag in self.lists),
            numeric=self.numeric.to(device, non_blocking=non_blocking),
            item_row=None if self.item_row is None else self.item_row.to(device, non_blocking=non_blocking),
            query_row=None if self.query_row is None else self.query_row.to(device, non_blocking=non_blocking),
        )

    @staticmethod
    def empty(
        rows: int,
        n_fields: int,
        list_lengths: Sequence[int] = (),
        n_numeric: int = 0,
        *,
        item_vectors: bool = False,
        query_vectors: bool = False,
    ) -> Inputs:
        """Uninitialised memory for `rows` rows, to be filled batch by batch."""
        return Inputs(
            torch.empty(rows, n_fields, dtype=torch.int32),
            tuple(torch.empty(rows, length, dtype=torch.int32) for length in list_lengths),
            torch.empty(rows, n_numeric, dtype=torch.float32),
            torch.empty(rows, dtype=torch.int32) if item_vectors else None,
            torch.empty(rows, dtype=torch.int32) if query_vectors else None,
        )


__all__ = ["Inputs"]
