"""The calibration study on a few logs: its worlds are calibrated, and its measures see what was planted."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "evaluation"))

import calibration_study as study


@pytest.mark.parametrize("world", study.WORLDS, ids=lambda world: world.name)
def test_the_worlds_are_calibrated_whatever_was_sampled(world: study.World) -> None:
    predicted, observed = np.zeros(40), np.zeros(40)
    for number, log in enumerate(study.logs(world, 40, 1)):
        assert set(np.unique(log.w)) <= {1.0, 1.0 / world.negative_rate}
        predicted[number], observed[number] = log.w @ log.p, log.w @ log.y
    gap = predicted - observed
    assert abs(gap.mean()) < 3.5 * gap.std() / np.sqrt(len(gap))


def test_what_the_tables_say() -> None:
    assert study.false_alarms(study.WORLDS[0], 30, 0) <= 0.2
    assert study.false_alarms(study.WORLDS[0], 30, 0, independent=True) >= 0.1
    more, wide = study.power(study.World("large", 8_000, 6, 0.1, 0.3), 4, 0)
    assert (more, wide) == (1.0, 1.0)
    covered, worst = study.band_coverage(study.WORLDS[2], 20, 0)
    assert 0.85 <= worst <= covered <= 1.0
    alarms, hits = study.segment_flags(study.World("large", 8_000, 8, 0.05, 0.3), 6, 0)
    assert alarms <= 0.34
    assert hits >= 0.66
    still, drifted = study.drift_alarms(study.World("large", 6_000, 6, 0.1, 0.3), 6, 0)
    assert still <= 0.34
    assert drifted == 1.0


def test_too_wide_is_right_on_average() -> None:
    log = study.simulate(study.WORLDS[7], np.random.default_rng(0))
    wide = study.too_wide(log)
    assert log.w @ wide == pytest.approx(log.w @ log.p)
    assert np.ptp(wide) > np.ptp(log.p)
