from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.calibration import ratio_drift
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


def test_bad_input() -> None:
    y, p = [[1.0], [0.0]], [[0.5], [0.5]]
    with pytest.raises(ValueError, match="`periods` must be at least 2, got 1"):
        ratio_drift(y, p, [1, 2], None, [1, 2], periods=1)
    with pytest.raises(ValueError, match=r"`times` must be there in every row, got none at row 1 \(1 in all\)"):
        ratio_drift(y, p, [1, 2], None, [1.0, np.nan])
    with pytest.raises(ValueError, match=r"`times` must have 2 row\(s\), got 3"):
        ratio_drift(y, p, [1, 2], None, [1, 2, 3])
