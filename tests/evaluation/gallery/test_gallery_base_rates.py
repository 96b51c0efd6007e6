from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_squared_error

from evaluation.gallery.base_rates import base_rate_table
from evaluation.gallery.task_scores import base_predictions, predictions_of, task_rows
from multitask.tasks import Task

TASKS = [Task("pool"), Task("price", "regression"), Task("city", "multiclass", n_classes=3)]
N = 400


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    rng = np.random.default_rng(0)
    y = np.column_stack([rng.random(N) < 0.2, rng.normal(5, 2, N), rng.integers(0, 3, N)]).astype(float)
    y[rng.random((N, 3)) < 0.1] = np.nan
    return y


def known(labels: np.ndarray, column: int) -> np.ndarray:
    return ~np.isnan(labels[:, column])


def test_the_base_rate_against_itself_is_exactly_zero_and_not_shown(labels: np.ndarray) -> None:
    table = base_rate_table(TASKS, base_predictions(TASKS, labels, N), labels, labels, np.arange(N))
    assert table["difference"].tolist() == [0.0, 0.0, 0.0]
    assert set(table["verdict"]) == {"not shown"}
    assert table["task"].tolist() == ["city", "pool", "price"]  # by kind


def test_losses_are_scikit_learns(labels: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    outputs = rng.normal(size=(N, 5))
    predictions = predictions_of(TASKS, outputs)
    table = base_rate_table(TASKS, predictions, labels, labels, np.arange(N)).set_index("task")
    seen = known(labels, 0)
    assert table.loc["pool", "value"] == pytest.approx(log_loss(labels[seen, 0], predictions["pool"][seen]), abs=1e-12)
    seen = known(labels, 1)
    assert table.loc["price", "value"] == pytest.approx(
        mean_squared_error(labels[seen, 1], predictions["price"][seen]), abs=1e-12
    )
    assert table.loc["price", "base"] == pytest.approx(np.var(labels[seen, 1]), abs=1e-12)
    seen = known(labels, 2)
    assert table.loc["city", "value"] == pytest.approx(
        log_loss(labels[seen, 2], predictions["city"][seen], labels=[0, 1, 2]), abs=1e-12
    )


def test_better_than_the_base_rate_is_seen_by_log_loss_where_accuracy_sees_nothing() -> None:
    """Methods, section 4: for a rare amenity even the true probabilities predict what the majority does."""
    rng = np.random.default_rng(2)
    truth = np.where(rng.random(4000) < 0.5, 0.3, 0.02)
    y = (rng.random(4000) < truth).astype(float)[:, None]
    row = base_rate_table([Task("lounge")], {"lounge": truth}, y, y, np.arange(4000)).iloc[0]
    assert row["verdict"] == "better"
    assert row["error"] == row["base_error"] == y.mean()


def test_repeated_rows_of_one_group_do_not_narrow_the_interval(labels: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    predictions = predictions_of(TASKS, rng.normal(size=(N, 5)))
    single = base_rate_table(TASKS, predictions, labels, labels, np.arange(N))
    doubled = {task: np.repeat(values, 2, axis=0) for task, values in predictions.items()}
    clustered = base_rate_table(TASKS, doubled, np.repeat(labels, 2, axis=0), labels, np.repeat(np.arange(N), 2))
    assert clustered["se"].to_numpy() == pytest.approx(single["se"].to_numpy(), rel=1e-9)
    naive = base_rate_table(TASKS, doubled, np.repeat(labels, 2, axis=0), labels, np.arange(2 * N))
    assert (naive["se"] < 0.8 * single["se"]).all()


def test_a_task_without_a_test_label_says_so(labels: np.ndarray) -> None:
    held = labels.copy()
    held[:, 0] = np.nan
    row = base_rate_table(TASKS, base_predictions(TASKS, labels, N), held, labels, np.arange(N)).set_index("task")
    assert row.loc["pool", "reason"] == "no row carries the label"
    assert row.loc["pool", "verdict"] == "not shown"
    assert np.isnan(row.loc["pool", "difference"])


def test_large_logits_neither_overflow_nor_cost_infinity() -> None:
    predictions = predictions_of(TASKS, np.full((2, 5), -2000.0))
    rows = task_rows(TASKS, predictions, [[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert np.isfinite(rows["pool"].log_loss).all()
    assert rows["pool"].error.tolist() == [1.0, 0.0]
    assert rows["city"].log_loss == pytest.approx(np.log(3))


def test_a_class_that_training_never_saw_has_half_a_label() -> None:
    base = base_predictions([Task("city", "multiclass", n_classes=3)], [[0.0], [0.0], [1.0]], rows=1)["city"]
    assert base[0] == pytest.approx([2 / 3.5, 1 / 3.5, 0.5 / 3.5])


def test_what_does_not_fit_is_refused(labels: np.ndarray) -> None:
    sound = base_predictions(TASKS, labels, N)
    with pytest.raises(ValueError, match=r"`outputs` must have 5 columns, got 4"):
        predictions_of(TASKS, np.zeros((N, 4)))
    with pytest.raises(ValueError, match="must hold task 'city'"):
        task_rows(TASKS, {"pool": sound["pool"], "price": sound["price"]}, labels)
    with pytest.raises(ValueError, match=r"must have shape \(400, 3\)"):
        task_rows(TASKS, {**sound, "city": sound["city"][:, :2]}, labels)
    with pytest.raises(ValueError, match="must be finite"):
        task_rows(TASKS, {**sound, "price": np.full(N, np.nan)}, labels)
    with pytest.raises(ValueError, match="a label of task 'pool'"):
        base_predictions(TASKS[:1], [[np.nan]], 1)
