"""What is said of a request: of whom and of what it was, in the columns that tell one request from another."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

FACTS = 4  # columns that are said of a request
LONG = 40  # characters of such a value


def telling_columns(requests: pa.Array, candidates: pa.Table) -> list[str]:
    """The columns of `candidates` that are the same within every request, and not the same in all of them.

    A property's amenity may happen to be equal for all candidates of one request: it says nothing of the request. A
    column with one value everywhere says nothing at all. Lists are left out: they are too long for a line.

    Args:
        requests: `(n,)` the request of each row.
        candidates: Its columns, n rows of several requests; a null is a value like another.

    >>> table = pa.table({"device": ["a", "a", "b"], "pool": [0, 1, 0], "bar": [0, 0, 0]})
    >>> telling_columns(pa.array([7, 7, 8]), table)
    ['device']
    """
    codes = requests.dictionary_encode().indices
    telling = []
    for name in candidates.column_names:
        if pt.is_nested(candidates[name].type):
            continue
        values = candidates[name].combine_chunks()
        pairs = pa.table({"request": codes, "value": values}).group_by(["request", "value"]).aggregate([])
        one_each = len(pairs) == pc.count_distinct(codes).as_py()
        if one_each and pc.count_distinct(values, mode="all").as_py() > 1:
            telling.append(name)
    return telling


def facts_of(candidates: pa.Table, names: list[str]) -> dict[str, str]:
    """Column -> value of one request, the first four of `names` that are not null; `candidates` are its rows."""
    values = {name: candidates[name][0].as_py() for name in names}
    said = {name: str(value)[:LONG] for name, value in values.items() if value is not None}
    return dict(list(said.items())[:FACTS])
