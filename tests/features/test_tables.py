"""Tables of every accepted kind, read the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.errors import InputError
from features.tables import Columns, as_arrow, primitive

TABLE = pa.table(
    {
        "item": pa.array([2**60 + 1, None, 3]),
        "device": ["phone", None, "desktop"],
        "price": [1.5, None, 2.5],
        "flags": [[1, 2], [], None],
    }
)


def kinds() -> dict[str, object]:
    frame = TABLE.to_pandas(types_mapper=pd.ArrowDtype)
    found: dict[str, object] = {
        "table": TABLE,
        "batch": TABLE.to_batches()[0],
        "chunks": pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]),
        "pandas": frame,
        "mapping": {name: TABLE[name].combine_chunks() for name in TABLE.schema.names},
        "lists": TABLE.to_pydict(),
        "series": {name: frame[name] for name in frame.columns},
    }
    return found


@pytest.mark.parametrize("kind", list(kinds()))
def test_every_kind_holds_the_same_values(kind: str) -> None:
    data = kinds()[kind]
    assert as_arrow(data).to_pylist() == TABLE.to_pylist()
    columns = Columns(data)
    assert len(columns) == 3
    assert columns.names == set(TABLE.schema.names)
    for name in TABLE.schema.names:
        assert columns.block(name, 1, 3).to_pylist() == TABLE[name].to_pylist()[1:]


def test_polars_speaks_the_stream_interface() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"device": ["phone", None], "flags": [[1], []], "item": [2**60 + 1, None]})
    columns = Columns(frame)
    assert columns.block("device", 0, 2).to_pylist() == ["phone", None]
    assert columns.block("item", 0, 2).to_pylist() == [2**60 + 1, None]
    assert as_arrow(frame).to_pylist() == frame.to_dicts()


def test_the_string_view_layout_is_replaced_everywhere() -> None:
    view, text = pa.string_view(), pa.large_string()
    for before, values, after in (
        (view, ["a", None], text),
        (pa.list_(view), [["a", None], None], pa.large_list(text)),
        (pa.large_list(view), [["a", None], None], pa.large_list(text)),
        (pa.list_(view, 1), [["a"], ["b"]], pa.list_(text, 1)),
    ):
        column = Columns(pa.table({"x": pa.array(values, before)})).block("x", 0, 2)
        assert column.type == after
        assert column.to_pylist() == values
    labels = pa.DictionaryArray.from_arrays(pa.array([1, None]), pa.array(["a", "b"], view))
    assert Columns({"x": labels}).block("x", 0, 2).to_pylist() == ["b", None]


def test_numpy_columns_stay_what_they_are() -> None:
    array = np.arange(4.0)
    assert Columns({"x": array}).block("x", 1, 3).base is array
    frame = pd.DataFrame({"x": array})
    assert np.shares_memory(Columns(frame).block("x", 0, 4), frame["x"].to_numpy())


def test_a_matrix_is_a_list_column() -> None:
    assert as_arrow({"flags": np.array([[1, 2], [3, 4]])})["flags"].to_pylist() == [[1, 2], [3, 4]]


def test_nulls_do_not_turn_integers_into_floats() -> None:
    values, missing = primitive(TABLE["item"].combine_chunks())
    assert values.dtype == np.int64
    assert values.tolist() == [2**60 + 1, 0, 3]
    assert missing is not None
    assert missing.tolist() == [False, True, False]
    values, missing = primitive(pa.array([True, None]))
    assert values.tolist() == [True, False]


def test_faults() -> None:
    with pytest.raises(InputError, match=r"must be an Arrow table, a pandas DataFrame, .* got int"):
        as_arrow(3)
    for reader in (as_arrow, Columns):
        with pytest.raises(InputError, match="must be equally long, got `a` 2, `b` 1"):
            reader({"a": [1, 2], "b": [1]})
    with pytest.raises(InputError) as error:
        Columns(TABLE).require(["item", "star", "city", "star"])
    assert [fault.column for fault in error.value.faults] == ["star", "city"]
    with pytest.raises(InputError, match="column `a`: must hold values of one type"):
        Columns({"a": [1, "x"]}).block("a", 0, 2)
    with pytest.raises(InputError, match="column `a`: must hold values of one type"):
        as_arrow(pd.DataFrame({"a": [1, "x"]}))
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(InputError, match="column `a`: appears more than once"):
        Columns(twice)
