"""Validation: one test per kind of fault, all kinds in one go, and nothing said about a sound log."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import Dataset
from features.errors import Fault, InputError
from features.schema import Schema
from features.validation import ValidationReport

NAN, INF = float("nan"), float("inf")


def log(rows: int = 12, **columns: Any) -> dict[str, Any]:
    """A sound log of requests of three; `columns` replace or, when None, remove."""
    sound: dict[str, Any] = {
        "request": [i // 3 for i in range(rows)],
        "item": [i % 3 + 10 for i in range(rows)],
        "time": [1000 * (i // 3) for i in range(rows)],
        "position": [i % 3 + 1 for i in range(rows)],
        "price": [float(i) for i in range(rows)],
        "click": pa.array([i % 2 for i in range(rows)], pa.float64()),
        "long_click": pa.array([int(i % 4 == 1) for i in range(rows)], pa.int8()),
    }
    return {name: values for name, values in {**sound, **columns}.items() if values is not None}


def changed(values: list[Any], **at: Any) -> list[Any]:
    """`values` with some replaced: changed([0, 0], r1=5) -> [0, 5]."""
    return [at.get(f"r{i}", value) for i, value in enumerate(values)]


def schema(**parts: Any) -> Schema:
    data: dict[str, Any] = {
        "files": {"impressions": "log*.parquet"},
        "columns": {"request": "request", "item": "item", "time": "time", "numeric": ["price"]},
        "position": {"column": "position"},
        "heads": {"click": {}, "long_click": {"implies": "click"}},
    }
    for name, part in parts.items():
        data[name] = {**data.get(name, {}), **part}
    return Schema.from_dict(data)


def write(folder: Path, *tables: dict[str, Any]) -> None:
    for i, table in enumerate(tables):
        pq.write_table(pa.table(table), folder / f"log{i}.parquet", row_group_size=5)


def check(folder: Path, *tables: dict[str, Any], **parts: Any) -> ValidationReport:
    write(folder, *tables)
    return Dataset(schema(**parts), folder).validate()


def the_fault(report: ValidationReport) -> Fault:
    assert len(report.faults) == 1, [str(fault) for fault in report.faults]
    return report.faults[0]


def test_a_sound_log_has_no_fault(tmp_path: Path) -> None:
    report = check(tmp_path, log(), log(request=[i // 3 + 9 for i in range(12)]))
    assert report.ok
    assert report.rows == 24
    assert report.heads["click"].positives == 12
    assert report.heads["long_click"].labelled == 24
    assert sum(report.role_rows.values()) == 24
    report.raise_if_faulty()


CLICK = [i % 2 for i in range(12)]
LONG = [int(i % 4 == 1) for i in range(12)]
REQUEST = [i // 3 for i in range(12)]


@pytest.mark.parametrize(
    ("columns", "column", "row", "value", "words"),
    [
        ({"click": changed(CLICK, r7=2)}, "click", 7, 2, "label must be 0, 1 or null"),
        ({"click": changed(CLICK, r7=-1)}, "click", 7, -1, "label must be 0, 1 or null"),
        ({"click": changed([float(c) for c in CLICK], r0=0.5)}, "click", 0, 0.5, "label must be 0, 1 or null"),
        ({"click": changed([float(c) for c in CLICK], r8=INF)}, "click", 8, INF, "label must be 0, 1 or null"),
        ({"long_click": changed(LONG, r6=1)}, "long_click", 6, 1, "because `long_click` implies `click`"),
        ({"request": changed(REQUEST, r11=None)}, "request", 11, None, "must not be null"),
        ({"item": changed([i % 3 for i in range(12)], r4=None)}, "item", 4, None, "must not be null"),
        ({"time": changed([0] * 12, r4=None)}, "time", 4, None, "must not be null"),
        ({"position": changed([1] * 12, r5=0)}, "position", 5, 0, "integer of at least 1"),
        ({"position": changed([1] * 12, r5=-3)}, "position", 5, -3, "integer of at least 1"),
        ({"position": changed([1.0] * 12, r5=1.5)}, "position", 5, 1.5, "integer of at least 1"),
        ({"position": changed([1.0] * 12, r5=INF)}, "position", 5, INF, "integer of at least 1"),
        ({"position": changed([1] * 12, r5=None)}, "position", 5, None, "must not be null"),
        ({"price": changed([1.0] * 12, r9=-INF)}, "price", 9, -INF, "must be finite"),
        ({"request": [float(r) for r in REQUEST]}, "request", None, "double", "integers or strings"),
        ({"time": ["noon"] * 12}, "time", None, "string", "integer seconds or a timestamp"),
        ({"click": ["no"] * 12}, "click", None, "string", "0/1 numbers or booleans"),
        ({"position": ["top"] * 12}, "position", None, "string", "integers"),
        ({"price": ["cheap"] * 12}, "price", None, "string", "numbers or booleans"),
        ({"price": None}, "price", None, None, "column is missing"),
        ({"long_click": None}, "long_click", None, None, "column is missing"),
    ],
)
def test_one_fault_says_column_row_and_value(
    tmp_path: Path, columns: dict[str, Any], column: str, row: int | None, value: object, words: str
) -> None:
    fault = the_fault(check(tmp_path, log(**columns)))
    assert (fault.file, fault.column, fault.row, fault.value) == (tmp_path / "log0.parquet", column, row, value)
    assert words in fault.message


def test_a_nan_label_is_a_fault_unless_the_policy_reads_it_as_missing(tmp_path: Path) -> None:
    broken = log(click=changed([float(c) for c in CLICK], r7=NAN))
    fault = the_fault(check(tmp_path, broken))
    assert str(fault).startswith(f"{tmp_path / 'log0.parquet'}: column `click`, row 7: label must be 0, 1 or null")
    assert str(fault).endswith("got nan")
    report = check(tmp_path, broken, policy={"missing": "nan"})
    assert report.ok
    assert report.heads["click"].labelled == 11


def test_a_null_label_is_a_missing_label(tmp_path: Path) -> None:
    report = check(tmp_path, log(click=changed(CLICK, r0=None), long_click=[None] * 12))
    assert report.ok
    assert report.heads["click"].labelled == 11
    assert "head `long_click` has no labelled row" in report.warnings


def test_booleans_are_labels(tmp_path: Path) -> None:
    assert check(tmp_path, log(click=[bool(c) for c in CLICK])).heads["click"].positives == 6


def test_the_first_three_rows_of_a_kind_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    """Rows count from 0 in each file, over its row groups."""
    report = check(tmp_path, log(), log(request=[r + 9 for r in REQUEST], click=[*CLICK[:5], 2, 3, 4, 5, 6, 7, 8]))
    fault = the_fault(report)
    assert (fault.file, fault.row, fault.count) == (tmp_path / "log1.parquet", 5, 7)
    assert fault.more == ((6, 3), (7, 4))
    assert str(fault).endswith("got 2.0 (7 rows; then row 6: 3.0, row 7: 4.0)")


@pytest.mark.parametrize("kind", ["int", "string", "dictionary"])
def test_duplicates_are_found_over_files_and_compared_exactly(tmp_path: Path, kind: str) -> None:
    def ids(values: list[int]) -> pa.Array:
        text = pa.array([f"k{v}" for v in values], pa.large_string())
        return {"int": pa.array(values), "string": text, "dictionary": text.dictionary_encode()}[kind]

    first = log(request=ids(REQUEST), item=ids([i % 3 for i in range(12)]))
    item = [5, 6, 7] * 4
    item[4] = 1  # request 11 below is 2 -> (2, 1) stands in the first file
    again = [r + 9 for r in REQUEST]
    again[4] = 2
    second = log(request=ids(again), item=ids(item), time=[5000] * 12)
    report = check(tmp_path, first, second)
    fault = the_fault(report)
    assert (fault.file, fault.row, fault.column) == (tmp_path / "log1.parquet", 4, "request, item")
    assert fault.value == ((2, 1) if kind == "int" else ("k2", "k1"))
    for policy in ("drop", "keep"):
        allowed = check(tmp_path, first, second, policy={"duplicates": policy})
        assert allowed.ok
        assert any("1 duplicate" in warning for warning in allowed.warnings)


def test_every_column_that_is_missing_is_named_in_every_file(tmp_path: Path) -> None:
    report = check(tmp_path, log(price=None, click=None), log(price=None, request=[r + 9 for r in REQUEST]))
    found = {(Path(str(fault.file)).name, fault.column) for fault in report.faults}
    assert found == {("log0.parquet", "price"), ("log0.parquet", "click"), ("log1.parquet", "price")}


@pytest.mark.parametrize("column", ["keep_prob", "propensity"])
@pytest.mark.parametrize("value", [0.0, 1.2, -0.1, NAN, INF])
def test_probabilities_lie_in_0_1(tmp_path: Path, column: str, value: float) -> None:
    broken = log(**{column: changed([1.0] * 12, r3=value)})
    fault = the_fault(check(tmp_path, broken, columns={column: column}))
    assert (fault.column, fault.row) == (column, 3)
    assert fault.message == "must be in (0, 1]"
    np.testing.assert_equal(fault.value, value)


def test_a_null_probability_is_a_fault(tmp_path: Path) -> None:
    fault = the_fault(check(tmp_path, log(keep=changed([1.0] * 12, r3=None)), columns={"keep_prob": "keep"}))
    assert (fault.column, fault.row, fault.message) == ("keep", 3, "must not be null")


SAMPLED = {"columns": {"keep_prob": "keep"}, "sampling": {"negative_rate": 0.1}}
KEEP = [1.0 if c else 0.1 for c in CLICK]


def test_keep_probabilities_that_agree_with_the_rate_are_sound_also_in_float32(tmp_path: Path) -> None:
    assert check(tmp_path, log(keep=pa.array(KEEP, pa.float32())), **SAMPLED).ok


@pytest.mark.parametrize(
    ("keep", "row", "value", "words"),
    [
        (changed(KEEP, r4=0.2), 4, 0.2, "must equal the declared negative_rate 0.1 on unprotected rows"),
        (changed(KEEP, r4=1.0), 4, 1.0, "must equal the declared negative_rate 0.1 on unprotected rows"),
        (changed(KEEP, r5=0.1), 5, 0.1, "must be 1: the row is protected (click, long_click)"),
    ],
)
def test_a_rate_that_contradicts_keep_prob(
    tmp_path: Path, keep: list[float], row: int, value: float, words: str
) -> None:
    fault = the_fault(check(tmp_path, log(keep=keep), **SAMPLED))
    assert (fault.column, fault.row, fault.value, fault.message) == ("keep", row, value, words)


def test_rows_of_roles_that_were_not_sampled_were_all_kept(tmp_path: Path) -> None:
    role = ["train"] * 6 + ["test"] * 6
    split = {"by": "column", "column": "role"}
    columns, sampling = {"keep_prob": "keep"}, {"negative_rate": 0.1, "roles": ["train"]}
    keep = KEEP[:6] + [1.0] * 6
    assert check(tmp_path, log(role=role, keep=keep), columns=columns, sampling=sampling, split=split).ok
    broken = log(role=role, keep=changed(keep, r8=0.1))
    fault = the_fault(check(tmp_path, broken, columns=columns, sampling=sampling, split=split))
    assert (fault.row, fault.value, fault.message) == (8, 0.1, "must be 1: only train rows were sampled")


def test_one_rate_per_row_is_compared_with_its_row(tmp_path: Path) -> None:
    rate = [0.1] * 6 + [0.5] * 6
    keep = [1.0 if c else r for c, r in zip(CLICK, rate, strict=True)]
    parts = {"columns": {"keep_prob": "keep"}, "sampling": {"negative_rate_column": "rate"}}
    assert check(tmp_path, log(rate=rate, keep=keep), **parts).ok
    fault = the_fault(check(tmp_path, log(rate=rate, keep=changed(keep, r8=0.1)), **parts))
    assert (fault.row, fault.message) == (8, "must equal the rate in `rate` on unprotected rows")
    fault = the_fault(check(tmp_path, log(rate=changed(rate, r8=0.0), keep=keep), **parts))
    assert (fault.column, fault.row, fault.value, fault.message) == ("rate", 8, 0.0, "must be in (0, 1]")


def test_when_requests_were_sampled_one_engaged_row_protects_its_request(tmp_path: Path) -> None:
    """The engaged row of request 2 lies in the next file."""
    first = log(rows=7, click=[0, 0, 0, 0, 1, 0, 0], long_click=[0] * 7, keep=[0.1] * 3 + [1.0] * 4)
    second = log(rows=2, click=[0, 1], long_click=[0] * 2, keep=[1.0] * 2, request=[2, 2], item=[1, 2], time=[2000] * 2)
    parts = {**SAMPLED, "sampling": {"negative_rate": 0.1, "unit": "request"}}
    assert check(tmp_path, first, second, **parts).ok
    second["keep"] = [0.1, 1.0]
    fault = the_fault(check(tmp_path, first, second, **parts))
    assert (fault.file, fault.row) == (tmp_path / "log1.parquet", 0)
    assert fault.message.startswith("must be 1: a row of the request is protected")


def test_protecting_columns_need_not_be_heads(tmp_path: Path) -> None:
    saved = [int(i in (1, 2, 3, 5, 7, 9, 11)) for i in range(12)]
    keep = [1.0 if s else 0.1 for s in saved]
    sampling = {"negative_rate": 0.1, "protected_by": ["saved"]}
    report = check(tmp_path, log(saved=saved, keep=keep), columns={"keep_prob": "keep"}, sampling=sampling)
    assert report.ok


def test_a_head_that_does_not_imply_the_protecting_event(tmp_path: Path) -> None:
    sampling = {"negative_rate": 0.1, "protected_by": ["long_click"]}
    keep = [1.0 if c else 0.1 for c in LONG]
    report = check(tmp_path, log(keep=keep), columns={"keep_prob": "keep"}, sampling=sampling)
    assert report.ok
    assert report.unprotected_heads == ("click",)
    (warning,) = (warning for warning in report.warnings if "`click`" in warning)
    assert "is 1 on 3 sampled rows" in warning
    assert 'name its column in protected_by if it did protect rows, or train with correction = "inverse' in warning
    fault = the_fault(check(tmp_path, log(keep=KEEP), columns={"keep_prob": "keep"}, sampling=sampling))
    assert (fault.column, fault.row, fault.count) == ("keep", 3, 3)  # kept as if protected: that stays a fault
    assert check(tmp_path, log(keep=KEEP), **SAMPLED).unprotected_heads == ()


def test_a_null_protecting_column_allows_either_and_is_counted(tmp_path: Path) -> None:
    click = changed(CLICK, r0=None, r2=None)
    keep = changed(KEEP, r0=1.0)
    report = check(tmp_path, log(click=click, long_click=changed(LONG, r0=None), keep=keep), **SAMPLED)
    assert report.ok
    assert any(warning.startswith("2 sampled rows have null") for warning in report.warnings)
    fault = the_fault(check(tmp_path, log(click=click, keep=changed(keep, r2=0.5)), **SAMPLED))
    assert (fault.row, fault.value) == (2, 0.5)


def test_keep_probabilities_without_a_declared_rate_are_a_warning(tmp_path: Path) -> None:
    report = check(tmp_path, log(keep=KEEP), columns={"keep_prob": "keep"})
    assert report.ok
    assert report.sampled_without_rate
    assert any("6 rows have keep_prob < 1" in warning for warning in report.warnings)
    assert not check(tmp_path, log(keep=KEEP), **SAMPLED).sampled_without_rate
    assert not check(tmp_path, log(keep=[1.0] * 12), columns={"keep_prob": "keep"}).sampled_without_rate


def test_young_train_rows_and_empty_roles_and_one_sided_heads_are_warned_of(tmp_path: Path) -> None:
    heads = {"click": {"maturity": "2000s"}}
    split = {"by": "time", "fractions": {"train": 0.99, "test": 0.01}}
    report = check(tmp_path, log(long_click=[0] * 12), heads=heads, split=split)
    assert report.ok
    assert report.heads["click"].refused == 6  # the requests at 2000 and 3000 s; the one at 1000 s is just old enough
    assert "role test has no rows" in report.warnings
    assert "head `long_click` is 0 on all of its 12 labelled rows" in report.warnings


def test_rows_of_fitted_roles_and_labels_of_measured_ones_that_are_too_young_are_counted(tmp_path: Path) -> None:
    """The log ends at 3000 s: with a maturity of 1500 s the requests at 2000 and 3000 s are young."""
    role = ["train"] * 3 + ["tune"] * 3 + ["calibrate"] * 3 + ["test"] * 3
    young = log(role=role, click=changed(CLICK, r11=None))
    split = {"by": "column", "column": "role"}
    counts = check(tmp_path, young, heads={"click": {"maturity": "1500s"}}, split=split).heads["click"]
    assert (counts.refused, counts.immature) == (3, 2)


def test_roles_in_a_column_must_be_roles(tmp_path: Path) -> None:
    role = ["train"] * 10 + ["prod", None]
    fault = the_fault(check(tmp_path, log(role=role), split={"by": "column", "column": "role"}))
    assert (fault.column, fault.row, fault.value, fault.count) == ("role", 10, "prod", 2)


def test_a_log_without_rows(tmp_path: Path) -> None:
    empty = pa.table(log()).slice(0, 0)
    pq.write_table(empty, tmp_path / "log0.parquet")
    assert the_fault(Dataset(schema(), tmp_path).validate()).message == "holds no rows"


def damage_footer(content: bytearray) -> bytes:
    return bytes(content[: len(content) // 2])


def damage_page(content: bytearray) -> bytes:
    content[4:60] = b"\xff" * 56
    return bytes(content)


@pytest.mark.parametrize("damage", [damage_footer, damage_page])
def test_an_unreadable_file_is_named_and_the_others_are_checked(
    tmp_path: Path, damage: Callable[[bytearray], bytes]
) -> None:
    write(tmp_path, log(), log(request=[r + 9 for r in REQUEST]), log(position=changed([1] * 12, r2=0)))
    (tmp_path / "log1.parquet").write_bytes(damage(bytearray((tmp_path / "log1.parquet").read_bytes())))
    dataset = Dataset(schema(policy={"duplicates": "keep"}), tmp_path)
    report = dataset.validate()
    assert [Path(str(fault.file)).name for fault in report.faults] == ["log1.parquet", "log2.parquet"]
    assert "cannot be read as Parquet" in report.faults[0].message
    assert report.faults[1].row == 2


@pytest.mark.parametrize("damage", [damage_footer, damage_page])
def test_a_single_unreadable_file(tmp_path: Path, damage: Callable[[bytearray], bytes]) -> None:
    write(tmp_path, log())
    (tmp_path / "log0.parquet").write_bytes(damage(bytearray((tmp_path / "log0.parquet").read_bytes())))
    assert "cannot be read as Parquet" in the_fault(Dataset(schema(), tmp_path).validate()).message


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert the_fault(Dataset(schema(), tmp_path).validate()).message == "matches no file"


ITEMS = {"files": {"items": "items.parquet"}, "columns": {"numeric": ["price", "stars"], "categorical": ["kind"]}}


def items(**columns: Any) -> pa.Table:
    return pa.table({"item": [10, 11, 12], "stars": [1.0, 2.0, None], "kind": ["a", "b", None], **columns})


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "words"),
    [
        (items(item=[10, 11, 10]), "item", 2, 10, "must occur once"),
        (items(item=[10, None, 11]), "item", 1, None, "must not be null"),
        (items(item=[1.5, 2.5, 3.5]), "item", None, "double", "must be an id"),
        (items(stars=[1.0, INF, 2.0]), "stars", 1, INF, "must be finite"),
        (items().drop_columns(["item"]), "item", None, None, "joined by it"),
        (items(kind=[1.5, 2.5, 3.5]), "kind", None, "double", "integers, strings, booleans or lists"),
    ],
)
def test_faults_of_a_side_table(
    tmp_path: Path, table: pa.Table, column: str, row: int | None, value: object, words: str
) -> None:
    pq.write_table(table, tmp_path / "items.parquet")
    fault = the_fault(check(tmp_path, log(), **ITEMS))
    assert (fault.file, fault.column, fault.row) == (tmp_path / "items.parquet", column, row)
    assert fault.value == value
    assert words in fault.message


def test_a_sound_side_table_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    pq.write_table(items(), tmp_path / "items.parquet")
    assert check(tmp_path, log(), **ITEMS).ok
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    assert the_fault(check(tmp_path, log(), **ITEMS)).file == tmp_path / "items.parquet"
    (tmp_path / "items.parquet").unlink()
    assert the_fault(check(tmp_path, log(), **ITEMS)).message == "does not exist"


def test_keys_of_other_kinds_cannot_be_joined(tmp_path: Path) -> None:
    pq.write_table(items(item=["10", "11", "12"]), tmp_path / "items.parquet")
    fault = the_fault(check(tmp_path, log(), **ITEMS))
    assert (fault.file, fault.column, fault.value) == (tmp_path / "log0.parquet", "item", "int64")
    assert "the kind that [files].items has in its key (string)" in fault.message


def test_labels_and_probabilities_must_stand_in_the_impressions(tmp_path: Path) -> None:
    pq.write_table(items(click=[0, 1, 0]), tmp_path / "items.parquet")
    fault = the_fault(check(tmp_path, log(click=None, long_click=[0] * 12), **ITEMS))
    assert (fault.column, fault.message) == ("click", "must be a column of the impressions")


def vectors(rows: list[Any], ids: list[Any] | None = None, width: int | None = 2) -> pa.Table:
    dtype = pa.list_(pa.float32()) if width is None else pa.list_(pa.float32(), width)
    return pa.table({"item": ids or [10, 11, 12], "vector": pa.array(rows, dtype)})


@pytest.mark.parametrize(
    ("table", "column", "row"),
    [
        (vectors([[1, 2], [NAN, 0], [0, 0]]), "vector", 1),
        (vectors([[1, 2], [0, 0], [0, INF]]), "vector", 2),
        (vectors([[1, 2], [0, 0], [0]], width=None), "vector", 2),
        pytest.param(
            vectors([[1, 2], None, [0, 0]]),
            "vector",
            1,
            marks=pytest.mark.skipif(
                int(pa.__version__.split(".")[0]) < 26, reason="older pyarrow cannot store a null of fixed width"
            ),
        ),
        (vectors([[1, 2], [3, 4], [5, 6]], ids=[10, 11, 10]), "item", 2),
        (vectors([[1, 2], [3, 4], [5, 6]]).rename_columns(["thing", "vector"]), "item", None),
    ],
)
def test_faults_of_vectors(tmp_path: Path, table: pa.Table, column: str, row: int | None) -> None:
    pq.write_table(table, tmp_path / "vectors.parquet")
    fault = the_fault(check(tmp_path, log(), files={"vectors": "vectors.parquet"}))
    assert (fault.file, fault.column, fault.row) == (tmp_path / "vectors.parquet", column, row)


def test_sound_vectors(tmp_path: Path) -> None:
    pq.write_table(vectors([[1, 2], [3, 4], [5, 6]]), tmp_path / "vectors.parquet")
    assert check(tmp_path, log(), files={"vectors": "vectors.parquet"}).ok
    pq.write_table(vectors([[1, 2], [3, 4], [5, 6]], ids=["a", "b", "c"]), tmp_path / "vectors.parquet")
    assert "[files].vectors" in the_fault(check(tmp_path, log(), files={"vectors": "vectors.parquet"})).message


def test_all_faults_of_all_kinds_come_in_one_go(tmp_path: Path) -> None:
    pq.write_table(items(stars=[1.0, INF, 2.0]), tmp_path / "items.parquet")
    pq.write_table(vectors([[1, 2], [NAN, 0], [0, 0]]), tmp_path / "vectors.parquet")
    broken = log(
        request=changed(REQUEST, r11=None),
        item=changed([i % 3 + 10 for i in range(12)], r1=10),
        position=changed([1] * 12, r5=0),
        click=changed([float(c) for c in CLICK], r0=NAN, r2=2.0),
        long_click=changed(LONG, r6=1),
        keep=changed(KEEP, r3=0.0, r4=1.2, r8=0.7, r10=None),
        price=changed([1.0] * 12, r9=INF),
    )
    write(tmp_path, broken)
    (tmp_path / "log2.parquet").write_bytes(b"PAR1 and no more")
    parts = {
        "files": {"items": "items.parquet", "vectors": "vectors.parquet"},
        "columns": {"keep_prob": "keep", "numeric": ["price", "stars", "weight"], "holdout": ["secret"]},
        "sampling": {"negative_rate": 0.1},
    }
    report = Dataset(schema(**parts), tmp_path).validate()
    found = {(Path(str(fault.file)).name, fault.column, fault.row) for fault in report.faults}
    assert found == {
        ("log2.parquet", None, None),
        ("items.parquet", "stars", 1),
        ("vectors.parquet", "vector", 1),
        ("log0.parquet", "weight", None),
        ("log0.parquet", "secret", None),
        ("log0.parquet", "request", 11),
        ("log0.parquet", "request, item", 1),
        ("log0.parquet", "position", 5),
        ("log0.parquet", "click", 0),
        ("log0.parquet", "click", 2),
        ("log0.parquet", "long_click", 6),
        ("log0.parquet", "keep", 3),
        ("log0.parquet", "keep", 6),  # its long_click protects it
        ("log0.parquet", "keep", 8),
        ("log0.parquet", "keep", 10),
        ("log0.parquet", "price", 9),
    }
    with pytest.raises(InputError) as caught:
        report.raise_if_faulty()
    assert caught.value.faults == report.faults
    assert all(str(fault.file) in str(caught.value) for fault in report.faults)


def test_a_large_log_gives_the_same_faults_whatever_the_files(tmp_path: Path) -> None:
    """Batches end inside requests; faults are at known rows of the whole log."""
    rng = np.random.default_rng(0)
    rows = 150_000
    click = rng.integers(0, 2, rows).astype(np.int8)
    bad = np.sort(rng.choice(rows, 40, replace=False))
    click[bad] = 3
    table = pa.table(
        log(
            request=np.arange(rows) // 20,
            item=np.arange(rows) % 20,
            time=np.arange(rows) // 20,
            position=np.ones(rows),
            price=np.ones(rows),
            click=click,
            long_click=np.zeros(rows),
        )
    )
    ends = [0, 1, 70_000, 140_001, rows]
    for i, (start, end) in enumerate(pairwise(ends)):
        pq.write_table(table.slice(start, end - start), tmp_path / f"log{i}.parquet", row_group_size=9_999)
    report = Dataset(schema(), tmp_path).validate()
    assert sum(fault.count for fault in report.faults) == 40
    for fault in report.faults:
        start = ends[int(Path(str(fault.file)).stem[-1])]
        inside = bad[(bad >= start) & (bad < ends[ends.index(start) + 1])] - start
        assert [fault.row, *(row for row, _ in fault.more)] == inside[:3].tolist()
        assert fault.count == len(inside)
