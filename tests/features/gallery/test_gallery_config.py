"""The encoder's configuration: the paper's defaults, and every contradiction named at once."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from features.gallery.config import AugmentationConfig, EncoderConfig
from multitask import TrainingConfig


def test_the_defaults_are_the_papers() -> None:
    """[Booking] 3.2: Adam with 1e-4, until the validation loss stops decreasing, 9:1."""
    config = EncoderConfig(backbone="vgg16", pretrained=True)
    assert (config.training.learning_rate, config.training.optimizer, config.training.ema_decay) == (1e-4, "adam", 0.0)
    assert (config.validation, config.loss, config.pooling) == (0.1, "pseudo_uniform", "mean")


def test_random_weights_start_with_a_larger_rate() -> None:
    assert EncoderConfig().training.learning_rate == EncoderConfig(seed=1).training.learning_rate == 1e-3
    assert EncoderConfig.model_validate({"training": {"learning_rate": 0.01}}).training.learning_rate == 0.01


def test_the_training_seed_follows_the_seed_unless_it_is_given() -> None:
    assert EncoderConfig(seed=4).training.seed == 4
    assert EncoderConfig.model_validate({"seed": 4, "training": {"seed": 5}}).training.seed == 5
    own = TrainingConfig(epochs=3)
    assert EncoderConfig(seed=4, training=own).training == own


def test_json_and_back() -> None:
    config = EncoderConfig.model_validate({"seed": 3, "training": {"epochs": 2}, "augmentation": {"flip": True}})
    assert EncoderConfig.model_validate(config.model_dump(mode="json")) == config


def test_contradictions_are_named_together() -> None:
    with pytest.raises(ValidationError, match="mirror"):
        EncoderConfig(cache="prefix", train="none", mirror=True)
    with pytest.raises(ValidationError) as caught:
        EncoderConfig(cache="prefix", augmentation=AugmentationConfig(flip=True), training=TrainingConfig(batch_size=8))
    for part in ("needs a frozen part", "cache_augmentations", "photo_budget"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cache_augmentations": 2}, 'read with cache = "prefix" only'),
        ({"loss": "triplet", "train": "none"}, "nothing to train"),
        ({"pooling": "median"}, "mean_max_std"),
        ({"photo_size": 16}, "32"),
        ({"validation": 1.0}, "less than 1"),
        ({"widht": 3}, "Extra inputs"),
        ({"training": {"monitor": "auc"}}, 'must be "validation_loss" and "min".*got "auc" and "min"'),
        ({"training": {"direction": "max"}}, 'got "validation_loss" and "max"'),
        ({"margin": 0.3}, 'margin is read with loss = "triplet" only'),
        ({"loss": "kendall", "mining": "hard"}, 'mining is read with loss = "triplet" only'),
        ({"cache_precision": "float16"}, 'cache_precision is read with cache = "prefix" only'),
        ({"loss": "triplet", "head_hidden": 16}, "head_hidden is read with the heads of another loss"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EncoderConfig.model_validate(values)


def test_learned_pooling_may_train_alone_by_triplets() -> None:
    assert EncoderConfig(loss="triplet", train="none", pooling="gem").pooling == "gem"


def test_another_loss_leaves_out_what_only_this_one_reads() -> None:
    triplet = EncoderConfig(loss="triplet", mining="hard", margin=0.5, embed_dim=8)
    assert triplet.with_loss("kendall") == EncoderConfig(loss="kendall", embed_dim=8)
    assert triplet.with_loss("triplet") == triplet
    heads = EncoderConfig(head_hidden=16, seed=4)
    assert heads.with_loss("triplet") == EncoderConfig(loss="triplet", seed=4)
    assert heads.with_loss("kendall") == EncoderConfig(loss="kendall", head_hidden=16, seed=4)
