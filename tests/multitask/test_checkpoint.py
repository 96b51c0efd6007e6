"""Checkpoints on disk: bits kept, crashes survived, damage named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from multitask.checkpoint import CheckpointError, read_checkpoint, write_checkpoint

TENSORS = {
    "a": torch.tensor([1.0, float("nan"), -0.0]),
    "b": torch.arange(6, dtype=torch.uint8).view(2, 3).t(),
    "c": torch.tensor(3, dtype=torch.int64),
}
STATE = {"epoch": 2, "loss": 0.1 + 0.2, "names": ["x"], "none": None}


def test_tensors_and_state_come_back_bit_for_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run", TENSORS, STATE)
    found = read_checkpoint(tmp_path / "run")
    assert found is not None
    tensors, state = found
    assert state == STATE
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0, equal_nan=True)
        assert tensors[name].dtype == tensor.dtype


def test_tied_tensors_are_written(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"a": TENSORS["a"], "same": TENSORS["a"]}, {})
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert set(found[0]) == {"a", "same"}


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None
    assert read_checkpoint(tmp_path / "absent") is None


def test_two_files_remain_after_many_writes(tmp_path: Path) -> None:
    for epoch in range(3):
        write_checkpoint(tmp_path, {"a": torch.tensor([epoch])}, {"epoch": epoch})
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found[1] == {"epoch": 2}


@pytest.mark.parametrize("call", range(1, 5))
def test_a_crash_at_any_moment_leaves_the_old_or_the_new(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies at the n-th sync to disk: files and folder, twice each."""
    write_checkpoint(tmp_path, {"a": torch.tensor([0.0])}, {"epoch": 0})
    calls = 0
    sync = os.fsync

    def die(file: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise SystemExit
        sync(file)

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(SystemExit):
        write_checkpoint(tmp_path, {"a": torch.tensor([1.0])}, {"epoch": 1})
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found[0]["a"].item() == found[1]["epoch"] == (1 if call == 4 else 0)


def test_damage_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, STATE)
    (file,) = tmp_path.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{file.name}: must have the SHA-256"):
        read_checkpoint(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=rf"{file.name}: named by checkpoint.json but missing"):
        read_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text(json.dumps({"tensors": file.name}))
    with pytest.raises(CheckpointError, match=r"checkpoint\.json: must be a checkpoint's JSON file, got KeyError"):
        read_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json: must be .* JSON file, got JSONDecodeError"):
        read_checkpoint(tmp_path)
