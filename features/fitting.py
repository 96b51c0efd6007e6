"""Fitting the encoders in one streamed pass: frequencies of ids, quantiles of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.counting import VocabularyCounter
from features.encoded import OWN, without_table_name
from features.encoders import Encoders
from features.fields import FieldEncoders
from features.lists import first_elements, is_list
from features.positions import MAX_BUCKETS, PositionEncoder
from features.scaling import RobustScaler, ValueSample, numbers
from features.sidefeatures import SideFeatures, present
from features.tables import Columns, one_chunk
from features.vocabulary import Vocabulary

if TYPE_CHECKING:
    from features.dataset import Dataset

SIDES = ("items", "users")


@dataclass
class _TableFit:
    """What has been learnt so far about the features of one table; `columns` maps a feature to its column there."""

    limit: int
    columns: dict[str, str] = field(default_factory=dict)
    scalars: dict[str, VocabularyCounter] = field(default_factory=dict)
    lists: dict[str, VocabularyCounter] = field(default_factory=dict)
    samples: dict[str, ValueSample] = field(default_factory=dict)
    weighted: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    gaps: set[str] = field(default_factory=set)  # numeric columns with missing values

    def add(self, name: str, column: pa.Array, weights: np.ndarray | None = None) -> None:
        """Learn from rows of a column; `weights` `(n,)` int64 counts each row that often."""
        if name in self.lists:
            elements, lengths = first_elements(column, self.limit, name)
            self.lists[name].add(elements, None if weights is None else np.repeat(weights, lengths))
        elif name in self.scalars:
            self.scalars[name].add(column, weights)
        else:
            values, missing = numbers(column, name)
            if missing is not None:
                self.gaps.add(name)
            known = np.isfinite(values) if missing is None else np.isfinite(values) & ~missing
            if weights is None:
                self.samples[name].add(values if known.all() else values[known])
            else:
                self.weighted[name] = values[known], weights[known]

    def scaler(self, name: str) -> RobustScaler:
        values, weights = self.weighted.get(name, (self.samples[name].values(), None))
        return RobustScaler.fit(name, values, weights, indicator=name in self.gaps)

    def encoders(self, min_count: int, offsets: _Offsets) -> FieldEncoders:
        scalars = tuple(counter.vocabulary(min_count) for counter in self.scalars.values())
        lists = tuple(counter.vocabulary(min_count) for counter in self.lists.values())
        return FieldEncoders(
            scalars,
            tuple(offsets.take(len(vocabulary) + 1) for vocabulary in scalars),
            lists,
            tuple(offsets.take(len(vocabulary) + 1) for vocabulary in lists),
            tuple(self.scaler(name) for name in self.samples),
        )


@dataclass
class _Offsets:
    """Hands out rows of the fused table; row 0 is padding."""

    next: int = 1

    def take(self, size: int) -> int:
        self.next += size
        return self.next - size


@dataclass
class _PositionFit:
    """The largest position and a sample of log(1 + position)."""

    largest: int = 1
    sample: ValueSample = field(default_factory=ValueSample)

    def add(self, column: pa.Array, name: str) -> None:
        values, missing = numbers(column, name)
        values = values if missing is None else values[~missing]
        if len(values):
            self.largest = max(self.largest, int(min(values.max(), MAX_BUCKETS)))
            self.sample.add(np.log1p(np.maximum(values, 0), dtype=np.float64))


def fit_encoders(
    dataset: Dataset, *, roles: Sequence[str], min_count: int, max_list_length: int, hold: Sequence[str]
) -> Encoders:
    """`Encoders.fit`, with the arguments described there."""
    if max_list_length < 1:
        raise ValueError(f"`max_list_length` must be at least 1, got {max_list_length}")
    if min_count < 1:
        raise ValueError(f"`min_count` must be at least 1, got {min_count}")
    if set(hold) - set(SIDES):
        raise ValueError(f'`hold` must name "items" or "users", got {", ".join(map(repr, hold))}')
    schema = dataset.schema
    tables = _plan(dataset, max_list_length)
    own = tables.pop("impressions")
    keys = {table: VocabularyCounter(dataset.side_tables[table].key) for table in tables}
    position = _PositionFit() if schema.position is not None else None
    rows = 0
    wanted = [*own.columns, *([schema.position.column] if schema.position is not None else [])]
    wanted = [f"{OWN}{name}" for name in wanted] + [counter.name for counter in keys.values()]
    for batch in dataset.scan(list(dict.fromkeys(wanted)) or [schema.columns.item], roles):
        rows += batch.table.num_rows
        columns = Columns(without_table_name(batch.table))
        for name in own.columns:
            own.add(name, _whole(columns, name))
        for counter in keys.values():
            counter.add(_whole(columns, counter.name))
        if position is not None and schema.position is not None:
            position.add(_whole(columns, schema.position.column), schema.position.column)

    offsets = _Offsets()
    own_encoders = own.encoders(min_count, offsets)
    position_encoder = None
    if position is not None and schema.position is not None:
        column = schema.position.column
        scaler = RobustScaler.fit(f"log1p({column})", position.sample.values())
        first = offsets.take(position.largest + 1)
        position_encoder = PositionEncoder(column, position.largest, schema.position.serving_value, first, scaler)
    sides = tuple(
        _fit_side(dataset, name, fit, keys[name], rows, min_count, offsets, name in hold)
        for name, fit in tables.items()
    )
    vectors = dataset.item_vectors()
    return Encoders(
        own=own_encoders,
        position=position_encoder,
        sides=sides,
        item=schema.columns.item,
        query_item=schema.columns.query_item,
        vectors=vectors,
        max_list_length=max_list_length,
    )


def _plan(dataset: Dataset, limit: int) -> dict[str, _TableFit]:
    """Which table each feature comes from, in the order impressions, items, users; tables without features left out."""
    found: dict[str, _TableFit] = {"impressions": _TableFit(limit)}
    found |= {table: _TableFit(limit) for table in SIDES}
    columns = dataset.schema.columns
    for name in (*columns.categorical, *columns.numeric):
        table, column = dataset.place(name)
        feature = column if table == "impressions" else name  # candidates call their own column by its plain name
        fit = found[table]
        fit.columns[feature] = column
        if name in columns.numeric:
            fit.samples[feature] = ValueSample()
        elif is_list(dataset.type_of(name)):
            fit.lists[feature] = VocabularyCounter(feature)
        else:
            fit.scalars[feature] = VocabularyCounter(feature)
    return {table: fit for table, fit in found.items() if fit.columns or table == "impressions"}


def _fit_side(
    dataset: Dataset,
    name: str,
    fit: _TableFit,
    key: VocabularyCounter,
    rows: int,
    min_count: int,
    offsets: _Offsets,
    hold: bool,
) -> SideFeatures:
    """Fit to a side table as if it had been joined: every row of it counts as often as its id is in the log."""
    table = dataset.side_tables[name]
    arrays = dict(zip(fit.columns, table.take(table.ids, list(fit.columns.values())), strict=True))
    exposures, unmatched = _exposures(table.ids, table.key, key, rows)
    blank = ~_any_present(arrays.values(), len(table.ids))
    absent = unmatched + int(exposures[blank].sum()) > 0
    seen = (exposures > 0) & ~blank
    kept, weights = pa.array(np.flatnonzero(seen)), exposures[seen]
    for feature, array in arrays.items():
        fit.add(feature, array.take(kept), weights)
    side = SideFeatures(table.key, fit.encoders(min_count, offsets), f"{name} is absent" if absent else None)
    if not hold:
        return side
    return side.hold(table.ids, Columns(pa.table(arrays)), [fit.limit] * len(fit.lists))


def _exposures(ids: pa.Array, key_name: str, key: VocabularyCounter, rows: int) -> tuple[np.ndarray, int]:
    """How often each of `ids` `(V,)` is in the log (int64), and how many of the log's rows match none."""
    seen, counts = key.counts()
    index = Vocabulary(key_name, key.kind, seen)
    codes = index.encode(ids)
    exposures = np.concatenate([[0], counts])[codes].astype(np.int64)
    return exposures, rows - int(exposures.sum())


def _any_present(arrays: Iterable[pa.Array], rows: int) -> np.ndarray:
    known = np.zeros(rows, bool)
    for array in arrays:
        known |= present(array)
    return known


def _whole(columns: Columns, name: str) -> pa.Array:
    return one_chunk(columns.block(name, 0, len(columns)))


__all__ = ["fit_encoders"]
