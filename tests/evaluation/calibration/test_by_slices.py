from __future__ import annotations

import itertools

import numpy as np
import pytest

from evaluation import evaluate_predictions
from evaluation.calibration import QUANTILES, calibration_by_slices, calibration_of_stages, p_any_slices
from evaluation.clusters import clustered_error
from evaluation.intervals import ratio_interval
from evaluation.metrics import make_estimate
from evaluation.proper_scores import ratio_of_sums


def log(rows: int = 20_000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    strength = rng.normal(size=(rows, 1))
    p = 1 / (1 + np.exp(2.0 + np.array([0.0, 1.0]) - strength))
    labels = (rng.random(p.shape) < p).astype(float)
    return {
        "p": p,
        "y": labels,
        "p_any": 1 - np.prod(1 - p, axis=1),
        "request": rng.integers(0, rows // 10, rows),
        "w": rng.choice([1.0, 5.0], rows),
    }


def test_slices_hold_their_shares_of_the_weight_and_partition_the_rows() -> None:
    world = log()
    codes = p_any_slices(world["p_any"], world["w"], (0, 0.33, 0.67, 0.9, 1.0))
    shares = np.bincount(codes, weights=world["w"]) / world["w"].sum()
    np.testing.assert_allclose(shares, [0.33, 0.34, 0.23, 0.10], atol=1e-3)
    for lower in range(3):
        assert world["p_any"][codes == lower].max() < world["p_any"][codes == lower + 1].min()


def test_equal_p_any_stays_in_one_slice_whatever_the_order_of_rows() -> None:
    rng = np.random.default_rng(3)
    p_any = rng.integers(0, 7, 500) / 10.0
    codes = p_any_slices(p_any, None, (0, 0.33, 0.67, 0.9, 1.0))
    for value in np.unique(p_any):
        assert len(set(codes[p_any == value])) == 1
    shuffled = rng.permutation(500)
    assert np.array_equal(p_any_slices(p_any[shuffled], None, (0, 0.33, 0.67, 0.9, 1.0)), codes[shuffled])


def test_a_calibrated_model_has_one_inside_nearly_every_interval() -> None:
    world = log()
    table = calibration_by_slices(world["y"], world["p"], world["p_any"], world["request"], world["w"])
    assert table["slice"].tolist() == ["all", "0-33 %", "33-67 %", "67-90 %", "90-100 %"] * 2
    assert table["head"].tolist() == ["head_0"] * 5 + ["head_1"] * 5
    inside = (table["ratio_low"] <= 1.0) & (table["ratio_high"] >= 1.0)
    assert inside.sum() >= 8
    assert ((table["ratio"] - 1.0).abs() / table["ratio_se"]).max() < 3.5


def test_slices_show_what_the_overall_ratio_hides() -> None:
    world = log()
    tilted = world["p"] ** 0.6
    tilted *= world["y"].sum(axis=0) / tilted.sum(axis=0)
    table = calibration_by_slices(world["y"], tilted, world["p_any"], world["request"]).set_index(["head", "slice"])
    assert table.loc[("head_1", "all"), "ratio"] == pytest.approx(1.0, abs=1e-9)
    assert table.loc[("head_1", "0-33 %"), "ratio_low"] > 1.3
    assert table.loc[("head_1", "90-100 %"), "ratio_high"] < 0.8


def test_each_line_is_the_ratio_of_its_rows() -> None:
    world = log(3_000)
    labels = world["y"].copy()
    labels[:700, 0] = np.nan
    table = calibration_by_slices(labels, world["p"], world["p_any"], world["request"], world["w"], names=["a", "b"])
    codes = p_any_slices(world["p_any"], world["w"], (0, 0.33, 0.67, 0.9, 1.0))
    rows = (codes == 2) & ~np.isnan(labels[:, 0])
    line = table[(table["head"] == "a") & (table["slice"] == "67-90 %")].iloc[0]
    y, p, w = labels[rows, 0], world["p"][rows, 0], world["w"][rows]
    assert [line["ratio"], line["ratio_se"]] == pytest.approx(ratio_interval(y, p, world["request"][rows], w))
    assert line["rows"] == rows.sum()
    assert line["observed"] == pytest.approx(np.average(y, weights=w))
    assert line["predicted"] == pytest.approx(np.average(p, weights=w))
    assert line["p_any_low"] == world["p_any"][codes == 2].min()
    total = table[(table["head"] == "a") & (table["slice"] != "all")]["rows"].sum()
    assert total == 2_300


def test_true_probabilities_can_stand_for_the_labels() -> None:
    world = log(2_000)
    table = calibration_by_slices(world["p"], 1.1 * world["p"].clip(0, 0.9), world["p_any"], world["request"])
    assert table["ratio"].to_numpy() == pytest.approx(1.1, abs=0.01)


def test_stages_share_their_slices() -> None:
    world = log(2_000)
    stages = {"naive": world["p"] / 2, "calibrated": world["p"]}
    table = calibration_of_stages(world["y"], stages, world["p_any"], world["request"])
    naive, final = (table[table["stage"] == stage].reset_index(drop=True) for stage in stages)
    assert (naive["rows"] == final["rows"]).all()
    assert (2 * naive["ratio"]).to_numpy() == pytest.approx(final["ratio"].to_numpy())


def test_empty_and_unobserved_slices_say_why() -> None:
    table = calibration_by_slices([[0], [0], [1]], [[0.1], [0.1], [0.1]], [0.2, 0.2, 0.2], [1, 2, 3])
    by_slice = table.set_index("slice")
    assert by_slice.loc["33-67 %", "ratio"] == pytest.approx(0.3)
    assert by_slice.loc["0-33 %", "reason"] == "no row with a label"
    table = calibration_by_slices([[0], [0], [1]], [[0.1], [0.2], [0.3]], [0.1, 0.2, 0.3], [1, 2, 3])
    assert table.set_index("slice").loc["0-33 %", "reason"] == "no positive row"
    assert np.isnan(table.set_index("slice").loc["0-33 %", "ratio"])


@pytest.mark.parametrize("requests", [3, 200, 3_000])
def test_every_line_is_what_its_rows_say_alone(requests: int) -> None:
    """To 1e-12, of two stages, few and many requests per slice, labels missing, weights of 0, true probabilities."""
    rng = np.random.default_rng(requests)
    p = rng.beta(0.7, 6.0, (1_500, 2))
    p_any, request = np.round(p.max(axis=1), 2), rng.integers(0, requests, 1_500)
    w = rng.choice([0.0, 1.0, 7.0], 1_500)
    labels = np.where(rng.random(p.shape) < 0.1, np.nan, rng.random(p.shape) < p)
    labels[p_any < 0.05, 1] = 0.0  # nothing happens in a slice
    codes = p_any_slices(p_any, w, QUANTILES)
    stages = {"naive": p / 3, "calibrated": p}
    for y in (labels, p**0.8):
        table = calibration_of_stages(y, stages, p_any, request, w).set_index(["stage", "head", "slice"])
        for stage, head, number in itertools.product(stages, (0, 1), range(-1, 4)):
            rows = (number < 0) | (codes == number)
            name = "all" if number < 0 else ["0-33 %", "33-67 %", "67-90 %", "90-100 %"][number]
            line = table.loc[(stage, f"head_{head}", name)]
            assert (line["p_any_low"], line["p_any_high"]) == (p_any[rows].min(), p_any[rows].max())
            known = rows & ~np.isnan(y[:, head])
            outcome, guess, weight = y[known, head], stages[stage][known, head], w[known]
            value, influence = ratio_of_sums(guess, outcome, weight)
            reason = "no positive row" if np.isnan(value) else None
            estimate = make_estimate("ratio", value, clustered_error(influence, request[known], weight), reason)
            means = [np.average(values, weights=weight) for values in (guess, outcome)]
            wanted = [estimate.value, estimate.standard_error, estimate.low, estimate.high, *means]
            found = line[["ratio", "ratio_se", "ratio_low", "ratio_high", "predicted", "observed"]].astype(float)
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
            assert (line["rows"], line["reason"] or None) == (known.sum(), reason)


def test_without_any_weight_every_line_says_why() -> None:
    """As `evaluate_predictions` says it of everything else."""
    y, p = np.array([[1.0], [0.0], [1.0]]), np.array([[0.2], [0.3], [0.4]])
    table = calibration_by_slices(y, p, p[:, 0], [1, 2, 3], [0.0, 0.0, 0.0], quantiles=(0, 0.5, 1))
    assert table["reason"].tolist() == ["no row with a label"] * 3
    assert table[["predicted", "observed", "ratio", "ratio_low"]].isna().all(axis=None)
    assert table["rows"].tolist() == [3, 1, 2]
    found = evaluate_predictions(y, p, [1, 2, 3], names=["click"], weights=np.zeros(3), p_any=p[:, 0]).metrics
    assert {(line["ratio"], line["reason"]) for line in found["calibration"]} == {(None, "no row with a label")}


def test_no_row_at_all() -> None:
    table = calibration_by_slices(np.empty((0, 1)), np.empty((0, 1)), [], [])
    assert table["reason"].tolist() == ["no row with a label"] * 5
    assert table["p_any_low"].isna().all()


def test_without_p_any_only_the_overall_line_is_left() -> None:
    world = log(500)
    table = calibration_by_slices(world["y"], world["p"], None, world["request"])
    assert table["slice"].tolist() == ["all", "all"]


@pytest.mark.parametrize("quantiles", [(0.0,), (0.1, 1.0), (0.0, 0.5), (0.0, 0.6, 0.4, 1.0)])
def test_quantiles_must_rise_from_0_to_1(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="`quantiles` must rise from 0 to 1"):
        p_any_slices([0.1, 0.2], None, quantiles)
