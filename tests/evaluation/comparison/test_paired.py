from __future__ import annotations

import numpy as np
import pytest

from evaluation.comparison.paired import RankingInfluences, compare, verdict
from evaluation.intervals import paired_ap_difference, paired_auc_difference


def log() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(4_000, 2))
    labels = (rng.random(signal.shape) < 1 / (1 + np.exp(2.0 - signal))).astype(float)
    return labels, signal, np.repeat(np.arange(500), 8), rng.choice([1.0, 4.0], 4_000)


def test_each_line_is_the_paired_difference() -> None:
    y, signal, request, w = log()
    rough = signal + np.random.default_rng(1).normal(scale=1.5, size=signal.shape)
    y[:300, 1] = np.nan
    table = compare(y, signal, rough, request, w, ["click", "save"]).set_index(["head", "metric"])
    known = ~np.isnan(y[:, 1])
    for metric, difference in {"ap": paired_ap_difference, "auc": paired_auc_difference}.items():
        expected = difference(y[known, 1], signal[known, 1], rough[known, 1], request[known], w[known])
        line = table.loc[("save", metric)]
        assert [line["difference"], line["se"]] == pytest.approx(expected, rel=1e-9)
        assert line["ours"] - line["theirs"] == line["difference"]
        assert line["verdict"] == "better"
    back = compare(y, rough, signal, request, w, ["click", "save"])
    assert set(back["verdict"]) == {"worse"}


def test_one_score_is_compared_on_every_head() -> None:
    y, signal, request, w = log()
    total = signal.sum(axis=1)
    as_columns = compare(y, signal, np.column_stack([total, total]), request, w)
    assert compare(y, signal, total, request, w).equals(as_columns)
    assert RankingInfluences(y, total, w).shared


def test_identical_models_are_not_told_apart() -> None:
    y, signal, request, w = log()
    table = compare(y, signal, np.exp(signal), request, w)
    assert (table["difference"] == 0.0).all()
    assert (table["se"] == 0.0).all()
    assert set(table["verdict"]) == {"no difference shown"}


def test_what_is_undefined_has_a_reason_and_no_verdict() -> None:
    table = compare([[0, 1], [0, 0]], [[1, 1], [2, 2]], [[2, 2], [1, 1]], ["a", "a"], names=["never", "once"])
    assert table["verdict"].isna().all()
    assert table["reason"].tolist() == ["no positive row"] * 2 + ["fewer than two requests: no interval"] * 2


def test_a_bound_at_zero_shows_no_difference() -> None:
    assert verdict(0.0, 1.0) == verdict(-1.0, 0.0) == "no difference shown"
    assert verdict(-2.0, -1.0) == "worse"
    assert verdict(np.nan, np.nan) is None


def test_errors_name_the_scores() -> None:
    y, signal, request, _ = log()
    with pytest.raises(ValueError, match=r"`theirs` must have shape \(4000, 2\) or \(4000,\), got \(4000, 1\)"):
        compare(y, signal, signal[:, :1], request)
    with pytest.raises(ValueError, match=r"scored on different rows: 4,000 and 3,900 \(100 fewer\)"):
        compare(y, signal[100:], signal, request)
    with pytest.raises(ValueError, match=r"`theirs` must lie within \[0, 1\] where probabilities are compared, got -"):
        compare(y, np.full_like(signal, 0.5), signal, request, metrics=["ap", "brier"])
    with pytest.raises(ValueError, match=r"`metrics` must be among ap, .*, got 'accuracy'"):
        compare(y, signal, signal, request, metrics=["accuracy"])
    signal[3, 1] = np.nan
    with pytest.raises(ValueError, match="`ours` must be numbers without NaN, got nan at row 3"):
        compare(y, signal, signal[:, 0], request)
