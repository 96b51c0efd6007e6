"""The report of a study: every number is one of metrics.json, and the page says what the evidence deserves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.checks import FloatArray
from evaluation.formatting import format_number
from evaluation.report import Figure
from optimization.guardrails import Guardrails
from optimization.report.tuning_metrics import tuning_metrics, tuning_slices
from optimization.report.tuning_report import render_tuning_report, tuning_figures, write_tuning_report
from optimization.report.verdict_figure import draw_verdict
from optimization.score_table import ScoreTable
from optimization.tune import tune
from optimization.tuning import Tuning
from ranking import Utility

HEADS = ("click", "<save>", "hide")
SIGNS = dict(zip(HEADS, (1, 1, -1)))
BASELINE = {"click": 0.5, "<save>": 0.375, "hide": -0.125}


def score_table(seed: int, name: str, rows: int = 2_000) -> ScoreTable:
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=(rows, 3)) - [1.5, 2.5, 2.5]
    labels = (rng.random((rows, 3)) < 1 / (1 + np.exp(-logit))).astype(float)
    p = 1 / (1 + np.exp(-(logit + rng.normal(size=(rows, 3)))))
    return ScoreTable.of(p, labels, np.arange(rows) // 10, HEADS, SIGNS.values(), name=name)


def cheap(space: Any, observations: Any, *, count: int = 1, seed: int, **_: Any) -> FloatArray:
    """In the place of Ax, which takes half a second for each."""
    return space.random(count, seed)


def study(table: ScoreTable, objective: Any = "<save>", trials: int = 5, **floors: float) -> Tuning:
    rails = Guardrails(BASELINE, SIGNS, floors=floors, bounds={"hide": (0.05, 0.5)}, margin=1.0)
    return tune(table, rails, objective, sweep=24, trials=trials, seed=0, propose=cheap)


@pytest.fixture(scope="module")
def tables() -> tuple[ScoreTable, ScoreTable]:
    return score_table(0, "tune rows of a log"), score_table(1, "test rows of a log")


@pytest.fixture(scope="module")
def tuning(tables: tuple[ScoreTable, ScoreTable]) -> Tuning:
    return study(tables[0], click=0.8)


@pytest.fixture(scope="module")
def metrics(tuning: Tuning, tables: tuple[ScoreTable, ScoreTable]) -> dict[str, Any]:
    found = tuning_metrics(
        tuning,
        *tables,
        more={"last year's": Utility(click=1.0, hide=-1.0)},
        slices=tuning_slices(tuning, points=9),
        meta={"model": "runs/<demo>", "seed": 7},
        notes=["A note of its own."],
    )
    return json.loads(json.dumps(found, allow_nan=False))


@pytest.fixture(scope="module")
def figures(metrics: dict[str, Any]) -> list[Figure]:
    return tuning_figures(metrics)


@pytest.fixture(scope="module")
def page(metrics: dict[str, Any], figures: list[Figure]) -> str:
    return render_tuning_report(metrics, figures, title="Weights of the demo")


def numbers(value: Any) -> Iterator[float | int]:
    """Every number in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_the_layout_is_complete(metrics: dict[str, Any], tuning: Tuning) -> None:
    """Every section that the head of `tuning_report` describes, and no other."""
    import optimization.report.tuning_report as module

    described = re.findall(r"^    ([a-z]+)  +\S", module.__doc__ or "", flags=re.MULTILINE)
    assert list(metrics) == described
    assert list(metrics["weights"])[:3] == ["tuned", "hand-picked", "equal"]
    assert list(metrics["weights"])[-1] == "last year's"
    for weights in metrics["weights"].values():
        assert sum(abs(weight) for weight in weights.values()) == pytest.approx(1.0)
    assert metrics["weights"]["tuned"] == pytest.approx(dict(tuning.best.weights))
    assert metrics["trials"][metrics["best"]]["objective"] == tuning.best.objective
    assert {record["candidate"] for record in metrics["verdict"]["values"]} == set(metrics["weights"])


