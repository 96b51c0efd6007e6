"""Ingested numbers: every way in which an experiment platform may write them, and every fault at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import InputError
from optimization.online.constraints import Constraint
from optimization.online.numbers import CORRECTED, KNOWN, NEW, check_numbers, read_numbers

GROUPS = ["r1-control", "r1-a", "r1-b"]
METRICS = ["utility", "hide_rate"]
SOUND = pd.DataFrame(
    {
        "group": ["r1-control", "r1-a", "r1-b"],
        "metric": "utility",
        "value": [0.3125, 0.33, -1.5e-3],
        "standard_error": [0.0101, 0.0202, 1e-4],
    }
)


def checked(source, known=None, correct=False):
    return check_numbers(read_numbers(source), GROUPS, METRICS, known or {}, correct=correct)


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "export.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_frame_comes_back_as_it_is():
    table = checked(SOUND)
    pd.testing.assert_frame_equal(table.drop(columns="state"), SOUND, check_dtype=False)
    assert table["state"].tolist() == [NEW] * 3


@pytest.mark.parametrize(
    ("mark", "decimal", "quote"), [(",", ".", False), (";", ",", False), ("\t", ",", False), (",", ",", True)]
)
def test_separators_and_decimal_commas(tmp_path, mark, decimal, quote):
    """Columns in another order with others between them, a byte order mark, padded cells, blank lines at the end."""
    frame = SOUND.assign(users=1200)[["standard_error", "users", "metric", "value", "group"]].astype(str)
    numbers = ["standard_error", "value"]
    frame[numbers] = frame[numbers].apply(lambda column: column.str.replace(".", decimal))
    if quote:
        frame[numbers] = '"' + frame[numbers] + '"'
    frame["group"] = " " + frame["group"] + " "
    lines = [["Standard Error", "users", "METRIC", "value", "group"], *frame.to_numpy().tolist()]
    text = "\r\n".join(mark.join(line) for line in lines) + "\r\n\r\n"
    table = checked(written(tmp_path, text, "utf-8-sig"))
    pd.testing.assert_frame_equal(table.drop(columns="state"), SOUND, check_dtype=False)


@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_parquet_whatever_it_is_called(tmp_path, kind):
    path = tmp_path / "export.bin"
    frame = SOUND.astype({"value": kind, "standard_error": kind, "group": "category"})
    frame.to_parquet(path)
    table = checked(path)
    np.testing.assert_allclose(table["value"], SOUND["value"], rtol=1e-6)
    known = {("r1-a", "utility"): (0.33, 0.0202), ("r1-b", "utility"): (-1.5e-3, 1e-4)}
    assert checked(path, known)["state"].tolist() == [NEW, KNOWN, KNOWN]  # float32 on its way is the same number


def test_the_same_row_twice_counts_once():
    assert len(checked(pd.concat([SOUND, SOUND]))) == 3


def test_other_numbers_name_both_and_can_be_corrected():
    known = {("r1-a", "utility"): (0.33, 0.05)}
    with pytest.raises(InputError) as error:
        checked(SOUND, known)
    assert len(error.value.faults) == 1
    for part in ("row 1", "utility of r1-a", "0.33 with standard error 0.05", "0.33 with standard error 0.0202"):
        assert part in str(error.value)
    assert checked(SOUND, known, correct=True)["state"].tolist() == [NEW, CORRECTED, NEW]


def test_all_faults_at_once():
    frame = pd.DataFrame(
        [
            ["r1-a", "utility", 0.3, np.nan],
            ["r1-a", "utility", 0.3, 0.0],
            ["r1-a", "hide_rate", np.inf, 0.1],
            ["r1-b", "hide_rate", 0.2, -0.1],
            ["r9-z", "utility", 0.2, 0.1],
            ["r1-b", "utilty", 0.2, 0.1],
            ["r1-b", "utility", 0.25, 0.1],
            ["r1-b", "utility", 0.5, 0.1],
            [None, "utility", "0.5 %", np.inf],
        ],
        columns=SOUND.columns,
    )
    with pytest.raises(InputError) as error:
        checked(frame, {("r1-b", "utility"): (0.5, 0.1)})
    text = str(error.value)
    for part in (
        "row 4: unknown group (the groups are r1-control, r1-a, r1-b), got 'r9-z'",
        "row 5: unknown metric (the metrics are utility, hide_rate), got 'utilty'",
        "row 8: unknown group",
        "column `value`, row 2: a metric's value must be a finite number, got inf (2 rows",
        "column `standard_error`, row 0: a metric needs its standard error, finite and > 0, got nan (4 rows",
        "row 7: utility of r1-b is there twice with different numbers: 0.25 with",
        "row 6: utility of r1-b is known already as 0.5 with standard error 0.1, but here it is 0.25",
    ):
        assert part in text, (part, text)
    assert len(error.value.faults) == 7


def test_more_numbers_than_rows_of_the_known_are_judged_by_the_known_alone():
    """Row order, and rows of other groups, decide nothing."""
    known = {("r1-b", "utility"): (-1.5e-3, 1e-4), ("r1-control", "hide_rate"): (1.0, 1.0)}
    assert checked(SOUND[::-1], known)["state"].tolist() == [KNOWN, NEW, NEW]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group,metric,value\nr1-a,utility,1\n", "column `standard_error` is missing (the columns are"),
        ("group;metric;value;value;standard_error\nr1-a;utility;1;1;1\n", "column `value` is there twice"),
        ("group,metric,value,standard_error\n", "has no rows"),
        ("", "is empty"),
        ("group,metric,value,standard_error\nr1-a,utility,0,31,0,01\n", "row 0: a row must have 4 fields"),
        ("group;metric;value;standard_error\nr1-a;utility;1,234;1,000\n", "cannot be told from"),
        ("group;metric;value;standard_error\nr1-a;utility;0,5;0.1\n", "must not be mixed"),
        ("group;metric;value;standard_error\nr1-a;utility;1.234,5;0.1\n", "must be a finite number, got '1.234,5'"),
        ("group,metric,value,standard_error\nr1-a,utility,,\n", "column `standard_error`, row 0: a metric needs"),
        ("group,metric,value,standard_error\nr1-a,utility,nan,0.1\n", "must be a finite number, got 'nan'"),
    ],
)  # fmt: skip
def test_faults_of_a_text_file(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        checked(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_numbers(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is not a file"):
        read_numbers(tmp_path)
    with pytest.raises(InputError, match="neither Parquet nor UTF-8"):
        read_numbers(written(tmp_path, "group;größe", "latin-1"))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_numbers(tmp_path / "cut.parquet")


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("hide_rate <= 0.01", Constraint("hide_rate", -1, 0.01, 0.0)),
        (" long click rate>=-1e-3 ", Constraint("long click rate", 1, -1e-3, 0.0)),
        ("save >= 0.95 * control", Constraint("save", 1, 0.0, 0.95)),
        ("save <= control*1.02", Constraint("save", -1, 0.0, 1.02)),
        ("save >= control", Constraint("save", 1, 0.0, 1.0)),
    ],
)
def test_constraints_are_read_and_written(text, constraint):
    assert Constraint.parse(text) == constraint
    assert Constraint.parse(str(constraint)) == constraint


@pytest.mark.parametrize(
    "text", ["save", "save > 1", "save >= ", ">= 1", "save >= 0.9 * baseline", "a <= b <= 1", "x = 1"]
)
def test_what_is_no_constraint_is_refused(text):
    with pytest.raises(InputError, match="a constraint must read like"):
        Constraint.parse(text)
