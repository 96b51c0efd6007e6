from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.gallery.end_to_end import EndToEndArm, label_column
from evaluation.gallery.label_training import LabelTraining, base_bias
from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_arms import Trial
from evaluation.gallery.probe_design import ALL_LABELS, ProbeDesign
from evaluation.gallery.probe_result import MAJORITY
from evaluation.gallery.single_tasks import train_single_tasks
from evaluation.gallery.step_time import CACHED, WHOLE, WITH_FORWARD, training_step_times
from evaluation.gallery.task_optima import task_optima_table
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.source import PhotoSource
from features.gallery.tasks import GalleryTasks
from multitask import Task

ROWS = np.arange(80)


@pytest.fixture(scope="module")
def training(colours: GalleryData, colour_photos: PhotoSource, colour_config: EncoderConfig) -> LabelTraining:
    return LabelTraining.of(colours, colour_config, photos=colour_photos, device="cpu")


@pytest.fixture(scope="module")
def stars(colours: GalleryData) -> np.ndarray:
    return colours.holdout("stars").to_numpy()


def trial(stars: np.ndarray, **changes: Any) -> Trial:
    given = Trial(stars.astype(np.intp), 3, ROWS[:50], ROWS[50:60], ROWS[60:], None, 3, 0)
    return replace(given, **changes)


def test_the_network_learns_the_held_out_attribute(training: LabelTraining, stars: np.ndarray) -> None:
    probe = HoldoutProbe(stars, ProbeDesign.split(ROWS, test=0.4), seeds=[0], budgets=[ALL_LABELS])
    arm = EndToEndArm(training, ROWS, learning_rates=[1e-4, 1e-2])
    result = probe.run({"end to end": arm})
    table = result.accuracy().set_index("arm")
    assert table.loc["end to end", "low"] > table.loc[MAJORITY, "accuracy"] + 0.1
    details = result.scores[0].details[0]
    assert set(details["validation_losses"]) == {"0.0001", "0.01"}
    best = min(details["validation_losses"], key=details["validation_losses"].__getitem__)
    assert details["learning_rate"] == float(best) == 0.01


def test_test_labels_do_not_reach_the_network(training: LabelTraining, stars: np.ndarray) -> None:
    arm = EndToEndArm(training, ROWS, learning_rates=[1e-3])
    other = stars.copy()
    other[60:] = (other[60:] + 1) % 3
    first = arm.fit(trial(stars, epochs=1))
    again = arm.fit(trial(other, epochs=1))
    assert np.array_equal(first.probabilities, again.probabilities)
    learned = arm.fit(trial(np.roll(stars, 1), epochs=1))
    assert not np.array_equal(first.probabilities, learned.probabilities)


def test_exact_passes_and_an_item_without_photos(training: LabelTraining, stars: np.ndarray) -> None:
    """Item 0 has no photo: its prediction is that of the zero vector, and no NaN."""
    arm = EndToEndArm(training, ROWS, learning_rates=[1e-3])
    fitted = arm.fit(trial(stars, train=ROWS[10:50], test=ROWS[:10], epochs=4))
    assert fitted.details["passes"] == fitted.details["kept"] == 4
    assert np.isfinite(fitted.probabilities).all()
    assert fitted.probabilities.sum(1) == pytest.approx(1.0)
    task = Task("stars", "multiclass", n_classes=3)
    network = training.network([task], stars[:, None].astype(float), seed=0).eval()
    with torch.no_grad():
        zero = network.predict(torch.zeros(1, network.dim)).numpy()
    assert np.array_equal(training.outputs(network, ROWS[:1]), zero.astype(np.float64))


def test_first_outputs_are_the_base_rates() -> None:
    tasks = [Task("pool"), Task("city", "multiclass", n_classes=2), Task("price", "regression")]
    labels = np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 5.0], [0.0, 1.0, np.nan], [0.0, np.nan, np.nan]])
    bias = base_bias(tasks, labels).numpy()
    assert 1 / (1 + np.exp(-bias[0])) == pytest.approx(0.25)
    assert np.exp(bias[1:3]) == pytest.approx([2 / 3, 1 / 3])
    assert bias[3] == 4.0


def test_rows_and_rates_are_checked(training: LabelTraining) -> None:
    with pytest.raises(ValueError, match=r"must lie within 0 \.\. 79, got 0 \.\. 80"):
        EndToEndArm(training, np.arange(81))
    with pytest.raises(ValueError, match="at least one, got none"):
        EndToEndArm(training, ROWS, learning_rates=[])


def test_step_times_compare_the_arms_on_the_same_batches(training: LabelTraining, stars: np.ndarray) -> None:
    task = Task("stars", "multiclass", n_classes=3)
    labels = label_column(ROWS, 80, stars.astype(np.intp))
    network = training.network([task], labels, seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    batches = training.batches(ROWS[:16], torch.from_numpy(labels).float())
    table = training_step_times({"multitask": network}, network, batches, 3, repeats=2).set_index("step")
    assert list(table.index) == [WITH_FORWARD, CACHED, WHOLE]
    assert (table["iterations"] == 2 * len(batches)).all()
    assert table["photos"].tolist() == [3.0] * 3
    assert (table["cheaper"] * table["ms"]).to_numpy() == pytest.approx(table.loc[WHOLE, "ms"])
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # timing trains a copy
    unlabelled = training.batches(ROWS[:16], torch.full((80, 1), torch.nan))
    with pytest.raises(ValueError, match="no missing label"):
        training_step_times({"multitask": network}, None, unlabelled, 3)


def test_single_tasks_are_kept_and_feed_figure_5(
    training: LabelTraining, colours: GalleryData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = GalleryTasks.fit(colours, ROWS[:50])
    labels = fitted.labels(colours).double().numpy()
    labels[60:, 1] = np.nan  # the coin has no test label: it is left out
    arguments = (fitted.tasks, labels, ROWS[1:50], ROWS[50:60], ROWS[60:])
    said: list[str] = []
    found = train_single_tasks(training, *arguments, learning_rates=[1e-2], folder=tmp_path, progress=said.append)
    assert list(found) == ["bright", "price"]
    assert said == ["task 1 of 3: bright", "task 3 of 3: price"]
    chance = min(labels[60:, 0].mean(), 1 - labels[60:, 0].mean())
    assert found["bright"].error.mean() < chance

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a kept task must not be trained again")

    monkeypatch.setattr(LabelTraining, "fit", refuse)
    again = train_single_tasks(training, *arguments, learning_rates=[1e-2], folder=tmp_path)
    assert np.array_equal(again["price"].log_loss, found["price"].log_loss)
    with pytest.raises(AssertionError):
        train_single_tasks(training, *arguments, learning_rates=[1e-2], seed=1, folder=tmp_path)
    table = task_optima_table(
        fitted.tasks,
        {"pseudo": {"bright": np.full(20, 0.5), "coin": np.full(20, 0.5), "price": np.zeros(20)}},
        found,
        labels[60:],
        labels[:50],
        ROWS[60:],
        replicates=20,
    )
    assert table["task"].tolist() == ["bright", "bright", "price", "price"]
    assert table.loc[0, "e_opt"] == found["bright"].error.mean()
