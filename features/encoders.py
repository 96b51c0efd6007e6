"""From tables to `Inputs`: every fitted vocabulary and scaler in one object that travels with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import InputError
from features.fields import FieldEncoders
from features.inputs import Inputs
from features.layout import FusedLayout
from features.positions import PositionEncoder
from features.scaling import raise_infinite
from features.sidefeatures import BLOCK_ROWS, SideFeatures
from features.tables import Columns
from features.vectors import ItemVectors

if TYPE_CHECKING:
    from features.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Encoders(FusedLayout):
    """Turns candidates into `Inputs`, the same way in training and at scoring.

    What the network must know (`fields`, `field_sizes`, `offsets`, `n_embeddings`, ...) is told by `FusedLayout`.

    Parameters
    ----------
    own : FieldEncoders
        Of columns that stand in the impressions.
    position : PositionEncoder or None
    sides : tuple of SideFeatures
        Of the item and user tables.
    item, query_item : str, str or None
        The id columns that are looked up in `vectors`.
    vectors : ItemVectors or None
    max_list_length : int
        L, the elements kept of one list (the first ones).
    """

    own: FieldEncoders
    position: PositionEncoder | None
    sides: tuple[SideFeatures, ...]
    item: str
    query_item: str | None
    vectors: ItemVectors | None
    max_list_length: int

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        roles: Sequence[str] = ("train",),
        min_count: int = 20,
        max_list_length: int = 16,
        hold: Sequence[str] = ("items", "users"),
    ) -> Encoders:
        """Fit in one streamed pass over the rows of `roles`.

        Parameters
        ----------
        dataset : Dataset
        roles : sequence of str
            The rows to learn from; anything but ("train",) leaks what is measured later.
        min_count : int
            Values seen less often share the bucket of the unseen: an embedding fitted to a handful of rows is noise.
        max_list_length : int
            Elements kept of one list.
        hold : sequence of "items" and "users"
            Side tables whose encoded rows are kept, so that scoring needs ids only. A table that is not held makes the
            model smaller and must be joined to the candidates by the caller.

        Raises
        ------
        InputError
            A column of a type that cannot be a feature.
        ValueError
            An argument out of range.
        """
        from features.fitting import fit_encoders  # it reads this class

        return fit_encoders(dataset, roles=roles, min_count=min_count, max_list_length=max_list_length, hold=hold)

    def required_columns(self, available: Columns | None = None, *, serving_position: bool) -> list[str]:
        """The columns that candidates must bring, given that those `available` are there.

        Columns of a held side table may come along, and then win; only if all do is its id column not needed.
        """
        names = [*self.own_columns(serving_position=serving_position), *self.vector_columns]
        for side in self.sides:
            names += side.required(available)
        return list(dict.fromkeys(names))

    def own_columns(self, *, serving_position: bool) -> list[str]:
        """The features (and the position, when it is read) that stand in the impressions themselves."""
        position = [self.position.column] if self.position is not None and not serving_position else []
        return [*self.own.columns, *position]

    @property
    def vector_columns(self) -> list[str]:
        """The id columns that are looked up in the item vectors."""
        return [n for n in (self.item, self.query_item) if n is not None] if self.vectors is not None else []

    def encode(self, data: Any, *, serving_position: bool) -> Inputs:
        """Encode candidates.

        Parameters
        ----------
        data : Arrow table or record batch, pandas DataFrame, mapping of arrays, or any Arrow C stream (Polars, DuckDB)
            N rows. Columns that no feature reads are ignored.
        serving_position : bool
            Set the position of every row to the schema's `serving_value` (scoring, tuning, evaluation) instead of
            reading its column (training).

        Raises
        ------
        InputError
            Lists every missing column at once; or names a column whose type is not that of training; or, with
            row, value and count, the numeric columns that hold an infinite value.
        """
        columns = Columns(data)
        out = self.allocate(len(columns))
        self.encode_into(columns, out, 0, serving_position=serving_position)
        return out

    def allocate(self, rows: int) -> Inputs:
        """Uninitialised `Inputs` of `rows` rows for `encode_into`."""
        return Inputs.empty(
            rows,
            len(self.fields),
            [self.max_list_length] * len(self.list_fields),
            len(self.numeric_names),
            item_vectors=self.vectors is not None,
            query_vectors=self.vectors is not None and self.query_item is not None,
        )

    def encode_into(self, data: Any, out: Inputs, at: int, *, serving_position: bool) -> int:
        """Encode all rows of `data` into rows `at`, `at` + 1, ... of `out`; returns the row after the last one."""
        columns = data if isinstance(data, Columns) else Columns(data)
        columns.require(self.required_columns(columns, serving_position=serving_position))
        ids, numeric = out.ids.numpy(), out.numeric.numpy()
        lists = [bag.numpy() for bag in out.lists]
        for start in range(0, len(columns), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(columns))
            rows = slice(at + start, at + stop)
            bags = [bag[rows] for bag in lists]
            self._encode_block(columns, start, stop, ids[rows], bags, numeric[rows], serving_position)
            for tensor, name in ((out.item_row, self.item), (out.query_row, self.query_item)):
                if tensor is not None and self.vectors is not None and name is not None:
                    tensor.numpy()[rows] = self.vectors.rows(columns.block(name, start, stop))
        return at + len(columns)

    def _encode_block(
        self,
        columns: Columns,
        start: int,
        stop: int,
        ids: np.ndarray,
        lists: list[np.ndarray],
        numeric: np.ndarray,
        serving_position: bool,
    ) -> None:
        f, b, m = len(self.own.scalars), len(self.own.lists), len(self.own.numeric_names)
        self.own.encode(columns, start, stop, ids[:, :f], lists[:b], numeric[:, :m])
        if self.position is not None:
            if serving_position:
                self.position.encode_serving(ids[:, f], numeric[:, m])
            else:
                name = self.position.column
                try:
                    self.position.encode(columns.block(name, start, stop), ids[:, f], numeric[:, m])
                except InputError as error:
                    raise_infinite(columns, [name], error)
            f, m = f + 1, m + 1
        for side in self.sides:
            f1, b1 = f + len(side.fields.scalars), b + len(side.fields.lists)
            m1 = m + len(side.numeric_names)
            side.encode(columns, start, stop, ids[:, f:f1], lists[b:b1], numeric[:, m:m1])
            f, b, m = f1, b1, m1

    def with_vectors(self, vectors: ItemVectors) -> Encoders:
        """These encoders over other item vectors of the same width, so that new items can be scored.

        Raises
        ------
        ValueError
            There were no item vectors, or of another width.
        """
        if self.vectors is None or self.vectors.dim != vectors.dim:
            found = None if self.vectors is None else self.vectors.dim
            raise ValueError(f"`vectors` must have the width of those it was fitted with ({found}), got {vectors.dim}")
        return replace(self, vectors=vectors)

    def unseen(self, inputs: Inputs) -> dict[str, int]:
        """How many rows hold an unseen, rare or missing value, per scalar field."""
        counts = (inputs.ids == inputs.ids.new_tensor(self.offsets)).sum(0).tolist()
        return dict(zip(self.fields, counts, strict=True))

    def state(self, *, vectors: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able metadata and arrays (not copied) that `from_state` turns back into these encoders.

        `vectors=False` leaves the item vectors out, for a model that stores their matrix itself.
        """
        from features.encoder_state import encoders_state  # it reads this class

        return encoders_state(self, vectors)

    @classmethod
    def from_state(
        cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, vectors: ItemVectors | None = None
    ) -> Encoders:
        """The encoders that `state` described; `vectors` are those that it left out.

        Raises
        ------
        ValueError
            The state is of another version, or its item vectors were left out and are not given.
        """
        from features.encoder_state import encoders_from_state

        return encoders_from_state(meta, arrays, vectors)


__all__ = ["Encoders"]
