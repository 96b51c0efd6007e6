from __future__ import annotations

import datetime
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from evaluation import evaluate_predictions
from evaluation.calibration import ratio_drift
from evaluation.freedom import t_quantile, t_two_sided, variance_freedom
from evaluation.intervals import ratio_interval


def log(seed: int, rows: int = 8_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(1.0, 15.0, (rows, 2))
    return (rng.random(p.shape) < p).astype(float), p, np.arange(rows) // 8, np.arange(rows) // 8


def test_the_ratios_are_those_of_the_periods() -> None:
    y, p, request, when = log(0)
    y[:100, 1] = np.nan
    w = np.random.default_rng(1).choice([1.0, 5.0], len(y))
    table = ratio_drift(y, p, request, w, when, ["a", "b"])
    split = int(np.searchsorted(np.cumsum(w), w.sum() / 2))
    boundary = int(table.loc[0, "after"].split(" to ")[0])
    assert abs(boundary - when[split]) <= 1
    for head in (0, 1):
        early = (when < boundary) & ~np.isnan(y[:, head])
        late = when >= boundary
        (first, first_error), (second, second_error) = (
            ratio_interval(y[rows, head], p[rows, head], request[rows], w[rows]) for rows in (early, late)
        )
        line = table.iloc[head]
        assert (line["ratio_before"], line["ratio_after"]) == pytest.approx((first, second))
        assert line["change"] == pytest.approx(second / first)
        # requests of their own in either period: the errors add up
        error = np.hypot(first_error / first, second_error / second)
        assert np.log(line["high"] / line["change"]) == pytest.approx(1.96 * error, rel=0.02)


def test_a_drift_is_found_and_chance_is_not() -> None:
    alarms = 0
    for seed in range(100):
        y, p, request, when = log(seed, rows=2_000)
        alarms += int((ratio_drift(y, p, request, None, when)["p"] < 0.05).sum())
    assert 2 <= alarms <= 20  # of 200 at 5 %
    y, p, request, when = log(0)
    p[when >= 500, 0] *= 1.5
    table = ratio_drift(y, p, request, None, when, ["moved", "still"]).set_index("head")
    assert table.loc["moved", "p"] < 1e-4
    assert table.loc["moved", "low"] > 1.2
    assert table.loc["still", "p"] > 0.01
    assert table.loc["moved", "p_adjusted"] == pytest.approx(2 * table.loc["moved", "p"])


def test_more_periods_and_dates() -> None:
    y, p, request, when = log(2)
    days = pd.Timestamp("2024-03-01") + pd.to_timedelta(when // 100, unit="D")
    table = ratio_drift(y[:, :1], p[:, :1], request, None, days, ["click"], periods=5)
    assert table["before"].tolist()[0] == "2024-03-01 00:00 to 2024-03-02 00:00"
    assert table["after_from"].tolist()[-1] == "2024-03-09 00:00"
    assert len(table) == 4
    assert table["ratio_after"].tolist()[:-1] == table["ratio_before"].tolist()[1:]


def test_requests_across_the_boundary_keep_their_dependence() -> None:
    """Every request in both periods with the same outcome: what they share cancels in the change."""
    rng = np.random.default_rng(0)
    outcome = (rng.random(500) < 0.2).astype(float)
    y, p = np.tile(outcome, 2)[:, None], np.full((1000, 1), 0.2)
    when = np.repeat([0, 1], 500)
    line = ratio_drift(y, p, np.tile(np.arange(500), 2), None, when).iloc[0]
    assert line[["change", "low", "high", "p"]].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])
    apart = ratio_drift(y, p, np.arange(1000), None, when).iloc[0]
    assert apart["high"] > 1.2


def test_one_time_that_holds_nearly_everything_still_leaves_two_periods() -> None:
    for weights, periods in (([90, 1, 1, 1], ["1", "2 to 3"]), ([1, 1, 1, 90], ["1 to 2", "3"])):
        table = ratio_drift([[1], [0], [0], [0]], [[0.5]] * 4, [1, 2, 3, 4], weights, [1, 2, 2, 3])
        assert table[["before", "after"]].to_numpy().tolist() == [periods]
        assert table.loc[0, "reason"] == "no positive row in the second"
        assert np.isnan(table.loc[0, "p"])
    nothing = ratio_drift([[1], [0]], [[0.5], [0.5]], [1, 2], None, [4, 4])
    assert nothing.empty
    assert list(nothing) == list(table)
    assert ratio_drift([[1], [0]], [[0.5], [0.5]], [1, 2], [1, 0], [4, 5]).empty


