from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.formatting import format_interval, format_number
from evaluation.metrics_json import jsonable, write_metrics_json


def test_written_and_read_back(tmp_path: Path) -> None:
    metrics = {"ap": 0.1 + 0.2, "none": None, "words": "ä", "list": [1, 2.5]}
    path = write_metrics_json(tmp_path / "metrics.json", metrics)
    assert json.loads(path.read_text(encoding="utf-8")) == metrics
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_nan_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = write_metrics_json(tmp_path / "metrics.json", {"ap": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_metrics_json(path, {"ap": float("nan")})
    assert json.loads(path.read_text()) == {"ap": 0.5}


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_metrics_json(tmp_path / "metrics.json", {"ap": 0.5})

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evaluation.metrics_json.os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_metrics_json(path, {"ap": 0.7})
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    assert json.loads(path.read_text()) == {"ap": 0.5}


def test_jsonable_unpacks_numpy_and_tables() -> None:
    table = pd.DataFrame({"rows": [1, 2], "ratio": [0.5, np.nan], "head": ["a", "b"]})
    value = jsonable({"t": table, "a": np.array([1.0, np.inf]), "b": np.bool_(True), "i": np.int64(3), "p": (1,)})
    expected = {
        "t": [{"rows": 1, "ratio": 0.5, "head": "a"}, {"rows": 2, "ratio": None, "head": "b"}],
        "a": [1.0, None],
        "b": True,
        "i": 3,
        "p": [1],
    }
    assert value == expected
    assert json.loads(json.dumps(value, allow_nan=False)) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.0, "0"),
        (1.0, "1.000"),
        (0.28762, "0.2876"),
        (-0.001, "-0.001000"),
        (12345.6, "12,346"),
        (9999.0, "9999"),
        (1e9, "1.000e+09"),
        (2e-5, "2.000e-05"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_one_number_one_text(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_signs_and_intervals() -> None:
    assert format_number(0.5, signed=True) == "+0.5000"
    assert format_number(-0.5, signed=True) == "-0.5000"
    assert format_interval(-0.5, 0.25, signed=True) == "[-0.5000, +0.2500]"
    assert format_interval(None, 0.25) == ""
