"""The top line and what to look at, from metrics made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation import Slices, evaluate_predictions
from evaluation.measured.scored_log import FLATTERED
from evaluation.report.look_at import look_at
from evaluation.report.top_line import WORDS, top_line


def estimate(value: float | None, low: float | None, high: float | None, reason: str | None = None) -> dict[str, Any]:
    return {"value": value, "se": None, "low": low, "high": high, "reason": reason}


def head(**changes: Any) -> dict[str, Any]:
    return {
        "ap": estimate(0.2, 0.15, 0.25),
        "auc": estimate(0.7, 0.65, 0.75),
        "normalised_entropy": estimate(0.9, 0.8, 0.95),
        "ratio": estimate(1.0, 0.9, 1.1),
        "caution": None,
        **changes,
    }


def made(heads: dict[str, dict[str, Any]], **changes: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        key: [] for key in ("calibration_tests", "worst_segments", "drift", "implications", "slices", "notes")
    }
    return {"heads": heads, "gate": None, "position": None, **empty, **changes}


def checked(name: str, p: float | None, predicted: float = 0.2, observed: float = 0.1) -> dict[str, Any]:
    return {"head": name, "p_adjusted": p, "low": 0.05, "high": 0.5, "predicted": predicted, "observed": observed}


def segment(ratio: float | None, flagged: bool = True) -> dict[str, Any]:
    return {
        "head": "click", "column": "platform", "slice": "tv", "rows": 1_200, "ratio": ratio, "low": None, "high": None,
        "flagged": flagged,
    }  # fmt: skip


def test_a_sound_model_is_called_sound() -> None:
    found = top_line(made({"click": head(), "save": head()}))
    assert found == {
        "word": "sound",
        "sentence": "Sound: all 2 heads are ranked better than by chance, and no mean prediction is shown to be off by "
        "more than 5 %.",
        "gated": False,
    }
    assert look_at(made({"click": head()})) == []


def test_too_little_data_is_not_called_sound() -> None:
    unsure = head(auc=estimate(0.6, 0.45, 0.75))
    without = head(auc=estimate(None, None, None, "no positive row"), ap=estimate(None, None, None, "no positive row"))
    found = top_line(made({"click": head(), "save": unsure, "book": without}))
    assert found["word"] == "undetermined"
    assert "save and book can be ranked better than by chance; nothing else" in found["sentence"]
    assert look_at(made({"book": without}))[0]["sentence"] == "book cannot be judged: no positive row."


def test_a_mean_that_is_shown_to_be_far_off_needs_attention() -> None:
    off = head(ratio=estimate(1.5, 1.3, 1.7))
    assert top_line(made({"click": off}, calibration_tests=[checked("click", 0.2)]))["word"] == "sound"
    near = head(ratio=estimate(1.04, 1.03, 1.05))
    assert top_line(made({"click": near}, calibration_tests=[checked("click", 0.001)]))["word"] == "sound"
    found = top_line(made({"click": off}, calibration_tests=[checked("click", 0.001)]))
    assert found["word"] == "attention"
    numbers = "(predicted / observed 1.500 [1.300, 1.700])"
    assert f"click is predicted 50 % too high on average {numbers}" in found["sentence"]


def test_a_slice_that_is_off_needs_attention_and_the_furthest_is_named() -> None:
    found = top_line(made({"click": head()}, worst_segments=[segment(0.5), segment(2.0), segment(9.0, flagged=False)]))
    assert found["sentence"] == (
        "Look closer: click is predicted 50 % too low in platform tv, the surest of 2 slices that are off."
    )


def test_slices_of_a_position_that_the_model_does_not_see_are_off_by_design() -> None:
    records = [{**segment(0.5), "column": "position", "slice": "1 to 5"}]
    seen = made({"click": head()}, worst_segments=records)
    assert top_line(seen)["word"] == "attention"
    served = made({"click": head()}, worst_segments=records, position=[])
    assert top_line(served)["word"] == "sound"
    assert [item["level"] for item in look_at(served)] == ["note"]
    assert look_at(served)[0]["sentence"].startswith("By position predictions are off by design")


def test_probabilities_worse_than_the_base_rate_need_attention() -> None:
    found = top_line(made({"click": head(normalised_entropy=estimate(1.4, 1.2, 1.6))}))
    assert found["word"] == "attention"
    assert "the probabilities of click are worse than the base rate alone" in found["sentence"]


def test_with_a_baseline_the_gate_has_the_word() -> None:
    gate = {"verdict": "pass", "sentence": "Pass: all is well.", "tests": [], "warnings": ["A warning."]}
    off = made({"click": head(normalised_entropy=estimate(1.4, 1.2, 1.6))}, gate=gate)
    assert top_line(off) == {"word": "pass", "sentence": "Pass: all is well.", "gated": True}
    assert look_at(off) == [{"level": "note", "sentence": "A warning."}]


def gated(*tests: dict[str, Any], warnings: list[str] | None = None) -> dict[str, Any]:
    """A gate over tests, of which only what is told of them is given."""
    usual = {"head": "click", "overall": True, "outcome": "regression", "p_holm": 0.0061, "reason": None}
    ends = {"change": None, "change_low": None, "change_high": None}
    return {
        "verdict": "regression", "sentence": "Regression: so it is.", "warnings": warnings or [],
        "rules": {"level": 0.95}, "tests": [{**usual, **ends, **test} for test in tests],
    }  # fmt: skip


def test_a_regression_is_told_in_the_direction_of_its_metric() -> None:
    tests = [
        {"metric": "log_loss", "baseline": 0.2037, "candidate": 0.2187, "change": -0.0736},
        {"metric": "ap", "baseline": 0.2, "candidate": 0.15, "change": -0.25},
        {"metric": "ratio", "baseline": 1.02, "candidate": 1.3},
        {"metric": "ap", "baseline": 0.2, "candidate": 0.1, "change": -0.5, "overall": False, "column": "device",
         "slice": "tv"},
    ]  # fmt: skip
    found = look_at(made({"click": head()}, gate=gated(*tests)))
    assert {item["level"] for item in found} == {"bad"}
    loss, precision, ratio, part = (item["sentence"] for item in found)
    assert loss == "click: log loss rose by 7.4 % (0.2037 -> 0.2187); p = 0.0061 after correction."
    assert precision == "click lost 25 % of its PR-AUC (0.2000 -> 0.1500); p = 0.0061 after correction."
    assert ratio == "click has predicted / observed 1.020 -> 1.300; p = 0.0061 after correction."
    assert part.startswith("click in device tv lost 50 % of its PR-AUC")
    assert "fell" not in " ".join((loss, precision, ratio, part))


def test_what_does_not_survive_the_correction_is_a_note_and_what_cannot_be_judged_is_said_once() -> None:
    missing = estimate(None, None, None, "no positive row")
    warnings = ["save is not judged on PR-AUC: no positive row.", "click in device tv: likely by itself (p = 0.01)."]
    gate = gated(
        {"head": "save", "metric": "ap", "outcome": "undecided", "reason": "no positive row"}, warnings=warnings
    )
    found = look_at(made({"click": head(), "save": head(ap=missing), "book": head(ap=missing)}, gate=gate))
    assert [(item["level"], item["sentence"]) for item in found] == [
        ("warn", "save is not judged on PR-AUC: no positive row."),
        ("warn", "book cannot be judged: no positive row."),
        ("note", "click in device tv: likely by itself (p = 0.01)."),
    ]


def test_the_worst_comes_first() -> None:
    implied = {"head": "long_click", "parent": "click", "violations": 3}
    metrics = made(
        {"click": head(caution="only 7 positive row(s): the intervals are rough")},
        implications=[implied],
        calibration_tests=[checked("click", 0.01, predicted=0.1, observed=0.3)],
        worst_segments=[segment(None)],
        slices=[{"column": "platform", "slice": "watch", "rows": 0}],
    )
    found = look_at(metrics)
    assert [item["level"] for item in found] == ["bad", "warn", "note", "note"]
    text = " ".join(item["sentence"] for item in found)
    assert "click is predicted too little between 0.05000 and 0.5000: 0.1000 on average where 0.3000" in text
    assert "was observed (p = 0.01 after correction); by slice too high in platform tv (nothing was observed" in text
    assert "Slices without a row: platform watch." in text


def test_of_many_slices_that_are_off_the_first_five_are_listed() -> None:
    found = look_at(made({"click": head()}, worst_segments=[segment(0.5)] * 8))
    assert [item["sentence"].count("50 % too low in platform tv") for item in found] == [5, 0]  # one line per head
    assert found[0]["sentence"].startswith("click is predicted 50 % too low in platform tv (predicted / observed 0.5")
    assert found[-1] == {"level": "note", "sentence": "3 more slices are off, see Calibration."}
    six = look_at(made({"click": head()}, worst_segments=[segment(0.5)] * 6))
    assert six[-1]["sentence"] == "1 more slice is off, see Calibration."


def test_every_word_has_a_name() -> None:
    assert set(WORDS) == {"pass", "regression", "inconclusive", "sound", "attention", "undetermined"}


def test_a_head_that_predicts_nothing_is_said_once() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((4000, 2)) < 0.1).astype(float)
    p = np.column_stack([np.full(4000, 0.1), np.zeros(4000)])
    part = Slices.of("platform", rng.choice(["web", "app"], 4000))
    metrics = evaluate_predictions(y, p, np.arange(4000) // 10, names=["click", "save"], slices=[part]).metrics
    said = [item["sentence"] for item in metrics["look_at"] if "save" in item["sentence"]]
    assert said == ["save predicts nothing: 0 on every row, where it did happen."]
    assert "save predicts nothing" in metrics["verdict"]["sentence"]


def test_calibrate_rows_are_said_to_flatter() -> None:
    y, p = [[1.0], [0.0]] * 30, [[0.6], [0.4]] * 30
    metrics = evaluate_predictions(y, p, np.arange(60) // 2, names=["click"], notes=[FLATTERED]).metrics
    assert metrics["look_at"][0] == {"level": "warn", "sentence": FLATTERED}
