from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.formatting import format_number
from evaluation.report import Figure, evaluation_figures, render_report, write_report
from evaluation.summary import evaluate_predictions

NAMES = ["closeup", "click"]


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(1_500, 1)) + 0.3 * rng.normal(size=(1_500, 2))
    p = 1 / (1 + np.exp(np.array([1.0, 2.5]) - signal))
    labels = (rng.random(p.shape) < p).astype(float)
    found = evaluate_predictions(
        labels,
        p,
        rng.integers(0, 150, 1_500),
        names=NAMES,
        weights=rng.choice([1.0, 5.0], 1_500),
        p_any=1 - np.prod(1 - p, axis=1),
        stages={"naive": 0.6 * p},
        utility={"closeup": 0.3, "click": 0.7},
        comparisons={"trees & <more>": signal + rng.normal(size=p.shape), "single": signal[:, 0]},
        logged_position=(1.1 * p).clip(0, 1),
        meta={"model": "runs/<demo>", "negative rate": 0.1, "seed": 7},
        notes=["A note of its own."],
    )
    return json.loads(json.dumps(found.metrics, allow_nan=False))


@pytest.fixture(scope="module")
def page(metrics: dict[str, Any]) -> str:
    return render_report(metrics, title="Evaluation of the demo")


def numbers(value: Any, skip: tuple[str, ...] = ()) -> Iterator[float | int]:
    """Every number in a JSON value."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in skip:
                yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item, skip)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_the_page_holds_every_number_of_the_metrics(metrics: dict[str, Any], page: str) -> None:
    shown = {key: metrics[key] for key in ("meta", "rows", "requests", "weight", "heads")}
    for number in numbers(shown):
        assert format_number(number) in page
    for record in metrics["calibration"]:
        for number in numbers(record, ("predicted", "p_any_low", "p_any_high")):
            assert format_number(number) in page
    for number in numbers(metrics["reliability"], ("bin", "weight")):
        assert format_number(number) in page
    for records in [*metrics["comparisons"].values(), metrics["position"]]:
        for record in records:
            for key in ("difference", "low", "high"):
                assert format_number(record[key], signed=True) in page
            for key in ("ours", "theirs", "se"):
                assert format_number(record[key]) in page
    for number in numbers({key: metrics["utility"][key] for key in ("weights", "rows", "predicted", "heads")}):
        assert format_number(number) in page


def test_the_page_holds_no_other_number(metrics: dict[str, Any], page: str) -> None:
    known = {format_number(number, signed=signed) for number in numbers(metrics) for signed in (False, True)}
    cells = re.findall(r"<(?:td|dd)[^>]*>(.*?)</(?:td|dd)>", page, flags=re.DOTALL)
    found = [
        word
        for cell in cells
        for word in re.split(r"[\[\]\s]|, |<[^>]*>|to", unescape(cell))
        if re.fullmatch(r"[-+]?[0-9][0-9.,]*(e[-+][0-9]+)?", word)
    ]
    slices = {"0-33", "33-67", "67-90", "90-100"}
    assert len(found) > 300
    assert set(found) - known - slices == set()


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    for fetched in ("<script", "<link", "<img", "<iframe", "@import", "src="):
        assert fetched not in page
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert re.findall(r"url\((?!#)", without_names) == []


def test_what_users_name_is_escaped(page: str) -> None:
    assert "runs/&lt;demo&gt;" in page
    assert "trees &amp; &lt;more&gt;" in page
    assert "<demo>" not in page
    assert "<more>" not in page


def test_every_heading_is_followed_by_a_sentence(page: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>\s*<p>", page)
    assert headings == re.findall(r"<h2>(.*?)</h2>", page)
    wanted = ["Heads", "Calibration", "Reliability", "Utility", "Comparisons", "Cost of the serving position", "Notes"]
    assert headings == wanted


def test_ids_are_unique_among_references_of_the_figures(page: str) -> None:
    prefixes = {identifier.split("-")[0] for identifier in re.findall(r'\bid="([^"]+)"', page)}
    assert prefixes == {"calibration", "reliability", "utility"}
    defined = set(re.findall(r'\bid="([^"]+)"', page))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert {a or b for a, b in used} <= defined


def test_figures_carry_the_numbers_as_text(metrics: dict[str, Any]) -> None:
    figures = {figure.section: figure.svg for figure in evaluation_figures(metrics)}
    assert set(figures) == {"calibration", "reliability", "utility"}
    for head in NAMES:
        assert f"Brier {format_number(metrics['heads'][head]['brier']['value'])}" in figures["reliability"]
        assert head in figures["calibration"]
    for stage in metrics["stages"]:
        assert stage in figures["calibration"]
        assert stage in figures["reliability"]


def test_the_same_metrics_give_the_same_bytes(metrics: dict[str, Any], page: str) -> None:
    assert render_report(metrics, title="Evaluation of the demo") == page


def test_reasons_replace_what_is_undefined_and_pictures_do_not_fail(tmp_path: Path) -> None:
    labels = np.array([[0.0, np.nan], [0.0, np.nan], [0.0, np.nan]])
    p = np.array([[0.0, 0.2], [0.5, 0.2], [1.0, 0.2]])
    result = evaluate_predictions(labels, p, [1, 2, 3], names=NAMES, p_any=[0.1, 0.5, 0.9])
    text = write_report(tmp_path / "report.html", result.metrics).read_text(encoding="utf-8")
    assert "closeup, PR-AUC: no positive row." in text
    assert "click, Brier: no row with a label." in text
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_utility_with_negative_weights_is_drawn_on_linear_axes() -> None:
    rng = np.random.default_rng(1)
    p = rng.random((300, 2))
    labels = (rng.random((300, 2)) < p).astype(float)
    result = evaluate_predictions(
        labels, p, np.arange(300) // 5, names=["click", "hide"], utility={"click": 1.0, "hide": -1.0}
    )
    assert result.metrics["utility"]["scale"] == "linear"
    assert "realised weighted engagement" in evaluation_figures(result.metrics)[-1].svg


def test_own_figures_are_shown_at_their_place(metrics: dict[str, Any]) -> None:
    figure = Figure("more", "Another picture", "How to read it.", "<svg id='mine'></svg>")
    page = render_report(metrics, [figure])
    assert "<svg id='mine'></svg>" in page
    assert page.count("<svg") == 1
    assert page.index("Another picture") > page.index("Cost of the serving position")
