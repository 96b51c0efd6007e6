"""The journal: what was appended survives anything but a change, and a change is noticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from features import InputError
from optimization.journal import Journal

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "guardrails": {"floors": {"save": 0.9}, "bounds": {}},
    "heads": ("click", "save"),
}


def begun(path: Path, records: int = 3) -> Path:
    with Journal.open(path, "study", SETTINGS) as journal:
        for number in range(records):
            journal.append({"number": number, "shares": [0.1, 0.2 + number], "text": "ä\n"})
    return path


def test_records_come_back_as_json_has_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    with Journal.open(path, "study", SETTINGS) as journal:
        kept = journal.append({"value": 0.1 + 0.2, "none": float("nan")}, {"pair": (1, 2)})
        assert kept == journal.records == ({"value": 0.30000000000000004, "none": None}, {"pair": [1, 2]})
        journal.append({"last": True})
    with Journal.open(path, "study", SETTINGS) as journal:
        assert journal.records == (*kept, {"last": True})
        assert journal.settings == json.loads(json.dumps(SETTINGS))
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_without_settings_the_headers_are_taken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such journal"):
        Journal.open(tmp_path / "journal.jsonl", "study")
    assert not list(tmp_path.iterdir())
    with Journal.open(begun(tmp_path / "journal.jsonl"), "study") as journal:
        assert journal.settings["guardrails"] == {"floors": {"save": 0.9}, "bounds": {}}
        assert len(journal.records) == 3


def test_a_cut_anywhere_keeps_every_whole_line(tmp_path: Path) -> None:
    """What a kill leaves is a prefix of the file: records that were whole are kept, and writing goes on after them."""
    whole = begun(tmp_path / "whole.jsonl", 2).read_bytes()
    path = tmp_path / "cut.jsonl"
    ends = {place + step for place, byte in enumerate(whole) if byte == ord("\n") for step in (-1, 0, 1)}
    for end in sorted(ends | set(range(0, len(whole), 11))):
        path.write_bytes(whole[:end])
        with Journal.open(path, "study", SETTINGS) as journal:
            assert len(journal.records) == max(whole[:end].count(b"\n") - 1, 0)
            for number in range(len(journal.records), 2):
                journal.append({"number": number, "shares": [0.1, 0.2 + number], "text": "ä\n"})
        assert path.read_bytes() == whole


@pytest.mark.parametrize("line", [2, 3, 4])
@pytest.mark.parametrize("damage", ["a digit", "removed", "twice", "no object", "not text"])
def test_any_other_damage_names_the_line(tmp_path: Path, line: int, damage: str) -> None:
    path = begun(tmp_path / "journal.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    broken = {
        "a digit": [lines[line - 1].replace(b"0.1", b"0.3")],
        "removed": [],
        "twice": [lines[line - 1]] * 2,
        "no object": [b"[1, 2]\n"],
        "not text": [b"\xff\xfe\n"],
    }[damage]
    lines[line - 1 : line] = broken
    path.write_bytes(b"".join(lines))
    before = path.read_bytes()
    if damage == "removed" and line == 4:  # the end of a file cannot be missed by looking at it
        with Journal.open(path, "study", SETTINGS) as journal:
            assert len(journal.records) == 2
        return
    with pytest.raises(InputError, match=f"line {line + (damage == 'twice')}: the journal is damaged"):
        Journal.open(path, "study", SETTINGS)
    assert path.read_bytes() == before


def test_a_line_of_another_journal_is_noticed(tmp_path: Path) -> None:
    """Whole, and with the right number: it does not follow the line before it."""
    path, other = tmp_path / "journal.jsonl", tmp_path / "other.jsonl"
    for place, first in ((path, "a"), (other, "b")):
        with Journal.open(place, "study", SETTINGS) as journal:
            journal.append({"text": first}, {"text": "same"})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], other.read_bytes().splitlines(keepends=True)[2]]))
    with pytest.raises(InputError, match="line 3: the journal is damaged"):
        Journal.open(path, "study", SETTINGS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my notes", "not a journal"),
        (b"my notes\n", "not a journal"),
        (b'{"journal": "galleryrank", "version": 1}\n', "header is damaged"),
    ],
)
def test_another_file_is_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Journal.open(path, "study", SETTINGS)
    assert path.read_bytes() == content
    with pytest.raises(InputError, match="cannot be opened"):
        Journal.open(tmp_path, "study", SETTINGS)


def test_other_settings_are_named_all_at_once(tmp_path: Path) -> None:
    path = begun(tmp_path / "journal.jsonl")
    other = {"seed": 1, "guardrails": {"floors": {"click": 1.0}, "bounds": {}}, "heads": ["click", "save"]}
    with pytest.raises(InputError) as caught:
        Journal.open(path, "study", other)
    for part in ("line 1", "`seed` was 0, is now 1", "`guardrails.floors.save` was 0.9, is now absent",
                 "`guardrails.floors.click` was absent, is now 1.0"):  # fmt: skip
        assert part in str(caught.value)
    assert "heads" not in str(caught.value)
    with pytest.raises(InputError, match="kind `rounds`, got `study`"):
        Journal.open(path, "rounds", SETTINGS)


def test_a_journal_is_open_once_and_not_after_it_was_closed(tmp_path: Path) -> None:
    path = begun(tmp_path / "journal.jsonl")
    journal = Journal.open(path, "study", SETTINGS)
    with pytest.raises(InputError, match="another process has this journal open"):
        Journal.open(path, "study", SETTINGS)
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.append({})
    Journal.open(path, "study", SETTINGS).close()


def test_a_killed_process_frees_the_lock_and_leaves_its_records(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    code = (
        "import sys, time\nfrom optimization.journal import Journal\n"
        "journal = Journal.open(sys.argv[1], 'study', {})\njournal.append({'a': 1})\nprint('ready', flush=True)\n"
        "time.sleep(60)"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(InputError, match="another process"):
            Journal.open(path, "study", {})
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Journal.open(path, "study", {}) as journal:
        assert journal.records == ({"a": 1},)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = begun(tmp_path / "journal.jsonl")
    before = path.read_bytes()
    with Journal.open(path, "study", SETTINGS) as journal:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                journal.append({"number": 3})
        assert path.read_bytes() == before
        assert len(journal.records) == 3
        journal.append({"number": 4})
    with Journal.open(path, "study", SETTINGS) as journal:
        assert journal.records[-1] == {"number": 4}
