"""The study of the gate's errors, on one small world."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "evaluation"))

import gate_study as study

from evaluation.average_precision import average_precision
from features.world.world import World


def test_one_small_world_from_fit_to_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"PROPERTIES": 120, "LOG_REQUESTS": 2000, "EPOCHS": 4, "REQUESTS": 3000, "LARGE": 4000, "TINY": 10}
    for name, value in sizes.items():
        monkeypatch.setattr(study, name, value)
    found = study.study(tmp_path, worlds=1, seeds=2, repetitions=2)
    assert sorted(path.name for path in (tmp_path / "world-0").iterdir()) == ["seed-0", "seed-1"]
    assert found["tiny"]["inconclusive"] == 2
    judged = [found["two seeds"].get(word, 0) for word in ("pass", "inconclusive", "regression")]
    assert sum(judged) == 2
    planted = found["planted"]
    assert planted["not reachable"] < 2
    assert planted["not reachable"] + sum(planted.get(word, 0) for word in ("pass", "inconclusive", "regression")) == 2


def test_noise_brings_the_metric_to_its_goal() -> None:
    random = np.random.default_rng(0)
    score = random.beta(1, 9, 20_000)
    labels = (random.random(20_000) < score).astype(float)
    draw, goal = random.normal(size=20_000), 0.8 * average_precision(labels, score)
    sd = study.noise_for(labels, score, goal, draw)
    assert sd is not None
    logit = np.log(score / (1 - score))
    assert average_precision(labels, logit + sd * draw) == pytest.approx(goal, rel=2e-3)
    assert study.noise_for(labels, score, 0.2 * labels.mean(), draw) is None  # a random order finds that much


def test_a_fresh_log_is_answered_by_the_world() -> None:
    world = World.generate(seed=1, properties=60, users=500)
    log = study.fresh_log(world, np.random.default_rng(0), 400)
    assert log.labels.shape == (400 * study.CANDIDATES, len(study.HEADS))
    assert (log.labels[:, study.HEADS.index("long_click")] <= log.labels[:, study.HEADS.index("click")]).all()
    assert np.array_equal(log.first(10).requests, np.repeat(np.arange(10), study.CANDIDATES))
    assert [part.column for part in log.slices] == ["segment", "price"]
