"""Dataset: a stream over files and row groups, side tables joined by id, roles and duplicates the same everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import Dataset
from features.errors import InputError
from features.schema import ROLES, Schema


def write_toml(folder: Path, text: str) -> Dataset:
    (folder / "dataset.toml").write_text(text)
    return Dataset.open(folder)


TOML = """
[files]
impressions = "log*.parquet"
items = "items.parquet"
users = "users.parquet"
[columns]
request = "request"
item = "item"
user = "user"
numeric = ["price", "star"]
[heads.click]
"""


@pytest.fixture(params=["int", "string", "dictionary"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """300 rows in three files of small row groups; ids of every kind; items 0-19 known, 20-24 not."""

    def ids(values: Any) -> pa.Array:
        if request.param == "int":
            return pa.array(values, pa.int64())
        text = pa.array([None if v is None else f"id{v}" for v in values], pa.large_string())
        return text if request.param == "string" else text.cast(pa.string()).dictionary_encode()

    rng = np.random.default_rng(0)
    for i in range(3):
        item = [None if v == 24 else int(v) for v in rng.integers(0, 25, 100)]
        log = {
            "request": ids((np.arange(100) // 10 + 10 * i).tolist()),
            "item": ids(item),
            "user": ids(rng.integers(0, 5, 100).tolist()),
            "price": pa.array(rng.integers(10, 99, 100), pa.int32() if i else pa.int16()),
            "row": np.arange(100) + 100 * i,
            "number": pa.array(item),
            "click": rng.integers(0, 2, 100),
        }
        pq.write_table(pa.table(log), tmp_path / f"log{i}.parquet", row_group_size=33)
    items = {"item": ids(list(range(20))[::-1]), "star": np.arange(20)[::-1] * 10, "device": ["x"] * 20}
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    users = {"user": ids(list(range(5))), "device": list("abcde")}
    pq.write_table(pa.table(users), tmp_path / "users.parquet")
    return tmp_path


def test_a_scan_gives_every_row_once_in_order_in_small_batches(folder: Path) -> None:
    dataset = write_toml(folder, TOML)
    batches = list(dataset.scan(["row"], batch_rows=16))
    assert max(batch.table.num_rows for batch in batches) <= 16
    rows = np.concatenate([batch.table["row"].to_numpy() for batch in batches])
    np.testing.assert_array_equal(rows, np.arange(300))
    np.testing.assert_array_equal(np.concatenate([batch.rows for batch in batches]), rows)
    assert dataset.num_rows == 300
    for batch in batches:
        assert batch.first_row == batch.table["row"][0].as_py() - 100 * int(batch.file.stem[-1])


def test_roles_partition_the_log(folder: Path) -> None:
    dataset = write_toml(folder, TOML)
    parts = {role: dataset.table(role, ["row"])["row"].to_numpy() for role in ROLES}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(300))
    assert {role: dataset.count(role) for role in ROLES} == {role: len(rows) for role, rows in parts.items()}
    for batch in dataset.scan(["row"], ["train", "test"], batch_rows=50):
        assert set(batch.role) <= {0, 3}
        np.testing.assert_array_equal(dataset.roles[batch.rows], batch.role)
        np.testing.assert_array_equal(batch.table["row"].to_numpy(), batch.rows)


def test_side_columns_are_joined_by_id_and_unknown_ids_give_null(folder: Path) -> None:
    table = write_toml(folder, TOML).table(None, ["number", "star", "items.star", "users.device"])
    number = table["number"].to_pylist()
    expected = [None if n is None or n >= 20 else 10 * n for n in number]
    assert table["star"].to_pylist() == expected
    assert table["items.star"].to_pylist() == expected
    assert set(table["users.device"].to_pylist()) == set("abcde")


def test_without_names_a_scan_gives_what_the_schema_names(folder: Path) -> None:
    table = write_toml(folder, TOML).table("train")
    assert table.column_names == ["request", "item", "user", "click", "price", "star"]


def test_files_whose_integers_differ_in_width_are_one_log(folder: Path) -> None:
    assert write_toml(folder, TOML).table(None, ["price"]).schema.field("price").type == pa.int32()


def test_an_ambiguous_name_asks_for_its_table(folder: Path) -> None:
    with pytest.raises(InputError, match=r'`device`: is in items and users: write "items.device" or "users.device"'):
        list(write_toml(folder, TOML).scan(["device"]))


def test_a_label_is_looked_for_in_the_impressions_alone(folder: Path) -> None:
    table = pq.read_table(folder / "items.parquet")
    pq.write_table(table.append_column("click", pa.array([7] * 20)), folder / "items.parquet")
    assert set(write_toml(folder, TOML).table(None, ["click"])["click"].to_pylist()) == {0, 1}


def test_all_missing_columns_are_named_with_their_file(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        list(write_toml(folder, TOML).scan(["one", "row", "items.two"]))
    files = [Path(str(fault.file)).name for fault in caught.value.faults]
    assert [fault.column for fault in caught.value.faults] == ["one", "one", "one", "two"]
    assert files == ["log0.parquet", "log1.parquet", "log2.parquet", "items.parquet"]


def test_a_column_that_one_file_lacks_is_named_with_that_file(folder: Path) -> None:
    table = pq.read_table(folder / "log1.parquet")
    pq.write_table(table.drop_columns(["price"]), folder / "log1.parquet")
    with pytest.raises(InputError, match=r"log1\.parquet: column `price`: column is missing") as caught:
        write_toml(folder, TOML).table("train")
    assert len(caught.value.faults) == 1


def test_files_whose_types_do_not_meet_are_a_fault(folder: Path) -> None:
    table = pq.read_table(folder / "log2.parquet")
    place = table.column_names.index("price")
    pq.write_table(table.set_column(place, "price", pa.array(["a"] * 100)), folder / "log2.parquet")
    with pytest.raises(InputError, match="must have one type in all files, got int16 and int32 and string"):
        write_toml(folder, TOML).table("train")


@pytest.mark.parametrize("victim", ["log1.parquet", "items.parquet"])
def test_a_truncated_file_is_named(folder: Path, victim: str) -> None:
    content = (folder / victim).read_bytes()
    (folder / victim).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"{victim}: cannot be read as Parquet \(truncated or damaged"):
        write_toml(folder, TOML).table("train")


def test_a_damaged_page_is_an_input_error_that_names_the_file(folder: Path) -> None:
    content = bytearray((folder / "log1.parquet").read_bytes())
    content[4:400] = b"\xff" * 396
    (folder / "log1.parquet").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"log1\.parquet: cannot be read as Parquet"):
        write_toml(folder, TOML).table(None, ["request", "item"])


@pytest.mark.parametrize(
    ("impressions", "words"),
    [("none.parquet", "none.parquet: does not exist"), ("x*.parquet", "matches no file"), ("sub", "holds no Parquet")],
)
def test_a_log_that_is_not_there(folder: Path, impressions: str, words: str) -> None:
    (folder / "sub").mkdir()
    dataset = write_toml(folder, TOML.replace("log*.parquet", impressions))
    with pytest.raises(InputError, match=words):
        _ = dataset.num_rows


def test_a_file_a_list_a_glob_and_a_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    for i in range(3):
        (folder / "sub" / f"log{i}.parquet").write_bytes((folder / f"log{i}.parquet").read_bytes())
    for names, rows in (('"log1.parquet"', 100), ('["log2.parquet", "log0.parquet"]', 200), ('"sub"', 300)):
        dataset = write_toml(folder, TOML.replace('"log*.parquet"', names))
        assert dataset.num_rows == rows
        assert dataset.count() == rows
    absolute = TOML.replace("log*.parquet", str(folder / "log[12].parquet"))
    assert write_toml(folder, absolute).num_rows == 200


def test_hashes_are_those_of_the_files(folder: Path) -> None:
    hashes = write_toml(folder, TOML).data_hash()
    assert set(hashes) == {"log0.parquet", "log1.parquet", "log2.parquet", "items.parquet", "users.parquet"}
    assert hashes["items.parquet"] == hashlib.sha256((folder / "items.parquet").read_bytes()).hexdigest()


def test_unknown_roles_and_batches_of_nothing_are_refused(folder: Path) -> None:
    dataset = write_toml(folder, TOML)
    with pytest.raises(ValueError, match=r"`roles` must be among train, .*, got prod"):
        dataset.table("prod")
    with pytest.raises(ValueError, match="`batch_rows` must be at least 1, got 0"):
        list(dataset.scan(["row"], batch_rows=0))


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("policy", ["drop", "keep"])
def test_dropped_duplicates_are_gone_from_every_scan(tmp_path: Path, text: bool, policy: str) -> None:
    request = [1, 1, 1, 2, 2, 1, 1, 2]
    item = [5, 6, 5, 5, 5, 5, 7, 6]  # rows 2, 4 and 5 repeat an earlier row, 5 that of another file
    first_seen = [0, 1, 3, 6, 7]
    for i, part in enumerate((slice(0, 4), slice(4, 8))):
        keys = {"request": request[part], "item": item[part]}
        columns = {name: [f"k{v}" for v in values] if text else values for name, values in keys.items()}
        log = pa.table({**columns, "click": [0, 1, 0, 1], "row": np.arange(8)[part]})
        pq.write_table(log, tmp_path / f"log{i}.parquet")
    data = {
        "files": {"impressions": "log*.parquet"},
        "columns": {"request": "request", "item": "item"},
        "heads": {"click": {}},
        "policy": {"duplicates": policy},
    }
    dataset = Dataset(Schema.from_dict(data), tmp_path)
    kept = first_seen if policy == "drop" else list(range(8))
    assert dataset.table(None, ["row"])["row"].to_pylist() == kept
    assert dataset.count() == len(kept)
    assert [i for i, role in enumerate(dataset.roles) if role >= 0] == kept
    by_role = [row for role in ROLES for row in dataset.table(role, ["row"])["row"].to_pylist()]
    assert sorted(by_role) == kept
    assert dataset.validate().ok


def test_an_empty_role_is_an_empty_table_of_the_right_types(folder: Path) -> None:
    toml = TOML + "[split]\nby = 'request'\nfractions = { train = 1.0 }\n"
    table = write_toml(folder, toml).table("test", ["price", "star"])
    assert table.num_rows == 0
    assert table.schema.types == [pa.int32(), pa.int64()]


def test_vectors_are_read_when_there_are_some(folder: Path) -> None:
    assert write_toml(folder, TOML).item_vectors() is None
    ids = pq.read_table(folder / "items.parquet")["item"]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(40, dtype=np.float32)), 2)
    pq.write_table(pa.table({"item": ids, "vector": vectors}), folder / "vectors.parquet")
    dataset = write_toml(folder, TOML.replace("[columns]", 'vectors = "vectors.parquet"\n[columns]'))
    read = dataset.item_vectors()
    assert read is not None
    assert (len(read), read.dim) == (20, 2)
    assert "vectors.parquet" in dataset.data_hash()


def test_vectors_are_chosen_when_a_data_set_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pq.read_table(folder / "items.parquet")["item"]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(40, dtype=np.float32)), 2)
    other = folder.with_name(f"{folder.name} embedded")
    other.mkdir()
    pq.write_table(pa.table({"item": ids, "v": vectors}), other / "[1].parquet")
    write_toml(folder, TOML.replace("[columns]", 'vectors = "vectors.parquet"\n[columns]'))
    monkeypatch.chdir(other)  # a path is the caller's, not relative to the data set
    dataset = Dataset.open(folder, vectors="[1].parquet")
    read = dataset.item_vectors()
    assert read is not None
    assert len(read) == 20
    assert dataset.schema.files.vectors == f"../{other.name}/[1].parquet"
    assert dataset.replaced_vectors == Path("[1].parquet")
    assert dataset.vector_file not in {fault.file for fault in dataset.validate().faults}
    without = Dataset.open(folder, vectors=False)
    assert without.item_vectors() is None
    assert without.replaced_vectors is False
    assert Dataset.open(folder).replaced_vectors is None
    with pytest.raises(ValueError, match="got True"):
        Dataset.open(folder, vectors=True)


def test_vectors_that_are_not_there_yet_say_how_they_are_made(folder: Path) -> None:
    dataset = write_toml(folder, TOML.replace("[columns]", 'vectors = "vectors.parquet"\n[columns]'))
    (fault,) = (f for f in dataset.validate().faults if f.file == folder / "vectors.parquet")
    assert f"galleryrank embed {folder / 'dataset.toml'} --out DIR" in fault.message
    assert "--vectors none" in fault.message
    with pytest.raises(InputError, match="does not exist: make it by `galleryrank embed"):
        dataset.item_vectors()
    dataset = write_toml(folder, TOML.replace("[columns]", 'vectors = "*.parquet"\n[columns]'))
    with pytest.raises(InputError, match=r"\[files\]\.vectors: must be one file, got '5 files'"):
        dataset.item_vectors()
