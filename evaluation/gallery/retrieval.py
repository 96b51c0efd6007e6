"""Nearest galleries by cosine: the exact search that every faster index is measured against."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evaluation.gallery.cosine import (
    ITEM_BLOCK,
    Rows,
    Similarities,
    UnitVectors,
    check_k,
    closest,
    exclusions,
    query_units,
    row_vector,
)

QUERY_BLOCK = 512  # with ITEM_BLOCK: 8 MB of similarities at a time, whatever the size of the collection
SPARE = 16  # candidates beyond k: a float32 product may swap neighbours that differ in their last bit
LOWEST = torch.iinfo(torch.int64).min


class Index(Protocol):
    """What searches a matrix `(V, D)` of item vectors by cosine."""

    def __len__(self) -> int:
        """V, the number of items."""

    def search(
        self, queries: npt.ArrayLike, k: int, *, exclude: npt.ArrayLike | None = None
    ) -> tuple[Rows, Similarities]:
        """The k most similar items of each query, most similar first; arguments as `ExactIndex.search`."""


class ExactIndex:
    """Exact search by cosine, cos(x, y) = x.y / (|x| |y|), in blocks of items and queries.

    The matrix is not copied (it may be memory-mapped); what a search holds at a time is a block of similarities and the
    k best of every query. A zero vector (an item without photos) has similarity 0 with everything.

    Args:
        matrix: `(V, D)` item vectors, of any length.

    Raises:
        ValueError: no vectors; a number that is not finite.

    >>> index = ExactIndex([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    >>> rows, similarity = index.search([[0.0, 1.0]], k=2)
    >>> rows.tolist(), similarity.round(2).tolist()
    ([[2, 1]], [[1.0, 0.800000011920929]])
    """

    def __init__(self, matrix: npt.ArrayLike) -> None:
        self.vectors = UnitVectors(matrix)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, queries: npt.ArrayLike, k: int, *, exclude: npt.ArrayLike | None = None
    ) -> tuple[Rows, Similarities]:
        """The k most similar items of each query, most similar first; equal similarities by the lower row.

        Args:
            queries: `(Q, D)` vectors of any length.
            k: How many, at most V (V - 1 with `exclude`).
            exclude: `(Q,)` a row of each query that must not be found (its own), -1 for none.

        Returns:
            rows `(Q, k)` int64 and cosine similarities `(Q, k)` float32.

        Raises:
            ValueError: another width than the items; a number that is not finite; k or `exclude` out of range.
        """
        units = query_units(queries, self.vectors.dim)
        left_out = exclusions(exclude, len(units), len(self))
        check_k(k, len(self), left_out)
        wanted = min(k + SPARE, len(self) - (left_out is not None))
        best = torch.full((len(units), wanted), LOWEST)
        for start in range(0, len(self), ITEM_BLOCK):
            stop = min(start + ITEM_BLOCK, len(self))
            block = torch.from_numpy(self.vectors.rows(slice(start, stop)))
            for first in range(0, len(units), QUERY_BLOCK):
                part = slice(first, first + QUERY_BLOCK)
                keys = _keys(torch.from_numpy(units[part]) @ block.T, start)  # (q, b)
                if left_out is not None:
                    _blank(keys, left_out[part], start)
                top = torch.topk(keys, min(wanted, stop - start)).values
                best[part] = torch.topk(torch.cat([best[part], top], dim=1), wanted).values
        rows = 0xFFFFFFFF - (best.numpy() & 0xFFFFFFFF)
        rows.sort(axis=1)
        return closest(self.vectors, units, np.repeat(np.arange(len(units)), wanted), rows.ravel(), k)

    def ranks(self, queries: npt.ArrayLike, targets: npt.ArrayLike, *, exclude: npt.ArrayLike | None = None) -> Rows:
        """At which place, from 1, each query finds one given item among all V.

        Args:
            queries: `(Q, D)` vectors.
            targets: `(Q,)` the row that each query looks for.
            exclude: `(Q,)` as in `search`; the excluded row does not count.

        Returns:
            `(Q,)` int64: 1 + the items before the target, an equal one before it if its row is lower. So a matrix of
            equal vectors earns the ranks of chance, not first places.

        Raises:
            ValueError: as `search`; a target out of range or excluded.

        >>> ExactIndex([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]]).ranks([[0.0, 1.0]], [1])
        array([2])
        """
        units = query_units(queries, self.vectors.dim)
        left_out = exclusions(exclude, len(units), len(self))
        wanted = row_vector("targets", targets, len(units), len(self), lowest=0)
        if left_out is not None and (wanted == left_out).any():
            raise ValueError(f"`targets` must not be excluded, got row {wanted[wanted == left_out][0]}")
        ranks = np.empty(len(units), np.int64)
        for first in range(0, len(units), QUERY_BLOCK):
            part = slice(first, first + QUERY_BLOCK)
            without = None if left_out is None else left_out[part]
            ranks[part] = self._ranks(torch.from_numpy(units[part]), torch.from_numpy(wanted[part]), without)
        return ranks

    def _ranks(self, units: Tensor, targets: Tensor, left_out: Rows | None) -> Rows:
        """Two passes over the same products, so that the target is compared with the number it has among the others."""
        own = torch.full((len(units),), LOWEST)
        before = torch.ones(len(units), dtype=torch.int64)
        for counting in (False, True):
            for start in range(0, len(self), ITEM_BLOCK):
                stop = min(start + ITEM_BLOCK, len(self))
                inside = (targets >= start) & (targets < stop)
                if not counting and not bool(inside.any()):
                    continue
                keys = _keys(units @ torch.from_numpy(self.vectors.rows(slice(start, stop))).T, start)
                if left_out is not None:
                    _blank(keys, left_out, start)
                if counting:
                    before += (keys > own[:, None]).sum(dim=1)
                else:
                    own[inside] = keys[inside, targets[inside] - start]
        return before.numpy()


def _keys(similarity: Tensor, start: int) -> Tensor:
    """One integer per pair `(q, b)` that sorts by similarity, then by the lower row: topk alone leaves ties open."""
    bits = similarity.add_(0.0).view(torch.int32)  # + 0.0 turns -0.0, which would sort below 0.0, into it
    keys = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    return keys.mul_(2**32).add_(0xFFFFFFFF - torch.arange(start, start + similarity.shape[1]))


def _blank(keys: Tensor, left_out: Rows, start: int) -> None:
    inside = np.flatnonzero((left_out >= start) & (left_out < start + keys.shape[1]))
    keys[torch.from_numpy(inside), torch.from_numpy(left_out[inside] - start)] = LOWEST
