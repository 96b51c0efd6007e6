"""Item vectors: read in a stream, found by id, every fault of the file at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import features.vectors as vectors_module
from features.errors import InputError
from features.vector_reading import METADATA
from features.vectors import ItemVectors


def write(path: Path, ids: object, column: pa.Array, name: str = "vector") -> Path:
    pq.write_table(pa.table({"item": ids, name: column}), path)
    return path


def matrix(rows: int, width: int, kind: pa.DataType) -> tuple[np.ndarray, pa.Array]:
    values = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float16)
    flat = pa.array(values.reshape(-1)).cast(kind)
    return values.astype(np.float32), pa.FixedSizeListArray.from_arrays(flat, width)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("layout", ["fixed", "list", "large"])
def test_rows_gather_the_vectors_of_ids(
    tmp_path: Path, kind: pa.DataType, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_module, "BATCH_ROWS", 7)  # several batches, the last one short
    values, column = matrix(23, 4, kind)
    if layout != "fixed":
        column = column.cast(pa.list_(kind) if layout == "list" else pa.large_list(kind))
    ids = np.random.default_rng(1).permutation(10**6)[:23] + 2**60
    found = ItemVectors.from_parquet(write(tmp_path / "v.parquet", ids, column), "item")
    assert (len(found), found.dim) == (23, 4)
    assert found.matrix.dtype == np.float32
    assert not found.matrix[0].any()
    assert np.array_equal(found.matrix[found.rows(ids[::-1])], values[::-1])
    assert found.rows(pa.array([int(ids[4]), None, 5])).tolist() == [5, 0, 0]


def test_string_ids_and_a_named_column(tmp_path: Path) -> None:
    values, column = matrix(2, 3, pa.float32())
    table = pa.table({"item": pa.array(["b", "a"]).dictionary_encode(), "tags": [["x"], []], "e": column})
    pq.write_table(table, tmp_path / "v.parquet")
    found = ItemVectors.from_parquet(tmp_path / "v.parquet", "item", "e")
    assert np.array_equal(found.matrix[found.rows(pa.array(["a", "b"]))], values[::-1])
    with pytest.raises(InputError, match="exactly one list-valued column, got `tags`, `e`"):
        ItemVectors.from_parquet(tmp_path / "v.parquet", "item")


@pytest.mark.parametrize("ids", [np.array([4, 9]), ["x", "y"]])
def test_round_trip_and_fingerprint(ids: np.ndarray | list[str]) -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    original = ItemVectors.from_arrays("item", ids, values)
    meta, arrays = original.state()
    again = ItemVectors.from_state(json.loads(json.dumps(meta)), arrays)
    assert np.array_equal(again.matrix, original.matrix)
    assert again.rows(pa.array(ids)).tolist() == [1, 2]
    assert again.fingerprint == original.fingerprint
    assert ItemVectors.from_arrays("item", ids[::-1], values).fingerprint != original.fingerprint
    assert ItemVectors.from_arrays("item", ids, values + 1).fingerprint != original.fingerprint
    changed = {**arrays, "matrix": arrays["matrix"] + np.array([[0], [0], [1]], np.float32)}
    with pytest.raises(InputError, match="must have the fingerprint"):
        ItemVectors.from_state(meta, changed)


def test_every_fault_of_a_file_at_once(tmp_path: Path) -> None:
    column = pa.array([[1.0, 2.0], [1.0], [np.nan, 0.0], None, [1.0, 2.0]])
    path = write(tmp_path / "v.parquet", pa.array([1, 2, 3, None, 1]), column)
    with pytest.raises(InputError) as error:
        ItemVectors.from_parquet(path, "item")
    assert {(fault.column, fault.row, fault.message) for fault in error.value.faults} == {
        ("vector", 1, "vector must hold 2 numbers as the first one"),
        ("vector", 2, "vector must hold finite numbers"),
        ("vector", 3, "vector must not be null"),
        ("item", 3, "id must not be null"),
        ("item", 4, "id must appear in one row only"),
    }
    assert all(fault.file == path for fault in error.value.faults)


def test_wrong_columns(tmp_path: Path) -> None:
    _, column = matrix(2, 3, pa.float32())
    path = write(tmp_path / "v.parquet", [1, 2], column)
    with pytest.raises(InputError, match=r"v\.parquet: column `hotel`: is missing"):
        ItemVectors.from_parquet(path, "hotel")
    with pytest.raises(InputError, match=r"v\.parquet: column `e`: is missing"):
        ItemVectors.from_parquet(path, "item", "e")
    with pytest.raises(InputError, match="must hold lists, got type int64"):
        ItemVectors.from_parquet(path, "vector", "item")
    words = write(tmp_path / "w.parquet", [1, 2], pa.array([["a"], ["b"]]))
    with pytest.raises(InputError, match="must hold lists of numbers, got type list"):
        ItemVectors.from_parquet(words, "item")
    floats = write(tmp_path / "f.parquet", [1.0, 2.0], column)
    with pytest.raises(InputError, match=r"f\.parquet: column `item`: must hold integers"):
        ItemVectors.from_parquet(floats, "item")
    empty = write(tmp_path / "n.parquet", pa.array([], pa.int64()), column.slice(0, 0))
    with pytest.raises(InputError, match="holds no vectors"):
        ItemVectors.from_parquet(empty, "item")
    (tmp_path / "t.parquet").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"t\.parquet"):
        ItemVectors.from_parquet(tmp_path / "t.parquet", "item")


def embedded(path: Path, said: object) -> Path:
    """A file whose metadata say `said`, as the embedding store writes them."""
    _, column = matrix(2, 3, pa.float32())
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    table = pa.table({"item": pa.array([1, 2]), "vector": column}).replace_schema_metadata({METADATA: text})
    pq.write_table(table, path)
    return path


def test_the_encoder_is_read_from_the_metadata_and_survives_the_state(tmp_path: Path) -> None:
    said = {"encoder": "ab" * 32, "photos": "cd" * 32, "dim": 3, "version": 1}
    found = ItemVectors.from_parquet(embedded(tmp_path / "v.parquet", said), "item")
    assert found.encoder == "ab" * 32
    meta, arrays = found.state()
    assert ItemVectors.from_state(json.loads(json.dumps(meta)), arrays).encoder == "ab" * 32
    del meta["encoder"]  # as it was written before encoders were known
    assert ItemVectors.from_state(meta, arrays).encoder is None
    _, column = matrix(2, 3, pa.float32())
    elsewhere = ItemVectors.from_parquet(write(tmp_path / "e.parquet", [1, 2], column), "item")
    assert elsewhere.encoder is None
    assert elsewhere.fingerprint == found.fingerprint  # of the content alone


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"{", "must be JSON"),
        ([], "must name its encoder's fingerprint"),
        ({"dim": 3, "version": 1}, "must name its encoder's fingerprint"),
        ({"encoder": "", "version": 1}, "must name its encoder's fingerprint"),
        ({"encoder": "ab", "version": 2}, "must be of version 1"),
    ],
)
def test_metadata_that_cannot_be_understood_are_refused(tmp_path: Path, said: object, message: str) -> None:
    with pytest.raises(InputError, match=rf"v\.parquet: metadata 'galleryrank.embedding' {message}"):
        ItemVectors.from_parquet(embedded(tmp_path / "v.parquet", said), "item")


def test_an_extension_holds_every_vector_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "BATCH_ROWS", 2)
    values = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    values[4, 1] = 0.0
    for ids in (np.arange(6) * 7, [f"id{i}" for i in range(6)]):
        old = ItemVectors.from_arrays("item", ids[:5], values[:5])
        assert ItemVectors.from_arrays("item", ids[::-1], values[::-1]).extends(old)
        assert old.extends(old)
        assert not ItemVectors.from_arrays("item", ids[1:], values[1:]).extends(old)
        assert not old.extends(ItemVectors.from_arrays("item", ids, values))
        nearly = values.copy()
        nearly[4, 1] = -0.0  # an equal number, in other bits
        assert not ItemVectors.from_arrays("item", ids, nearly).extends(old)
        assert not ItemVectors.from_arrays("item", ids, values[:, :2]).extends(old)
    numbers, words = ([1], ["1"])
    one = ItemVectors.from_arrays("item", np.array(numbers), values[:1])
    assert not ItemVectors.from_arrays("item", words, values[:1]).extends(one)


@pytest.mark.parametrize("text", [False, True])
def test_an_update_wins_and_keeps_the_rest(text: bool) -> None:
    values = np.arange(12, dtype=np.float32).reshape(6, 2) + 1
    ids = [f"id{i}" for i in range(6)] if text else np.arange(6)
    old = ItemVectors.from_arrays("item", ids[:4], values[:4], encoder="e")
    new = ItemVectors.from_arrays("item", ids[3:], -values[3:])
    both = old.updated(new)
    rows = both.rows(pa.array(ids))
    np.testing.assert_array_equal(both.matrix[rows], np.concatenate([values[:3], -values[3:]]))
    assert (len(both), both.encoder) == (6, "e")
    assert not both.matrix[0].any()
    assert both.matrix.ctypes.data % 64 == 0
    whole = ItemVectors.from_arrays("item", ids, values)
    assert old.updated(whole).fingerprint == whole.fingerprint
    with pytest.raises(ValueError, match="`newer` must hold 2 numbers by"):
        old.updated(ItemVectors.from_arrays("item", ids, values[:, :1]))


def test_a_column_without_ids_has_lost_its_type() -> None:
    for ids in (np.array([4, 9]), ["x", "y"]):
        vectors = ItemVectors.from_arrays("item", ids, np.eye(2))
        for nothing in (np.full(3, np.nan), pa.nulls(3), pa.nulls(3, pa.string()), pa.nulls(3, pa.int64())):
            assert vectors.rows(nothing).tolist() == [0, 0, 0]
        assert vectors.rows(pa.nulls(0)).tolist() == []


def test_numbers_too_large_for_float32_are_not_finite(tmp_path: Path) -> None:
    path = write(tmp_path / "v.parquet", [1, 2], pa.array([[1.0, 2.0], [1e300, 0.0]]))
    with pytest.raises(InputError, match="row 1: vector must hold finite numbers"):
        ItemVectors.from_parquet(path, "item")


def test_a_matrix_that_does_not_fit() -> None:
    key = ItemVectors.from_arrays("item", np.array([1]), np.ones((1, 2))).key
    with pytest.raises(ValueError, match=r"`matrix` must be \(2, D\) float32"):
        ItemVectors(key, np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="row 0"):
        ItemVectors(key, np.ones((2, 2), np.float32))
