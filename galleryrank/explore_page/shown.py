"""The requests whose candidates are looked at: which ones, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import Dataset
from galleryrank.explore_page.facts import facts_of, telling_columns
from galleryrank.explore_page.rows import PageRows

FEW = 3  # candidates: fewer are hardly an order
LOOKED_AT = 200  # requests from which is seen what tells one request from another
TABLES = ("users", "impressions", "items")  # whose columns are said first


@dataclass(frozen=True)
class ShownRequest:
    """One request of the page.

    Attributes:
        request: Its id.
        start: Its first row among the page's rows.
        items: The candidates' ids as text, in the order of the rows.
        positions: Where the log showed them; empty without a position.
        facts: Column -> value, of columns that tell requests apart (`telling_columns`): of the user, of the context, of
            the items.
    """

    request: str
    start: int
    items: tuple[str, ...]
    positions: tuple[int | float | None, ...]
    facts: dict[str, str]


def shown_requests(rows: PageRows, dataset: Dataset, role: str, *, count: int = 12) -> list[ShownRequest]:
    """`count` requests drawn at random from those with an engagement, and with three candidates or more.

    Where there are too few of these, other requests follow, and fewer than `count` if the page has no more.

    Args:
        rows: The page's rows; their seed is also that of the draw.
        dataset: What they were read from.
        role: Theirs.
        count: At least 1.

    Raises:
        ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    drawn = _drawn(rows)
    drawn = np.concatenate([np.sort(drawn[:count]), drawn[count:LOOKED_AT]])
    starts, sizes = rows.starts[drawn], rows.sizes[drawn]
    places = np.concatenate([np.arange(start, start + size) for start, size in zip(starts, sizes)])
    table = _columns(dataset, role, rows.log_rows[places])
    columns, position = dataset.schema.columns, dataset.schema.position
    categorical = sorted(
        (name for name in table.column_names if name in columns.categorical),
        key=lambda name: TABLES.index(dataset.place(name)[0]),
    )
    numbers = pa.array(np.repeat(np.arange(len(drawn)), sizes))
    facts = telling_columns(numbers, table.select(categorical))
    shown, at = [], 0
    for start, size in zip(starts[:count].tolist(), sizes[:count].tolist()):
        own = table.slice(at, size)
        at += size
        positions = () if position is None else tuple(own["position"].to_pylist())
        shown.append(
            ShownRequest(
                str(own["request"][0].as_py()),
                start,
                tuple(str(item) for item in rows.items.slice(start, size).to_pylist()),
                positions,
                facts_of(own, facts),
            )
        )
    return shown


def _drawn(rows: PageRows) -> npt.NDArray[np.intp]:
    """The numbers of all requests at random, those that are better to look at first."""
    wanted = np.array([sign > 0 for sign in rows.signs.values()])
    engaged = np.add.reduceat((rows.labels[:, wanted] == 1.0).any(axis=1), rows.starts, dtype=np.int64) > 0
    rank = np.where(engaged, 0, 1) + np.where(rows.sizes >= FEW, 0, 2)
    chance = np.random.default_rng(rows.seed).random(len(rank))
    return np.lexsort((chance, rank))


def _columns(dataset: Dataset, role: str, wanted: npt.NDArray[np.int64]) -> pa.Table:
    """Request, position and the categorical columns of the rows `wanted` (n,), which are numbers in the whole log."""
    schema, named = dataset.schema, {"request": dataset.schema.columns.request}
    if schema.position is not None:
        named["position"] = schema.position.column
    facts = [name for name in schema.columns.categorical if name not in named.values()]
    read = list(dict.fromkeys([*named.values(), *facts]))
    parts, found = [], []
    for batch in dataset.scan(read, role):
        here = np.flatnonzero(np.isin(batch.rows, wanted, assume_unique=True))
        parts.append(batch.table.take(pa.array(here)))
        found.append(batch.rows[here])
    table = pa.concat_tables(parts).take(pa.array(np.searchsorted(np.concatenate(found), wanted)))
    own = pa.table({name: table[column] for name, column in named.items()})
    for name in facts:
        if name not in own.column_names:  # a column that is itself called "position" is told by its place
            own = own.append_column(name, table[name])
    return own
