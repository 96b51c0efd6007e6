"""What several tests share: a small marketplace, and rankers fitted on it once per session."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from features import Dataset
from features.world import make_world
from multitask import TrainingConfig
from ranking import NetworkConfig, Prepared, Ranker, RankerConfig, TreesConfig, fit_prepared, prepare

torch.set_num_threads(1)

SMALL = RankerConfig(
    network=NetworkConfig(embedding_dim=4, hidden=(16, 8), dropout=0.1),
    training=TrainingConfig(epochs=3, batch_size=512, learning_rate=5e-3, precision="float32", ema_every=1),
    trees=TreesConfig(rounds=10, leaves=7, early_stopping=0, threads=1),
)


@pytest.fixture(scope="session")
def small() -> RankerConfig:
    """Settings that fit in a second."""
    return SMALL


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset.toml of a small marketplace whose training negatives are sampled at 0.2."""
    return make_world(
        tmp_path_factory.mktemp("world"), seed=3, properties=300, users=500, requests=1500, negative_rate=0.2
    )


@pytest.fixture(scope="session")
def prepared(world: Path) -> Prepared:
    """The small marketplace, checked and encoded once."""
    return prepare(Dataset.open(world), SMALL, lambda _: None)


@pytest.fixture(scope="session")
def ranker(prepared: Prepared) -> Ranker:
    """A small calibrated network."""
    return fit_prepared(prepared, SMALL)


@pytest.fixture(scope="session")
def trees(prepared: Prepared) -> Ranker:
    """LightGBM per head."""
    return fit_prepared(prepared, SMALL.model_copy(update={"model": "lightgbm"}))


@pytest.fixture(scope="session")
def importance(prepared: Prepared) -> Ranker:
    """The importance-weighted single head, as a network."""
    return fit_prepared(prepared, SMALL.model_copy(update={"objective": "importance"}))
