from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from evaluation.average_precision import average_precision
from evaluation.intervals import ap_interval, paired_ap_difference
from evaluation.slicing.slices import Slices
from evaluation.summary.evaluating import Evaluation, evaluate_predictions

NAMES = ["closeup", "click", "hide"]


def arrays(rows: int = 3_000) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(rows, 1)) + 0.3 * rng.normal(size=(rows, 3))
    p = 1 / (1 + np.exp(np.array([1.5, 2.5, 3.5]) - signal))
    y = (rng.random(p.shape) < p).astype(float)
    y[:50, 1] = np.nan
    return {
        "labels": y,
        "probabilities": p,
        "requests": np.array([f"r{number}" for number in rng.integers(0, rows // 10, rows)]),
        "weights": rng.choice([1.0, 5.0], rows),
        "p_any": 1 - np.prod(1 - p, axis=1),
        "stages": {"naive": p / 2, "corrected": 0.98 * p},
        "utility": {"closeup": 0.2, "click": 0.8},
        "comparisons": {"trees": signal + rng.normal(size=(rows, 3)), "single": signal[:, 0]},
        "logged_position": (1.01 * p).clip(0, 1),
        "rng": rng,
    }


def evaluate(**changes: Any) -> Evaluation:
    given = arrays()
    del given["rng"]
    given |= changes
    return evaluate_predictions(
        given.pop("labels"), given.pop("probabilities"), given.pop("requests"), names=NAMES, **given
    )


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(meta={"model": "network"}, notes=["A note."])


def test_metrics_are_strict_json_and_survive_it(evaluation: Evaluation) -> None:
    text = json.dumps(evaluation.metrics, allow_nan=False)
    assert json.loads(text) == evaluation.metrics


def test_heads_are_the_public_metrics(evaluation: Evaluation) -> None:
    given = arrays()
    item = evaluation.metrics["heads"]["click"]
    known = ~np.isnan(given["labels"][:, 1])
    y, p = given["labels"][known, 1], given["probabilities"][known, 1]
    value, error = ap_interval(y, p, given["requests"][known], given["weights"][known])
    assert [item["ap"]["value"], item["ap"]["se"]] == pytest.approx([value, error], rel=1e-9)
    assert item["rows"] == 2_950
    parts = item["brier_miscalibration"] - item["brier_discrimination"] + item["brier_uncertainty"]
    assert item["brier"]["value"] == pytest.approx(parts, abs=1e-12)
    assert evaluation.tables["heads"].set_index("head").loc["click", "ap_se"] == item["ap"]["se"]


def test_calibration_has_every_stage_with_the_final_one_last(evaluation: Evaluation) -> None:
    assert evaluation.metrics["stages"] == ["naive", "corrected", "calibrated"]
    ratios = {
        (record["stage"], record["head"]): record["ratio"]
        for record in evaluation.metrics["calibration"]
        if record["slice"] == "all"
    }
    for head in NAMES:
        final = evaluation.metrics["heads"][head]["ratio"]["value"]
        assert ratios["calibrated", head] == pytest.approx(final)
        assert ratios["naive", head] == pytest.approx(final / 2)


def test_the_utility_is_scored_on_every_head_and_against_what_was_realised(evaluation: Evaluation) -> None:
    given, utility = arrays(), evaluation.metrics["utility"]
    score = given["probabilities"] @ [0.2, 0.8, 0.0]
    expected = average_precision(given["labels"][:, 2], score, given["weights"])
    found = {(record["head"], record["metric"]): record["value"] for record in utility["heads"]}
    assert found["hide", "ap"] == pytest.approx(expected, abs=1e-12)
    assert utility["weights"] == {"closeup": 0.2, "click": 0.8, "hide": 0.0}
    assert utility["rows"] == 2_950  # rows without a click label have no realised engagement
    realised = given["labels"] @ [0.2, 0.8, 0.0]
    known = ~np.isnan(realised)
    assert utility["realised"]["value"] == pytest.approx(np.average(realised[known], weights=given["weights"][known]))
    share = sum(record["share"] * record["observed"] for record in utility["reliability"])
    assert share == pytest.approx(utility["realised"]["value"])
    assert utility["scale"] == "log"


def test_comparisons_are_paired_and_a_single_score_also_meets_the_utility(evaluation: Evaluation) -> None:
    given = arrays()
    trees, single = (evaluation.metrics["comparisons"][name] for name in ("trees", "single"))
    assert {record["by"] for record in trees} == {"own probability"}
    assert [record["by"] for record in single] == ["utility"] * 6 + ["own probability"] * 6
    line = next(r for r in single if (r["by"], r["head"], r["metric"]) == ("utility", "closeup", "ap"))
    score, other = given["probabilities"] @ [0.2, 0.8, 0.0], given["comparisons"]["single"]
    expected = paired_ap_difference(given["labels"][:, 0], score, other, given["requests"], given["weights"])
    assert [line["difference"], line["se"]] == pytest.approx(expected, rel=1e-9)
    assert {record["verdict"] for record in trees if record["head"] == "closeup"} == {"better"}


def test_the_sentences_agree_with_the_verdicts(evaluation: Evaluation) -> None:
    text = "\n".join(evaluation.metrics["summary"])
    assert "Calibration: predicted / observed" in text
    for by, name in [("own probability", "trees"), ("own probability", "single"), ("utility", "single")]:
        sentence = next(s for s in evaluation.metrics["summary"] if s.startswith(f"The model's {by} against {name}"))
        for record in evaluation.metrics["comparisons"][name]:
            if record["by"] == by and record["metric"] == "ap":
                part = next(part for part in sentence.split(";") if record["head"] in part)
                assert record["verdict"] in part
    assert any(sentence.startswith("Serving position against logged position") for sentence in text.splitlines())


def test_miscalibrated_heads_are_named() -> None:
    given = arrays()
    result = evaluate(probabilities=given["probabilities"] * [1.0, 1.0, 0.5])
    assert "1 outside its own 95 % interval for" in result.metrics["summary"][0]
    assert "hide 0.5" in result.metrics["summary"][0] or "hide 0.4" in result.metrics["summary"][0]


def test_optional_parts_can_be_left_out() -> None:
    result = evaluate(
        p_any=None, stages=None, utility=None, comparisons=None, logged_position=None, weights=None
    ).metrics
    assert result["stages"] == ["calibrated"]
    assert {record["slice"] for record in result["calibration"]} == {"all"}
    assert result["utility"] is result["position"] is None
    assert result["comparisons"] == {}
    assert result["weighted"] is False
    assert result["weight"] == result["rows"] == 3_000


def test_a_head_that_never_happens_and_one_without_labels_have_reasons() -> None:
    labels = arrays()["labels"]
    labels[:, 0], labels[:, 2] = 0.0, np.nan
    result = evaluate(labels=labels, utility=None).metrics
    never, unknown = result["heads"]["closeup"], result["heads"]["hide"]
    assert never["ap"] == {"value": None, "se": None, "low": None, "high": None, "reason": "no positive row"}
    assert never["base_rate"] == {
        "value": 0.0, "se": None, "low": None, "high": None, "reason": "no positive row: no interval"
    }  # fmt: skip
    assert never["log_loss"]["value"] > 0.0
    assert unknown["brier"]["reason"] == "no row with a label"
    assert unknown["ece"] is unknown["brier_uncertainty"] is None
    assert {record["head"] for record in result["reliability"]} == {"closeup", "click"}
    assert "undefined on closeup and hide" in "\n".join(result["summary"])


def test_few_positives_are_said_to_be_few() -> None:
    labels = arrays()["labels"]
    labels[:, 2] = 0.0
    labels[::500, 2] = 1.0
    assert evaluate(labels=labels).metrics["heads"]["hide"]["caution"].startswith("only 6 positive row(s)")


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"`utility` must name heads among .* got \['book'\]"):
        evaluate(utility={"book": 1.0})
    with pytest.raises(ValueError, match="`utility` must have finite weights, not all 0"):
        evaluate(utility={"click": 0.0})
    with pytest.raises(ValueError, match="`stages` must not name 'calibrated'"):
        evaluate(stages={"calibrated": arrays()["probabilities"]})
    with pytest.raises(ValueError, match=r"`comparisons trees` must have the same rows.* 3,000 and 5"):
        evaluate(comparisons={"trees": np.zeros(5)})
    with pytest.raises(ValueError, match=r"`probabilities naive` must lie within \[0, 1\]"):
        evaluate(stages={"naive": 5 + arrays()["probabilities"]})


def test_metrics_load_no_plotting_and_no_learning_library() -> None:
    code = "import sys, evaluation.summary.evaluating, evaluation.report, evaluation.intervals, evaluation.bootstrap\n"
    code += "print([name for name in ('matplotlib', 'jinja2', 'sklearn', 'scipy', 'lightgbm') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def sliced(**changes: Any) -> dict[str, Any]:
    """Everything that version 2 can hold."""
    given = arrays()
    rng, p = given["rng"], given["probabilities"]
    return {
        "slices": [
            Slices.of("platform", rng.choice(["web", "tv"], len(p)), expected=["web", "tv", "watch"]),
            Slices.of("position", rng.integers(1, 41, len(p))),
        ],
        "baseline": ("production", (1.02 * p).clip(0, 1)[:, [2, 0]]),
        "baseline_heads": ["hide", "closeup"],
        "implications": {"click": "closeup"},
        "times": np.arange(len(p)),
        "fingerprints": {"data": "9f86d0"},
        **changes,
    }


@pytest.fixture(scope="module")
def whole() -> Evaluation:
    return evaluate(meta={"model": "network"}, **sliced())


def test_the_gate_judges_the_heads_that_the_baseline_has(whole: Evaluation) -> None:
    gate = whole.metrics["gate"]
    assert [test["head"] for test in gate["tests"] if test["overall"]] == ["hide", "closeup"]
    given = arrays()
    for test in (test for test in gate["tests"] if test["overall"]):
        column = NAMES.index(test["head"])
        known = ~np.isnan(given["labels"][:, column])
        p, w = given["probabilities"][known, column], given["weights"][known]
        y = given["labels"][known, column]
        assert test["candidate"] == pytest.approx(average_precision(y, p, w), abs=1e-12)
        assert test["baseline"] == pytest.approx(average_precision(y, (1.02 * p).clip(0, 1), w), abs=1e-12)
    assert whole.metrics["verdict"] == {"word": gate["verdict"], "sentence": gate["sentence"], "gated": True}
    assert whole.metrics["baseline"] == "production"
    assert whole.tables["gate"].shape[0] == len(gate["tests"])


def test_a_worse_baseline_head_by_head_gives_a_regression_and_says_which() -> None:
    given = arrays()
    better = given["probabilities"]
    worse = better.copy()
    worse[:, 0] = better[np.random.default_rng(3).permutation(len(better)), 0]
    result = evaluate(probabilities=worse, baseline=("production", better)).metrics
    assert result["verdict"]["word"] == "regression"
    assert result["verdict"]["sentence"].startswith("Regression: closeup ")
    assert result["look_at"][0]["level"] == "bad"
    assert result["look_at"][0]["sentence"].startswith("closeup lost ")


def test_slices_hold_what_the_metrics_of_their_rows_are(whole: Evaluation) -> None:
    part = sliced()["slices"][0]
    given, rows = arrays(), part.codes == part.names.index("tv")
    y, p, w = given["labels"][rows, 0], given["probabilities"][rows, 0], given["weights"][rows]
    record = next(
        r for r in whole.metrics["slices"]
        if (r["head"], r["column"], r["slice"], r["metric"]) == ("closeup", "platform", "tv", "ap")
    )  # fmt: skip
    assert record["value"] == pytest.approx(average_precision(y, p, w), abs=1e-12)
    assert record["rows"] == rows.sum()
    empty = [r for r in whole.metrics["slices"] if r["slice"] == "watch"]
    assert {(r["rows"], r["value"], r["reason"]) for r in empty} == {(0, None, "no row")}


def test_p_values_are_adjusted_over_the_heads(whole: Evaluation) -> None:
    tests = whole.metrics["calibration_tests"]
    assert [test["head"] for test in tests] == NAMES
    raw = sorted(test["p_value"] for test in tests)
    adjusted = sorted(test["p_adjusted"] for test in tests)
    for test in tests:
        assert test["rejected"] == (test["p_adjusted"] <= 0.05)
    stepped = [min(1.0, (len(raw) - place) * p) for place, p in enumerate(raw)]
    assert adjusted == pytest.approx([max(stepped[: place + 1]) for place in range(len(raw))])


def test_threads_change_no_number(whole: Evaluation) -> None:
    for threads in (1, 3):
        again = evaluate(meta={"model": "network"}, **sliced(threads=threads))
        assert again.metrics == whole.metrics


def test_times_that_never_change_make_no_drift() -> None:
    assert evaluate(times=np.zeros(3_000)).metrics["drift"] == []
    assert [record["head"] for record in evaluate(times=np.arange(3_000)).metrics["drift"]] == NAMES


def test_a_head_that_contradicts_what_it_implies_is_counted() -> None:
    p = arrays()["probabilities"].copy()
    p[:7, 1] = 0.999
    p[7:, 1] = np.minimum(p[7:, 1], p[7:, 0])
    p[:7, 0] = 0.5
    result = evaluate(probabilities=p, implications={"click": "closeup"}).metrics
    assert result["implications"][0]["violations"] == 7
    assert {"level": "bad", "sentence": "click is predicted above closeup, which it implies, in 7 row(s)."} in result[
        "look_at"
    ]


def test_errors_of_slices_and_baselines() -> None:
    part = Slices.of("platform", ["web", "tv"])
    with pytest.raises(ValueError, match=r"`slices` of column 'platform' must have 3000 row\(s\), got 2"):
        evaluate(slices=[part])
    twice = Slices.of("platform", ["web", "tv"] * 1_500)
    with pytest.raises(ValueError, match="`slices` must be of columns that differ"):
        evaluate(slices=[twice, twice])
    p = arrays()["probabilities"]
    with pytest.raises(ValueError, match=r"`baseline old` must have shape \(3000, 2\), got \(3000, 3\)"):
        evaluate(baseline=("old", p), baseline_heads=["click", "hide"])
    with pytest.raises(ValueError, match=r"`baseline_heads` must be different ones of .* got .*'book'"):
        evaluate(baseline=("old", p[:, :1]), baseline_heads=["book"])
    with pytest.raises(ValueError, match="`baseline_heads` and `rules` need a `baseline`, got none"):
        evaluate(baseline_heads=["click"])
    with pytest.raises(ValueError, match=r"`times` must have shape \(3000,\), got \(5,\)"):
        evaluate(times=np.arange(5))
