"""The study of the intervals' coverage, on fewer and smaller logs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "evaluation"))

import interval_coverage as study


def test_requests_cover_and_independent_rows_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "ENDLESS", 60_000)
    table = study.study(logs=150, sizes=[400]).set_index(["clusters", "interval"])["coverage"]
    for what in ("AP", "paired difference of AP"):
        assert 0.89 <= table["by request", what] <= 0.99
        assert table["rows as if independent", what] <= table["by request", what] - 0.03


def test_requests_are_strongly_clustered() -> None:
    labels, first, second = study.clustered_log(np.random.default_rng(0), 4000)
    per_request = labels.reshape(-1, study.CANDIDATES).sum(axis=1)
    assert per_request.var() > 2 * per_request.mean()  # independent rows: below 1
    assert labels.mean() == pytest.approx(0.05, abs=0.01)
    assert 0.0 < first.min() < first.max() < 1.0
    assert not np.array_equal(first, second)