def test_the_page_holds_every_number_that_decides(metrics: dict[str, Any], page: str) -> None:
    shown = [metrics["meta"], metrics["diff"], metrics["order"], metrics["guardrails"]["rules"], metrics["timing"]]
    for number in numbers(shown):
        assert format_number(number) in page or format_number(number, signed=True) in page
    for record in metrics["verdict"]["values"]:
        if record["combined"] and len(metrics["objective"]) == 1:
            continue  # the same as its head's
        for key in ("value", "low", "high", "se"):
            assert format_number(record[key]) in page
        if record["candidate"] != "hand-picked":
            for key in ("difference", "difference_low", "difference_high"):
                assert format_number(record[key], signed=True) in page
    for record in metrics["sensitivity"]["effects"]:
        for key in ("difference", "low", "high"):
            assert format_number(record[key], signed=True) in page
    for number in numbers(metrics["sensitivity"]["contributions"]):
        assert format_number(number) in page
    for trial in metrics["trials"]:
        for number in numbers([trial["weights"], trial["values"], trial["objective"]]):
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
    assert len(found) > 400
    assert set(found) - known == set()


def test_the_summary_begins_with_the_verdict(metrics: dict[str, Any], page: str) -> None:
    first = metrics["summary"][0]
    assert first.startswith("On 200 requests (test rows of a log), the tuned weights are ")
    assert unescape(page).index(first) < page.index("<h2>Weights")
    assert any(sentence.startswith("Tuned weights: ") for sentence in metrics["summary"])
    assert any("Ax" in sentence and "sweep" in sentence for sentence in metrics["summary"])


def test_weights_can_be_copied(metrics: dict[str, Any], page: str) -> None:
    import tomllib

    block = re.search(r"To copy: tuned</h3>\s*<pre>(.*?)</pre>", page, flags=re.DOTALL)
    assert tomllib.loads(unescape(block[1])) == {"utility": metrics["weights"]["tuned"]}


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    for fetched in ("<script", "<link", "<img", "<iframe", "@import", "src="):
        assert fetched not in page
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert re.findall(r"url\((?!#)", without_names) == []


def test_what_users_name_is_escaped(page: str) -> None:
    assert "runs/&lt;demo&gt;" in page
    assert "<demo>" not in page
    assert "<save>" not in page
    assert "last year&#39;s" in page


