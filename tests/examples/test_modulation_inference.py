"""The measurement of one pass for all tasks: its arithmetic, and that it writes what it prints."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from multitask.modulation import AttributeNetwork

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "modulation" / "inference.py"


@pytest.fixture
def inference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("modulation_inference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_further_task_repeats_a_fortieth_of_the_network(inference: ModuleType) -> None:
    """Table 2: block5 has one valid convolution on 16 x 16 maps and two padded ones on 7 x 7, fc reads 7 * 7 * 128."""
    network = AttributeNetwork().eval()
    counts = inference.multiply_adds(network, torch.zeros(1, 3, 150, 150))
    behind = 9 * 128**2 * (14 * 14 + 2 * 7 * 7) + 7 * 7 * 128 * 256
    assert counts["conv1.0"] == 148 * 148 * 32 * 27
    assert len(counts) == 1 + 4 * 3 + 1
    assert inference.share_of_a_further_task(counts) == pytest.approx(behind / sum(counts.values()))
    assert inference.share_of_a_further_task(counts) == pytest.approx(0.0247, abs=5e-5)
    assert inference.stored_numbers(network, torch.zeros(1, 3, 150, 150), 7)["all tasks"] == 7 * 128 * 16 * 16


def test_it_writes_every_arm(inference: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    inference.PHOTOS = 1  # type: ignore[attr-defined]
    code = inference.main(tmp_path, rounds=2, size=48)
    result = json.loads((tmp_path / "inference.json").read_text())
    assert code == (0 if result["holds"] else 1)
    assert len(result["rows"]) == 2 * (1 + 2 * 2)
    text = (tmp_path / "inference.md").read_text()
    assert all(row["arm"] in text for row in result["rows"])
    assert text in capsys.readouterr().out
