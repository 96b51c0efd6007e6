from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from evaluation.gallery.balance_figure import balance_figure
from evaluation.gallery.class_balance import class_balance, minority_share
from multitask.tasks import Task

NAMES = [f"amenity_{number}" for number in range(12)]
TASKS = [*(Task(name) for name in NAMES), Task("price", "regression")]


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """Column t holds 2 (t + 1) ones in 50 rows, as many missing labels at the end."""
    y = np.zeros((60, 13))
    for t in range(12):
        y[: 2 * (t + 1), t] = 1.0
    y[50:] = np.nan
    return y


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for metric in ("error", "log_loss"):
        for t, task in enumerate(TASKS):
            relative = 0.01 * t + 0.02 * rng.normal()
            rows.append(
                {"task": task.name, "kind": task.kind, "metric": metric}
                | {"relative_pseudo": relative, "relative_kendall": -relative}
            )
    return pd.DataFrame(rows)


def test_minority_share_is_the_rarer_classs() -> None:
    """[Booking] section 4.2: "a perfectly balanced variable will be at 0.5"."""
    assert minority_share(np.array([0.0, 1.0])) == 0.5
    assert minority_share(np.array([1.0] * 9 + [0.0])) == pytest.approx(0.1)
    assert np.isnan(minority_share(np.array([np.nan])))


def test_r_and_p_are_scipys_and_the_interval_holds_r(labels: np.ndarray, table: pd.DataFrame) -> None:
    found = class_balance(TASKS, labels, table)
    for record in found.correlations.to_dict(orient="records"):
        rows = table[(table["metric"] == record["metric"]) & (table["kind"] == "binary")]
        minority = np.arange(1, 13) * 2 / 50
        r, p = pearsonr(minority, rows[f"relative_{record['loss']}"])
        assert (record["r"], record["p"]) == pytest.approx((r, p), abs=1e-12)
        assert record["low"] < r < record["high"]
        assert record["tasks"] == 12
    assert set(found.points["task"]) == set(NAMES)  # no regression
    signs = found.correlations.set_index(["loss", "metric"])["r"]
    assert signs["pseudo", "error"] == pytest.approx(-signs["kendall", "error"])


def test_no_relation_gives_an_interval_around_zero(labels: np.ndarray, table: pd.DataFrame) -> None:
    flat = table.assign(relative_pseudo=np.random.default_rng(4).normal(size=len(table)))
    record = class_balance(TASKS, labels, flat).correlations.iloc[0]
    assert record["low"] < 0.0 < record["high"]


def test_same_seed_same_interval(labels: np.ndarray, table: pd.DataFrame) -> None:
    first, again, other = (class_balance(TASKS, labels, table, seed=seed).correlations for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first["low"].equals(other["low"])


def test_too_few_tasks_or_no_spread_say_so(labels: np.ndarray, table: pd.DataFrame) -> None:
    few = class_balance(TASKS, labels, table[table["task"].isin(NAMES[:3])]).correlations
    assert set(few["reason"]) == {"fewer than 4 binary tasks"}
    assert few["r"].isna().all()
    same = class_balance(TASKS, labels, table.assign(relative_pseudo=0.1)).correlations
    assert same.loc[same["loss"] == "pseudo", "reason"].notna().all()
    assert same.loc[same["loss"] == "kendall", "reason"].isna().all()


def test_the_figure_shows_the_same_r(labels: np.ndarray, table: pd.DataFrame) -> None:
    found = class_balance(TASKS, labels, table)
    svg = balance_figure(found)
    assert svg.startswith("<svg")
    for record in found.correlations.to_dict(orient="records"):
        assert f"r = {record['r']:.4f}" in svg
    for name in NAMES:
        assert name.replace("_", " ") in svg
