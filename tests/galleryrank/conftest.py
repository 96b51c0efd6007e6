"""What the tests of the commands share: a small marketplace with photos, a finished run of `embed`, one of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from evaluation.gallery import probe_arms
from evaluation.gallery.probe_design import BUDGETS
from features import Dataset
from features.world import make_world
from galleryrank.cli import main
from galleryrank.run_directory import RunDirectory, training_sample
from ranking import Ranker

SETTINGS = [
    "photo_size=32", "head_hidden=16", "photo_budget=64", "validation=0.2", "training.epochs=2",
    "training.precision=float32",
]  # fmt: skip
ITEMS = 80


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Options with which an encoder is trained within two seconds."""
    return ["--device", "cpu", "--quiet", *(part for setting in SETTINGS for part in ("--set", setting))]


@pytest.fixture(scope="session")
def photo_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a marketplace of 80 properties with at most 4 photos each."""
    folder = tmp_path_factory.mktemp("photos") / "world"
    make_world(folder, seed=1, properties=ITEMS, users=100, requests=400, photos=4, photo_size=32)
    return folder


@pytest.fixture(scope="session")
def embedded(photo_world: Path, quick: list[str]) -> Path:
    """A run of `embed` on it, which also made the world's own vectors.parquet."""
    out = photo_world.parent / "embedded"
    assert main(["embed", str(photo_world), "--out", str(out), *quick]) == 0
    return out


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of table 2 instead of six, and one strength of the linear probe: the commands are what is tested."""
    monkeypatch.setattr("galleryrank.probe.BUDGETS", (BUDGETS[1], BUDGETS[-1]))
    monkeypatch.setattr(probe_arms, "fit_linear", partial(probe_arms.fit_linear, strengths=(1e-2,)))


@pytest.fixture(scope="session")
def make_run(world: Path) -> Callable[[Ranker, Path], Path]:
    """A function that saves a ranker fitted on `world` as a run directory, without baselines."""
    dataset = Dataset.open(world)
    record = {
        "command": "fit",
        "dataset": str(world.resolve()),
        "settings": {},
        "schema": dataset.schema.to_dict(),
        "data_sha256": dataset.data_hash(),
        "training_sample": training_sample(dataset),
    }

    def saved(ranker: Ranker, out: Path) -> Path:
        run = RunDirectory(out)
        run.write(record)
        ranker.save(run.model)
        return out

    return saved


@pytest.fixture(scope="session")
def world_run(
    make_run: Callable[[Ranker, Path], Path], ranker: Ranker, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The small network as a run."""
    return make_run(ranker, tmp_path_factory.mktemp("evaluated") / "run")
