"""A killed `fit` resumes to the same bits; a killed `score` leaves no file under the final name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from galleryrank.cli import main

SETTINGS = [
    "baselines=[]", "network.hidden=[8]", "training.epochs=10", "training.patience=10", "training.batch_size=128",
    "training.precision=float32", "training.checkpoint_steps=40",
]  # fmt: skip
SETS = [part for setting in SETTINGS for part in ("--set", setting)]


def start(*arguments: str) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "galleryrank", *arguments], env=env)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until `path` exists; fails if the process ends before."""
    for _ in range(600):
        if path.exists():
            return
        assert process.poll() is None, f"the process ended with {process.returncode} before {path} appeared"
        time.sleep(0.05)
    pytest.fail(f"{path} did not appear")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_fit_resumes_to_the_same_bits(world: Path, tmp_path: Path, how: signal.Signals) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start("fit", str(world), "--out", str(whole), "--quiet", *SETS).wait() == 0
    process = start("fit", str(world), "--out", str(killed), "--quiet", *SETS)
    wait_for(killed / "checkpoint" / "model", process)
    process.send_signal(how)
    assert process.wait() == (130 if how == signal.SIGINT else -how)
    assert not (killed / "model").exists()
    assert main(["evaluate", str(killed)]) == 2  # an unfinished fit is named as one
    assert start("fit", str(world), "--out", str(killed), "--quiet", *SETS).wait() == 0
    for name in ("model.safetensors", "calibration.json"):
        assert (killed / "model" / name).read_bytes() == (whole / "model" / name).read_bytes(), name
    assert not (killed / "checkpoint").exists()


def test_a_killed_score_leaves_no_file_under_the_final_name(
    ranker: object, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while the first batches are written: whatever is left has another name, and scoring again works."""
    ranker.save(tmp_path / "model")  # type: ignore[attr-defined]
    out = tmp_path / "scores" / "s.parquet"
    code = (
        "import os, signal, sys\n"
        "from ranking import Ranker, score_parquet\n"
        "stop = lambda rows: os.kill(os.getpid(), signal.SIGKILL)\n"
        "score_parquet(Ranker.load(sys.argv[1]), sys.argv[2], sys.argv[3], batch_rows=500, progress=stop)\n"
    )
    log = str(world.parent / "impressions.parquet")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model"), log, str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert main(["score", str(tmp_path), log, "--out", str(out), "--quiet"]) == 0
    assert out.exists()
