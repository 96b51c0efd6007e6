"""The study of the docs on one tiny world: every ranking and head has its line, with errors of a plausible size."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.world import HEADS

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "evaluation" / "counterfactual.py"


def test_the_study_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("counterfactual_study", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    lines = pd.DataFrame(study.one_world(0, 800))
    assert len(lines) == 5 * len(HEADS) * 5
    known = lines.groupby("estimator")["error"].apply(lambda e: float(np.nanmedian(np.abs(e))))
    assert known["pbm"] < 0.2
    assert known["dr"] < 0.4
    study.print_table(lines)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + 5 * len(HEADS)
    assert printed[2].startswith("fitted")
    assert "closeup" in printed[2]
