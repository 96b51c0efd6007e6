from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.gallery.task_figure import task_figure
from evaluation.gallery.task_optima import pseudo_against_kendall, task_optima_table
from evaluation.gallery.task_scores import TaskRows, task_rows
from multitask.tasks import Task

TASKS = [Task("pool"), Task("price", "regression"), Task("city", "multiclass", n_classes=3)]
N = 300


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    rng = np.random.default_rng(0)
    y = np.column_stack([rng.random(N) < 0.3, rng.normal(size=N), rng.integers(0, 3, N)]).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    return y


def predictions(labels: np.ndarray, skill: float, seed: int) -> dict[str, np.ndarray]:
    """The better the larger `skill`."""
    rng = np.random.default_rng(seed)
    y = np.nan_to_num(labels)
    logits = skill * (np.eye(3)[y[:, 2].astype(int)]) + rng.normal(size=(N, 3))
    powers = np.exp(logits)
    return {
        "pool": 1 / (1 + np.exp(-(skill * (2 * y[:, 0] - 1) + rng.normal(size=N)))),
        "price": y[:, 1] + rng.normal(size=N) / skill,
        "city": powers / powers.sum(1, keepdims=True),
    }


@pytest.fixture(scope="module")
def table(labels: np.ndarray) -> pd.DataFrame:
    mtl = {"pseudo": predictions(labels, 1.5, 1), "kendall": predictions(labels, 1.0, 2)}
    return task_optima_table(TASKS, mtl, predictions(labels, 2.0, 3), labels, labels, np.arange(N), replicates=200)


def test_relative_increase_is_the_articles_formula(labels: np.ndarray, table: pd.DataFrame) -> None:
    """[Booking] figure 5: (e_MTL - e_opt) / e_opt, accuracy error for classes, mean squared error for numbers."""
    ours, best = (task_rows(TASKS, predictions(labels, *args), labels) for args in ((1.5, 1), (2.0, 3)))
    for task in TASKS:
        for metric in ("error", "log_loss"):
            row = table[(table["task"] == task.name) & (table["metric"] == metric)].iloc[0]
            e_mtl, e_opt = ours[task.name].metric(metric).mean(), best[task.name].metric(metric).mean()
            assert row["e_mtl_pseudo"] == pytest.approx(e_mtl, abs=1e-12)
            assert row["e_opt"] == pytest.approx(e_opt, abs=1e-12)
            assert row["relative_pseudo"] == pytest.approx((e_mtl - e_opt) / e_opt, abs=1e-12)
            assert row["low_pseudo"] < row["relative_pseudo"] < row["high_pseudo"]


def test_the_benchmark_is_majority_base_rate_and_mean(labels: np.ndarray, table: pd.DataFrame) -> None:
    seen = labels[~np.isnan(labels[:, 0]), 0]
    rows = table.set_index(["task", "metric"])
    assert rows.loc[("pool", "error"), "e_base"] == pytest.approx(seen.mean())
    p = seen.mean()
    assert rows.loc[("pool", "log_loss"), "e_base"] == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p))
    numbers = labels[~np.isnan(labels[:, 1]), 1]
    assert rows.loc[("price", "error"), "e_base"] == pytest.approx(numbers.var())
    codes = labels[~np.isnan(labels[:, 2]), 2]
    assert rows.loc[("city", "error"), "e_base"] == pytest.approx(1 - np.bincount(codes.astype(int)).max() / len(codes))


def test_the_optimum_against_itself_is_zero_with_no_width(labels: np.ndarray) -> None:
    same = predictions(labels, 1.0, 4)
    found = task_optima_table(TASKS, {"pseudo": same}, same, labels, labels, np.arange(N), replicates=50)
    for column in ("relative_pseudo", "low_pseudo", "high_pseudo"):
        assert found[column].to_numpy() == pytest.approx(0.0, abs=1e-12)


def test_losses_and_predictions_of_the_optimum_give_the_same_table(labels: np.ndarray) -> None:
    best, mtl = predictions(labels, 2.0, 3), {"pseudo": predictions(labels, 1.0, 2)}
    given = task_optima_table(TASKS, mtl, best, labels, labels, np.arange(N), replicates=20)
    losses = task_optima_table(TASKS, mtl, task_rows(TASKS, best, labels), labels, labels, np.arange(N), replicates=20)
    assert given.equals(losses)
    other = {"pool": TaskRows(np.arange(3), np.ones(3), np.ones(3))}
    with pytest.raises(ValueError, match="the rows that carry its label"):
        task_optima_table(TASKS, mtl, other, labels, labels, np.arange(N))


def test_repeated_rows_of_a_group_widen_nothing_and_narrow_nothing(labels: np.ndarray) -> None:
    best, mtl = predictions(labels, 2.0, 3), predictions(labels, 1.0, 2)

    def width(repeats: int, groups: np.ndarray) -> np.ndarray:
        def repeat(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: np.repeat(array, repeats, axis=0) for name, array in values.items()}

        y = np.repeat(labels, repeats, axis=0)
        found = task_optima_table(TASKS, {"pseudo": repeat(mtl)}, repeat(best), y, y, groups, replicates=200)
        return (found["high_pseudo"] - found["low_pseudo"]).to_numpy()

    single = width(1, np.arange(N))
    assert width(3, np.repeat(np.arange(N), 3)) == pytest.approx(single, rel=1e-9)
    assert (width(3, np.arange(3 * N)) < 0.8 * single).all()


def test_an_optimum_without_an_error_has_no_relative_increase() -> None:
    y = np.array([[0.0], [1.0]] * 5)
    perfect = {"pool": np.tile([0.01, 0.99], 5)}
    found = task_optima_table([Task("pool")], {"pseudo": {"pool": np.full(10, 0.5)}}, perfect, y, y, np.arange(10))
    rows = found.set_index("metric")
    assert np.isnan(rows.loc["error", ["relative_pseudo", "low_pseudo", "relative_base"]].astype(float)).all()
    assert rows.loc["log_loss", "relative_pseudo"] == pytest.approx(np.log(0.5) / np.log(0.99) - 1)


def test_pseudo_uniform_is_counted_against_kendall(table: pd.DataFrame) -> None:
    counts = pseudo_against_kendall(table)
    assert counts["log_loss"] == {"better": 3, "equal": 0, "worse": 0, "tasks": 3}
    swapped = table.rename(columns={"e_mtl_pseudo": "e_mtl_kendall", "e_mtl_kendall": "e_mtl_pseudo"})
    assert pseudo_against_kendall(swapped)["log_loss"]["worse"] == 3


def test_names_are_checked(labels: np.ndarray) -> None:
    p = predictions(labels, 1.0, 1)
    with pytest.raises(ValueError, match="'pseudo' and / or 'kendall', got \\['mine'\\]"):
        task_optima_table(TASKS, {"mine": p}, p, labels, labels, np.arange(N))
    with pytest.raises(ValueError, match="one of the tasks"):
        task_optima_table(TASKS, {"pseudo": p}, {}, labels, labels, np.arange(N))


def test_the_figure_names_every_task_and_writes_a_far_benchmark_at_the_edge(table: pd.DataFrame) -> None:
    svg = task_figure(table)
    assert svg.startswith("<svg")
    for text in ("pool", "price", "city", "pseudo-uniform", "Kendall", "yes / no"):
        assert text in svg
    assert "↑" not in task_figure(table.assign(relative_base=0.01))
    assert "+5000%" in task_figure(table.assign(relative_base=50.0))
