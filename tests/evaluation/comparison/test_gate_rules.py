"""Rules from TOML: what the file says, and every fault with its key at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.comparison import GateRules
from features import InputError

EXAMPLE = """
level = 0.9
min_positives = 30
slices = ["platform", "device"]

[tolerance]
ap = 0.98
auc = 0.995

[heads.save]
ap = 0.9
"ndcg@10" = 1

[slice_values]
platform = ["US", "DE"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "gate.toml"
    path.write_text(text)
    return path


def test_the_file_is_the_rules(tmp_path: Path) -> None:
    rules = GateRules.from_toml(write(tmp_path, EXAMPLE))
    assert rules == GateRules(
        level=0.9,
        tolerances={"ap": 0.98, "auc": 0.995},
        head_tolerances={"save": {"ap": 0.9, "ndcg@10": 1.0}},
        slices=("platform", "device"),
        slice_values={"platform": ("US", "DE")},
        min_positives=30,
    )
    assert rules.of_head("save") == {"ap": 0.9, "auc": 0.995, "ndcg@10": 1.0}
    assert rules.of_head("click") == {"ap": 0.98, "auc": 0.995}
    assert rules.metrics == ("ap", "auc", "ndcg@10")
    assert rules.to_dict()["slice_values"] == {"platform": ["US", "DE"]}


def test_the_example_of_the_docstring_is_read(tmp_path: Path) -> None:
    documented = (GateRules.from_toml.__doc__ or "").split("keeps its default.")[1].split("Raises:")[0]
    rules = GateRules.from_toml(write(tmp_path, "\n".join(line.strip() for line in documented.splitlines())))
    assert rules.head_tolerances == {"save": {"ap": 0.9}}


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert GateRules.from_toml(write(tmp_path, "")) == GateRules()
    own = GateRules.from_toml(write(tmp_path, "[tolerance]\n[heads.save]\nap = 0.9"))
    assert own.metrics == ("ap",)
    own.check(["save", "click"])
    with pytest.raises(InputError, match=r"\[heads.save\]: unknown head \(the heads are click\)"):
        own.check(["click"])


def test_every_fault_is_told_at_once_with_file_and_key(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
level = 2
min_positives = 0
slices = ["a", "a"]
levle = 0.9
[tolerance]
ap = 1.6
accuracy = 0.9
auc = "high"
[heads.save]
ap = 0
[heads]
click = 3
[slice_values]
platform = "US"
""".replace("[heads]\nclick = 3", ""),
    )
    with pytest.raises(InputError) as caught:
        GateRules.from_toml(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    told = {line.removeprefix(f"{path}: ").split(": ")[0] for line in lines}
    assert told == {
        *("level", "min_positives", "slices", "levle", "[tolerance].ap", "[tolerance].accuracy", "[tolerance].auc"),
        *("[heads.save].ap", "[slice_values].platform"),
    }
    assert "must satisfy 0 < c <= 1.5" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tolerance = 3", r"\[tolerance\]: must be a table, got 3"),
        ("[heads]\nclick = 3", r"\[heads.click\]: must be a table, got 3"),
        ("level = true", "level: must be a number, got True"),
        ("level = nan", "level: must be a finite number, got nan"),
        ("min_positives = 2.5", "min_positives: must be a whole number, got 2.5"),
        ("slices = [1]", r"slices: must be a list of texts, got \[1\]"),
        ("[tolerance]\nap = nan", r"gate\.toml: \[tolerance\].ap: must be a finite number, got nan"),
        ("[heads.save]\nap = -inf", r"gate\.toml: \[heads.save\].ap: must be a finite number, got -inf"),
        (f"level = 1{'0' * 400}", "level: must be a finite number, got 1000"),
        ("[slice_values]\nage = ['1']", r"gate\.toml: \[slice_values\].age: no slices of it are asked for"),
        ("slices = 3\n[slice_values]\nage = ['1']", "slices: must be a list of texts, got 3"),
        ("[tolerance]", r"\[tolerance\]: must name at least one metric"),
        ("level = ", "is not TOML"),
    ],
)
def test_kinds_and_ranges(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        GateRules.from_toml(write(tmp_path, text))
    assert len(caught.value.faults) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: cannot be read: No such file"):
        GateRules.from_toml(tmp_path / "none.toml")


def test_values_of_columns_that_are_not_looked_at_are_refused_with_everything_else() -> None:
    with pytest.raises(InputError) as caught:
        GateRules(level=3.0, slices=("device",), slice_values={"device": ("tv",), "age": ("1",), "city": ("Rome",)})
    assert [fault.key for fault in caught.value.faults] == ["level", "[slice_values].age", "[slice_values].city"]


def test_rules_for_no_head_at_all_are_refused() -> None:
    with pytest.raises(InputError, match="must name at least one metric"):
        GateRules(tolerances={})
