"""`galleryrank probe --optima`: figures 5 and 6 on few tasks, on items that neither training nor validation holds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from evaluation.gallery.label_training import LabelTraining
from features.gallery import EncoderConfig, GalleryData
from galleryrank.console import Log
from galleryrank.gallery_run import GalleryRun
from galleryrank.optima import TESTED, optima_figures

TASKS = """[gallery.tasks]
binary = ["pool"]
regression = ["review"]
"""


@pytest.fixture(scope="module")
def few_tasks(photo_world: Path, tmp_path_factory: pytest.TempPathFactory) -> GalleryData:
    """The world with two of its 31 tasks."""
    folder = tmp_path_factory.mktemp("few") / "world"
    shutil.copytree(photo_world, folder)
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(re.sub(r"\[gallery\.tasks\]\n(?:(?!\[).*\n)*", TASKS, text))
    return GalleryData.open(folder)


def test_both_losses_and_a_network_per_task_are_compared(few_tasks: GalleryData, tmp_path: Path) -> None:
    training = {"epochs": 1, "precision": "float32"}
    config = EncoderConfig(photo_size=32, head_hidden=8, photo_budget=64, validation=0.2, training=training)
    run = GalleryRun.claim(tmp_path / "run", {"command": "probe"})
    label_training = LabelTraining.of(few_tasks, config, device="cpu")
    found = optima_figures(run, few_tasks, config, label_training, Log(quiet=True))
    optima = found["optima"]
    assert set(optima["task"]) == {"pool", "review"}
    assert (optima[["e_mtl_pseudo", "e_mtl_kendall", "e_opt"]] > 0).all(axis=None)
    assert {folder.name for folder in (run.path / "fits").iterdir()} == {"pseudo_uniform", "kendall", "single"}
    assert len(list((run.path / "fits" / "single").iterdir())) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_fold_and_a_split_of_one_seed_are_not_independent(few_tasks: GalleryData, seed: int) -> None:
    """Why the optima take another seed for their folds than for the validation items."""
    _, held = few_tasks.split(0.1, seed)
    assert (few_tasks.folds(TESTED, seed)[held] == 0).all()
    assert len(np.unique(few_tasks.folds(TESTED, seed + 1)[held])) > 1
