"""The study of rounds on tiny worlds: its output, that it goes on where it was, and what it claims."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from galleryrank import simulate_worlds
from galleryrank.simulate_worlds import DECLARED, HAND, OFFLINE, VALUED, Sizes
from optimization.online.simulated import ONLINE, ORACLE

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "rounds" / "worlds.py"
TINY = Sizes(properties=150, requests=1200, epochs=1)
COUNTS = {"rounds": 1, "groups": 1, "requests_per_group": 1000, "days_per_round": 1}


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, in a village instead of a city."""
    for name, value in {"POPULATION": 2000, "JUDGED_ON": 200, "SWEEP": 8, "CHECKS": 3}.items():
        monkeypatch.setattr(simulate_worlds, name, value)
    spec = importlib.util.spec_from_file_location("rounds_worlds", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_study_keeps_its_worlds_and_says_what_it_found(
    worlds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holds = worlds.study(tmp_path, 2, TINY, COUNTS)
    assert not holds  # two worlds prove nothing: of two, p is .5 at the least
    said = capsys.readouterr().out
    assert said.count("CPU seconds)") == 2
    assert said.splitlines()[-1] == '{"holds": false}'
    written = (tmp_path / "results.json").read_text(encoding="utf-8")
    found = json.loads(written)
    assert [(r["policy"], r["round"]) for r in found["regret"]] == [
        (HAND, 0), (OFFLINE, 0), (VALUED, 0), (DECLARED, 0), (ONLINE, 1), (ORACLE, 0),
    ]  # fmt: skip
    # the summary, again from the worlds kept: online minus offline, after the round and before it
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((tmp_path / "worlds").glob("*.json"))]
    assert [world["settings"]["seed"] for world in kept] == [0, 1]
    lifts = [pd.DataFrame(w["result"]["policies"]).set_index(["policy", "round"])["lift"] for w in kept]
    summary = {(r["rounds"], r["against"]): r for r in found["summary"]}
    for number, weights in ((0, HAND), (1, ONLINE)):
        mean = sum(lift[weights, number] - lift[OFFLINE, 0] for lift in lifts) / 2
        assert summary[number, OFFLINE]["mean"] == pytest.approx(mean)
    # a run that was stopped: what is there is not played again
    monkeypatch.setattr(worlds, "world", lambda *_: pytest.fail("played again"))
    worlds.study(tmp_path, 2, TINY, COUNTS)
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == written


def test_the_claim_needs_a_clear_majority(worlds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six wins of six are p = .03, five of six are p = .22; the last round counts where fewer than three are played."""
    lost = 0

    def made_up(seed: int, sizes: Sizes, counts: Mapping[str, int]) -> dict[str, Any]:
        online = {1: -1.0, 2: -1.0 if seed < lost else 1.0}
        rows = [(name, 0, 0.0) for name in (HAND, OFFLINE, VALUED, DECLARED, ORACLE)]
        rows += [(ONLINE, number, lift) for number, lift in online.items()]
        policies = [{"policy": p, "round": n, "lift": lift, "regret": -lift} for p, n, lift in rows]
        return {"policies": policies, "groups": [], "cpu_seconds": 0.0}

    monkeypatch.setattr(worlds, "world", made_up)
    assert worlds.study(tmp_path / "all", 6, TINY, COUNTS | {"rounds": 2})
    lost = 1
    assert not worlds.study(tmp_path / "most", 6, TINY, COUNTS | {"rounds": 2})
