"""metrics.json keeps to its JSON Schema, and the schema refuses what it should."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from evaluation.slicing.slices import Slices
from evaluation.summary.evaluating import VERSION, evaluate_predictions
from evaluation.summary.metrics_schema import metrics_schema

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the test extra")


def faults(metrics: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(metrics_schema())
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(metrics)]


def evaluated(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    p = rng.beta(1.0, 6.0, size=(600, 2))
    given: dict[str, Any] = {
        "labels": (rng.random(p.shape) < p).astype(float), "probabilities": p, "requests": rng.integers(0, 60, 600),
        "names": ["click", "save"],
    }  # fmt: skip
    given |= changes
    found = evaluate_predictions(given.pop("labels"), given.pop("probabilities"), given.pop("requests"), **given)
    return json.loads(json.dumps(found.metrics, allow_nan=False))


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    p = rng.beta(1.0, 6.0, size=(600, 2))
    return evaluated(
        probabilities=p, labels=(rng.random(p.shape) < p).astype(float), p_any=p.max(axis=1), stages={"naive": p / 2},
        utility={"click": 1.0}, comparisons={"trees": p, "single": p[:, 0]}, logged_position=p,
        slices=[Slices.of("platform", rng.choice(["web", "tv"], 600), expected=["web", "tv", "watch"])],
        baseline=("production", p**1.1), implications={"save": "click"}, times=np.arange(600),
        weights=rng.choice([1.0, 4.0], 600), fingerprints={"data": "ab12"}, meta={"seed": 3, "model": "network"},
        counterfactual={"table": [], "support": {}, "clip": 0.01, "notes": ["A note."]},
    )  # fmt: skip


def test_the_schema_is_one_and_of_this_version() -> None:
    jsonschema.Draft202012Validator.check_schema(metrics_schema())
    assert metrics_schema()["properties"]["version"]["const"] == VERSION


def test_real_metrics_keep_to_it(whole: dict[str, Any]) -> None:
    assert faults(whole) == []
    optional = ("slices", "worst_segments", "drift", "implications", "comparisons", "utility", "position", "gate")
    assert all(whole[key] for key in (*optional, "request_metrics", "calibration_tests", "calibration_curves"))


def test_metrics_without_the_optional_parts_keep_to_it() -> None:
    assert faults(evaluated()) == []


def test_metrics_of_heads_without_labels_or_positives_keep_to_it() -> None:
    labels = np.zeros((600, 2))
    labels[:, 1] = np.nan
    parts = [Slices.of("platform", ["web", "tv", None] * 200)]
    found = evaluated(labels=labels, slices=parts, baseline=("old", np.full((600, 2), 0.1)), times=np.arange(600))
    assert faults(found) == []
    assert found["heads"]["click"]["ap"]["value"] is None
    assert found["heads"]["click"]["ap"]["reason"] == "no positive row"


def test_every_part_is_described(whole: dict[str, Any]) -> None:
    """A key that the schema does not know, or one that is missing, is a fault wherever it stands."""
    for place in ([], ["heads", "click"], ["gate"], ["slices", 0], ["worst_segments", 0], ["drift", 0], ["utility"]):
        changed = copy.deepcopy(whole)
        part = changed
        for key in place:
            part = part[key]
        part["something new"] = 1
        assert faults(changed), place
        del part["something new"]
        del part[next(iter(part))]
        assert faults(changed), place


def test_numbers_are_numbers(whole: dict[str, Any]) -> None:
    changed = copy.deepcopy(whole)
    changed["heads"]["click"]["auc"]["value"] = "0.7"
    assert faults(changed) == ["$.heads.click.auc.value: '0.7' is not of type 'number', 'null'"]