def test_every_heading_is_followed_by_a_sentence(page: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert re.findall(r"<h2>(.*?)</h2>\s*<p>", page) == headings
    assert len(headings) == 7


def test_figures_carry_their_heads_and_searches(figures: list[Figure]) -> None:
    drawn = {figure.section: unescape(figure.svg) for figure in figures}
    assert list(drawn) == ["verdict", "pareto", "convergence", "slices"]
    for head in HEADS:
        assert head in drawn["verdict"]
        assert head in drawn["slices"]
    assert "PR-AUC of click" in drawn["pareto"]
    for search in ("Ax", "Sobol sweep", "Nelder-Mead", "random search", "baseline"):
        assert search in drawn["convergence"]
    assert "PR-AUC of <save>" in drawn["slices"]
    assert "acquisition" in drawn["slices"]


def test_the_slices_observe_what_ax_was_told(metrics: dict[str, Any], tuning: Tuning) -> None:
    slices = metrics["slices"]
    assert len(slices["observations"]) == len(tuning.observations) * 3
    assert [record["value"] for record in slices["observations"][:3]] == [tuning.baseline.objective] * 3
    assert {record["value"] for record in slices["observations"]} <= {trial.objective for trial in tuning.trials}
    assert len(slices["records"]) == 3 * 9
    assert all(record["sd"] >= 0.0 for record in slices["records"])


def test_the_same_metrics_give_the_same_bytes(metrics: dict[str, Any], page: str) -> None:
    assert render_tuning_report(metrics, title="Weights of the demo") == page


def test_an_infeasible_study_is_reported_with_its_reason(tables: tuple[ScoreTable, ScoreTable], tmp_path: Path) -> None:
    tuning = study(tables[0], {"click": 1.0, "<save>": 2.0}, click=1.9)
    metrics = json.loads(json.dumps(tuning_metrics(tuning, *tables), allow_nan=False))
    assert metrics["best"] is None
    assert "tuned" not in metrics["weights"]
    assert (metrics["diff"], metrics["order"], metrics["slices"]) == ([], None, None)
    assert metrics["infeasible"] == tuning.infeasible_reason
    assert metrics["summary"][:2] == list(tuning.infeasible_sentences)  # a point of the list each
    text = write_tuning_report(tmp_path / "report.html", metrics).read_text(encoding="utf-8")
    assert unescape(text).count(metrics["infeasible"]) == 1
    assert [unescape(text).count(sentence) for sentence in tuning.infeasible_sentences] == [2, 2]
    assert "To copy: tuned" not in text
    assert "None of them meets every guardrail" in text
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert re.findall(r'<svg[^>]*aria-label="(\w+)', text) == ["Differences", "objective"]  # no search to draw


def test_without_held_out_rows_there_is_no_verdict(tables: tuple[ScoreTable, ScoreTable]) -> None:
    tuning = study(tables[0], trials=0, click=0.8)
    metrics = tuning_metrics(tuning, tables[0])
    assert metrics["verdict"] is None
    assert metrics["sensitivity"]["rows"] == "tune rows of a log"
    page = render_tuning_report(metrics, [])
    assert "Not judged: there were no held-out rows" in page
    assert "held-out: tuned" not in page


def test_own_figures_are_shown_at_their_place(metrics: dict[str, Any]) -> None:
    page = render_tuning_report(metrics, [Figure("slices", "Another", "How to read it.", "<svg id='mine'></svg>")])
    assert page.count("<svg") == 1
    assert page.index("What else was possible") < page.index("<svg id='mine'></svg>") < page.index("All trials")


def test_metrics_of_another_report_are_refused(metrics: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be those of a tuning study, got report 'probe'"):
        render_tuning_report({**metrics, "report": "probe"})


def test_a_ceiling_is_called_one(tables: tuple[ScoreTable, ScoreTable]) -> None:
    tuning = study(tables[0], trials=0, click=0.8, hide=1.05)
    metrics = json.loads(json.dumps(tuning_metrics(tuning, *tables), allow_nan=False))
    rules = {rule["head"]: rule for rule in metrics["guardrails"]["rules"]}
    assert [rules[head]["sign"] for head in HEADS] == [1, 1, -1]
    assert rules["hide"]["required"] == pytest.approx(1.05 * rules["hide"]["baseline"])
    room = rules["hide"]["required"] - rules["hide"]["value"]
    assert 0.0 <= rules["hide"]["slack"] <= room
    page = render_tuning_report(metrics)
    assert "an unwanted head (hide) has a ceiling instead" in page.replace("An", "an")
    assert page.count("at most 1.050") == 1
    assert page.count(f"at most {format_number(rules['hide']['required'])}") == 1
    assert f"at most {format_number(rules['click']['required'])}" not in page
    assert page.count("(right of it for hide)") == 2
    without = render_tuning_report(
        json.loads(json.dumps(tuning_metrics(study(tables[0], trials=0, click=0.8), *tables)))
    )
    assert "at most" not in re.sub(r"<svg.*?</svg>", "", without, flags=re.DOTALL)
    assert "right of it" not in without


def test_the_broken_side_of_a_ceiling_is_the_right_one() -> None:
    """Drawn from the table: shaded to the left of a floor, to the right of a ceiling."""
    numbers = {"value": 0.5, "difference": 0.0, "difference_low": -0.1, "difference_high": 0.1, "verdict": None}
    values = pd.DataFrame(
        [{"candidate": c, "head": h} | numbers for c in ("hand-picked", "tuned") for h in ("click", "hide")]
    )
    rails = pd.DataFrame(
        [{"head": "click", "required": 0.45, "sign": 1}, {"head": "hide", "required": 0.55, "sign": -1}]
    )
    canvas = draw_verdict(values, rails, reference="hand-picked", close=["tuned"])
    for axes, (line, side) in zip(canvas.axes, ((-0.05, -1), (0.05, 1)), strict=True):
        (shade,) = axes.patches
        edges = [shade.get_x(), shade.get_x() + shade.get_width()]
        assert min(edges, key=lambda edge: abs(edge - line)) == pytest.approx(line)
        assert (np.mean(edges) - line) * side > 0