def test_a_model_that_predicts_nothing_in_a_period_says_so() -> None:
    y, p, request, when = log(3, rows=1_000)
    early, late = (np.where((when < 62)[:, None] == first, 0.0, p) for first in (True, False))
    for probabilities, where in ((early, "the first"), (late, "the second"), (0.0 * p, "either period")):
        table = ratio_drift(y, probabilities, request, None, when, ["a", "b"])
        assert table["reason"].tolist() == [f"predicts nothing in {where}"] * 2
        assert table[["change", "low", "high", "p", "p_adjusted"]].isna().all(axis=None)
        found = evaluate_predictions(y, probabilities, request, names=["a", "b"], times=when)
        assert [line["reason"] for line in found.metrics["drift"]] == table["reason"].tolist()
        assert found.metrics["drift"][0]["ratio_before"] == pytest.approx(table.loc[0, "ratio_before"])
    assert ratio_drift(y, early, request, None, when)["ratio_before"].tolist() == [0.0, 0.0]
    nothing = ratio_drift(0.0 * y, 0.0 * p, request, None, when)["reason"]
    assert nothing.tolist() == ["no positive row in either period"] * 2


@pytest.mark.parametrize("periods", [2, 4])
def test_the_change_is_what_the_rows_of_two_periods_say(periods: int) -> None:
    """To 1e-12 against row weights of 0 outside a period; times in no order, labels missing, weights of 0."""
    y, p, request, _ = log(5, rows=2_000)
    rng = np.random.default_rng(5)
    when, w = rng.integers(0, 40, len(y)) * 0.5, rng.choice([0.0, 1.0, 4.0], len(y))
    y[rng.random(y.shape) < 0.1] = np.nan
    request = rng.permutation(request)
    table = ratio_drift(y, p, request, w, when, periods=periods)
    assert len(table) == 2 * (periods - 1)
    for line in table.to_dict("records"):
        column = int(line["head"][-1])
        outcome = np.nan_to_num(y[:, column])
        sums = []
        for part in ("before", "after"):
            inside = (when >= float(line[f"{part}_from"])) & (when <= float(line[f"{part}_to"]))
            weight = w * inside * ~np.isnan(y[:, column])
            sums.append([np.bincount(request, weights=weight * values) for values in (p[:, column], outcome)])
        (p_0, y_0), (p_1, y_1) = sums
        change = (p_1.sum() / y_1.sum()) / (p_0.sum() / y_0.sum())
        influence = p_1 / p_1.sum() - y_1 / y_1.sum() - p_0 / p_0.sum() + y_0 / y_0.sum()
        common = (y_0.sum() + y_1.sum()) / (p_0.sum() + p_1.sum())
        score = (y_0 - common * p_0) / p_0.sum() - (y_1 - common * p_1) / p_1.sum()
        difference = y_0.sum() / p_0.sum() - y_1.sum() / p_1.sum()
        freedom = variance_freedom(score)
        chance = t_two_sided(np.array([difference]), np.array([np.linalg.norm(score)]), np.array([freedom]))[0]
        half = t_quantile(freedom) * np.linalg.norm(influence)
        wanted = [change, change * np.exp(-half), change * np.exp(half), chance]
        np.testing.assert_allclose([line[name] for name in ("change", "low", "high", "p")], wanted, rtol=1e-12)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.Categorical])
def test_times_as_text_are_refused(kind: Callable[[list[str]], object]) -> None:
    """9 o'clock would come after 10 o'clock."""
    with pytest.raises(
        ValueError, match="`times` must be numbers or datetimes, got text or a mixture, '9:00' at row 0"
    ):
        ratio_drift([[1.0], [0.0]], [[0.5], [0.5]], [1, 2], None, kind(["9:00", "10:00"]))


def test_dates_as_objects_are_times() -> None:
    days = [datetime.date(2024, 3, 9), datetime.date(2024, 3, 10)] * 2
    table = ratio_drift([[1.0], [0.0], [0.0], [1.0]], [[0.5]] * 4, [1, 2, 3, 4], None, np.array(days, dtype=object))
    assert (table.loc[0, "before"], table.loc[0, "after"]) == ("2024-03-09", "2024-03-10")


def test_bad_input() -> None:
    y, p = [[1.0], [0.0]], [[0.5], [0.5]]
    assert ratio_drift(np.empty((0, 1)), np.empty((0, 1)), [], None, []).empty
    with pytest.raises(ValueError, match="`periods` must be at least 2, got 1"):
        ratio_drift(y, p, [1, 2], None, [1, 2], periods=1)
    with pytest.raises(ValueError, match=r"`times` must be there in every row, got none at row 1 \(1 in all\)"):
        ratio_drift(y, p, [1, 2], None, [1.0, np.nan])
    with pytest.raises(ValueError, match=r"`times` must have 2 row\(s\), got 3"):
        ratio_drift(y, p, [1, 2], None, [1, 2, 3])
