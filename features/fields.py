"""The features of one table, fitted: ids become indices into the fused table, numbers are scaled."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from features.errors import Fault, InputError
from features.lists import encode_lists, is_list
from features.scaling import RobustScaler, raise_infinite
from features.tables import Columns
from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class FieldEncoders:
    """Vocabularies and scalers of the features that one table holds (the impressions, the items or the users).

    Parameters
    ----------
    scalars, lists : tuple of Vocabulary
        One per scalar and one per list-valued categorical column, named by it.
    offsets, list_offsets : tuple of int
        Where each field begins in the fused embedding table.
    scalers : tuple of RobustScaler
        One per numeric column; one with an indicator writes two columns, the number and "is missing".
    """

    scalars: tuple[Vocabulary, ...] = ()
    offsets: tuple[int, ...] = ()
    lists: tuple[Vocabulary, ...] = ()
    list_offsets: tuple[int, ...] = ()
    scalers: tuple[RobustScaler, ...] = ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*(v.name for v in self.scalars), *(v.name for v in self.lists), *(s.name for s in self.scalers))

    @cached_property
    def numeric_names(self) -> tuple[str, ...]:
        """What each column of the numeric matrix means, e.g. "price", "price is missing"."""
        names: list[str] = []
        for scaler in self.scalers:
            names += [scaler.name, f"{scaler.name} is missing"] if scaler.indicator else [scaler.name]
        return tuple(names)

    def encode(
        self,
        columns: Columns,
        start: int,
        stop: int,
        ids: np.ndarray,
        lists: Sequence[np.ndarray],
        numeric: np.ndarray,
        only: Collection[str] | None = None,
    ) -> None:
        """Write rows `start` to `stop`.

        Parameters
        ----------
        columns : Columns
            The table.
        start, stop : int
            The rows, n = stop - start.
        ids : array `(n, F)` int32
        lists : one array `(n, L)` int32 per list field
        numeric : array `(n, M)` float32
        only : names, optional
            Encode these columns and leave the others' places untouched.

        Raises
        ------
        InputError
            A column of a type that is not that of training; infinite numbers, of all numeric columns at once.
        """
        for j, (vocabulary, offset) in enumerate(zip(self.scalars, self.offsets, strict=True)):
            if only is None or vocabulary.name in only:
                block = columns.block(vocabulary.name, start, stop)
                if not isinstance(block, np.ndarray) and is_list(block.type):
                    raise InputError(Fault("must hold one value per row, got lists", column=vocabulary.name))
                np.add(vocabulary.encode(block), np.int32(offset), out=ids[:, j])
        for vocabulary, offset, out in zip(self.lists, self.list_offsets, lists, strict=True):
            if only is None or vocabulary.name in only:
                encode_lists(columns.block(vocabulary.name, start, stop), vocabulary, offset, out)
        j = 0
        for scaler in self.scalers:
            if only is None or scaler.name in only:
                missing = numeric[:, j + 1] if scaler.indicator else None
                try:
                    scaler.transform(columns.block(scaler.name, start, stop), numeric[:, j], missing)
                except InputError as error:
                    read = [s.name for s in self.scalers if only is None or s.name in only]
                    raise_infinite(columns, read, error)
            j += 2 if scaler.indicator else 1

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able metadata and arrays for `from_state`."""
        arrays: dict[str, np.ndarray] = {}
        described: dict[str, list[dict[str, Any]]] = {}
        for part, vocabularies in (("scalars", self.scalars), ("lists", self.lists)):
            described[part] = []
            for vocabulary in vocabularies:
                meta, keys = vocabulary.state()
                described[part].append(meta)
                arrays.update(prefixed(vocabulary.name, keys))
        return {
            **described,
            "offsets": list(self.offsets),
            "list_offsets": list(self.list_offsets),
            "scalers": [scaler.state() for scaler in self.scalers],
        }, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> FieldEncoders:
        """The encoders that `state` described."""

        def vocabularies(part: str) -> tuple[Vocabulary, ...]:
            return tuple(Vocabulary.from_state(m, unprefixed(m["name"], arrays)) for m in meta[part])

        return cls(
            vocabularies("scalars"),
            tuple(meta["offsets"]),
            vocabularies("lists"),
            tuple(meta["list_offsets"]),
            tuple(RobustScaler(**scaler) for scaler in meta["scalers"]),
        )


def prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under "prefix/name".

    Examples
    --------
    >>> list(prefixed("item", {"keys": np.arange(2)}))
    ['item/keys']
    """
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def unprefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of `arrays` that lie under `prefix`, by the rest of their name."""
    start = f"{prefix}/"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


__all__ = ["FieldEncoders", "prefixed", "unprefixed"]
