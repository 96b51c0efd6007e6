"""An InputError says every fault, each with its place."""

from __future__ import annotations

import pickle

import pytest

from features.errors import Fault, InputError, raise_faults


def test_a_fault_reads_as_file_column_row_value_and_count() -> None:
    fault = Fault("label must be 0, 1 or null", "log.parquet", "click", row=17, value=2, count=3)
    assert str(fault) == "log.parquet: column `click`, row 17: label must be 0, 1 or null, got 2 (3 rows)"


def test_a_fault_lists_the_next_rows_of_its_kind() -> None:
    fault = Fault("must be in (0, 1]", "a.parquet", "keep_prob", 0, 0.0, 5, more=((4, 1.2), (9, "x")))
    assert str(fault).endswith("got 0.0 (5 rows; then row 4: 1.2, row 9: 'x')")


def test_a_fault_of_a_configuration_file_says_its_key() -> None:
    assert str(Fault("must be 1 or -1", "dataset.toml", key="[heads.click].sign")) == (
        "dataset.toml: [heads.click].sign: must be 1 or -1"
    )


def test_an_error_prints_one_line_per_fault_and_says_how_rows_are_counted() -> None:
    error = InputError(
        [Fault("is missing", "a.parquet", "click"), Fault("must not be null", "b.parquet", "item", row=3)]
    )
    assert str(error).splitlines() == [
        "a.parquet: column `click`: is missing",
        "b.parquet: column `item`, row 3: must not be null",
        "(rows are counted from 0 within their file)",
    ]
    assert isinstance(error, ValueError)


def test_a_plain_message_is_one_fault() -> None:
    assert InputError("no head `x`").faults == (Fault("no head `x`"),)


def test_an_error_survives_pickling_between_processes() -> None:
    error = InputError([Fault("a", row=1), Fault("b")])
    assert pickle.loads(pickle.dumps(error)).faults == error.faults


def test_raise_faults_raises_all_or_nothing() -> None:
    raise_faults([])
    with pytest.raises(InputError) as caught:
        raise_faults(Fault(name) for name in "ab")
    assert [fault.message for fault in caught.value.faults] == ["a", "b"]


def test_an_error_without_faults_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one fault"):
        InputError([])
