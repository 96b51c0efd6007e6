"""Sentences, JUnit and the figure say what the table of tests says."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from evaluation.comparison.comparison_figure import comparison_figure
from evaluation.comparison.gate_words import percent, verdict_sentence, warning_sentences
from evaluation.comparison.junit import write_junit


def line(**changes: Any) -> dict[str, Any]:
    """One record of `GateResult.tests`: save's PR-AUC fell from .12 to .103."""
    return {
        "head": "save",
        "metric": "ap",
        "column": "all",
        "slice": "all",
        "overall": True,
        "rows": 1000,
        "positives": 100,
        "requests": 50,
        "candidate": 0.103,
        "baseline": 0.12,
        "change": -0.142,
        "change_low": -0.2,
        "change_high": -0.08,
        "tolerance": 0.98,
        "floor": 0.1176,
        "d": -0.0146,
        "se": 0.003,
        "df": 40.0,
        "low": -0.0206,
        "high": -0.0086,
        "p": 1e-5,
        "p_holm": 3e-4,
        "detectable": 0.01,
        "detectable_share": 0.103,
        "outcome": "regression",
        "reason": None,
    } | changes


HEADS = ["save", "click", "hide"]
SLICE = {"column": "platform", "slice": "US", "overall": False}


def test_a_regression_names_the_head_the_numbers_and_what_is_allowed() -> None:
    others = [line(**SLICE, change=-0.3), line(**SLICE, metric="log_loss", change=-0.05)]
    holds = line(head="click", outcome="holds", p=0.9)
    assert verdict_sentence("regression", [holds, *others, line()], HEADS, 50, 0.95) == (
        "Regression: save lost 14 % of its PR-AUC (0.1200 -> 0.1030; 95 % interval -20 % to -8 %), where a fall of 2 % "
        "is allowed (p = 0.0003 after allowing for 4 tests); also save in platform US (PR-AUC -30 %) and save in "
        "platform US (log loss +5 %)."
    )
    only = verdict_sentence("regression", [line(**SLICE, tolerance=1.0)], HEADS, 50, 0.9)
    assert only.startswith("Regression: save in platform US lost 14 %")
    assert "90 % interval" in only
    assert only.endswith("where no fall is allowed (p = 0.0003).")


def test_losses_rise_and_ratios_move() -> None:
    loss = line(metric="log_loss", baseline=0.1, candidate=0.116, change=-0.16, change_low=-0.2, change_high=-0.12)
    assert "save: log loss rose by 16 % (0.1000 -> 0.1160; 95 % interval +12 % to +20 %), where a rise of 2 % is" in (
        verdict_sentence("regression", [loss], HEADS, 50, 0.95)
    )
    ratio = line(metric="ratio", baseline=1.02, candidate=1.3, change=None, change_low=None, change_high=None)
    assert "save has predicted / observed 1.020 -> 1.300, where 102 % of production's |log ratio| is allowed" in (
        verdict_sentence("regression", [ratio], HEADS, 50, 0.95)
    )
    asked = line(tolerance=1.05, change=0.01)
    assert "gained 1 % of its PR-AUC" in verdict_sentence("regression", [asked], HEADS, 50, 0.95)
    assert "where a rise of 5 % is asked for" in verdict_sentence("regression", [asked], HEADS, 50, 0.95)


def test_a_pass_says_what_is_kept() -> None:
    kept = [
        line(head=head, outcome="holds", tolerance=c) for head, c in {"save": 0.9, "click": 0.98, "hide": 0.98}.items()
    ]
    assert verdict_sentence("pass", kept[1:], ["click", "hide"], 50, 0.95) == (
        "Pass: at least 98 % of production's PR-AUC is kept on every head, by the lower ends of the 95 % intervals."
    )
    assert "at least 90 % of production's PR-AUC is kept on save and at least 98 %" in verdict_sentence(
        "pass", kept, HEADS, 9, 0.95
    )
    assert "log loss is at most 102 % of production's on every head" in (
        verdict_sentence("pass", [line(metric="log_loss", outcome="holds")], ["save"], 50, 0.95)
    )


def test_heads_that_no_rule_names_are_named_and_never_counted_as_kept() -> None:
    kept = [line(head="click", outcome="holds"), line(head="save", outcome="holds")]
    sentence = verdict_sentence("pass", kept, HEADS, 50, 0.95)
    assert sentence.startswith("Pass: at least 98 % of production's PR-AUC is kept on click and save, by")
    assert warning_sentences(kept, HEADS, 0.95) == ["Not gated: hide."]
    assert warning_sentences(kept[:1], HEADS, 0.95) == ["Not gated: save and hide."]


def test_what_cannot_be_judged_is_not_said_to_have_kept_anything() -> None:
    silent = "production predicts nothing: its predicted / observed is 0"
    open_ = line(metric="ratio", outcome="undecided", reason=silent, baseline=0.0, change=None, d=None, se=None, p=None)
    assert verdict_sentence("inconclusive", [open_], ["save"], 50, 0.95) == (
        f"Inconclusive: no head can be judged: save (predicted / observed): {silent}."
    )
    holds = line(head="click", outcome="holds")
    assert verdict_sentence("inconclusive", [holds, open_], ["save", "click"], 50, 0.95).startswith(
        "Inconclusive: all that can be judged holds, but some heads cannot be judged: save (pre"
    )


def test_inconclusive_says_what_would_decide() -> None:
    """d = .01 with a half-width of .02: (2)^2 = 4 times the requests bring the lower bound to 0."""
    open_ = line(outcome="undecided", d=0.01, se=0.01, low=-0.01, high=0.03, change=0.06, p=0.8)
    sentence = verdict_sentence("inconclusive", [open_, line(head="click", outcome="holds")], HEADS, 1234, 0.95)
    assert "with 1,234 requests only a fall of 10 % or more would be found in 4 of 5 cases" in sentence
    assert sentence.endswith("about 4.0 times as many requests would decide.")
    even = verdict_sentence("inconclusive", [open_ | {"d": 1e-9, "low": -0.02}], HEADS, 10, 0.95)
    assert "hardly any number of requests" in even
    blind = verdict_sentence("inconclusive", [open_ | {"detectable_share": 1.7}], HEADS, 10, 0.95)
    assert "only a loss of nearly all of it would be found" in blind


def test_warnings() -> None:
    tests = [
        line(outcome="warning", p=0.001, p_holm=0.04, **SLICE),
        line(head="hide", outcome="undecided", reason="too few positives: 7 of at least 20", p=None),
        *(
            line(outcome="not tested", reason="no row", p=None, column="x", slice=str(i), overall=False)
            for i in range(5)
        ),
    ]
    found = warning_sentences(tests, ["save", "hide"], 0.95)
    assert len(found) == 3
    assert "likely by itself (p = 0.001), not after allowing for 1 tests (p = 0.04)" in found[0]
    assert found[1] == "hide is not judged on PR-AUC: too few positives: 7 of at least 20."
    assert found[2] == (
        "Not tested: 5 of 7 lines, for want of rows, positives or negatives "
        "(save in x 0, save in x 1, save in x 2, ...)."
    )


@pytest.mark.parametrize(("share", "text"), [(0.0999, "10 %"), (0.0123, "1.2 %"), (1e-15, "0 %"), (2.0, "200 %")])
def test_percentages_are_short(share: float, text: str) -> None:
    assert percent(share) == text


def test_junit_has_a_case_per_test_whatever_the_names_hold(tmp_path: Path) -> None:
    odd = 'a<b>&"\x07\ud800\u00e9\n'
    tests = [
        line(),
        line(outcome="warning", column="platform", slice=odd, overall=False),
        line(outcome="undecided"),
        line(outcome="not tested", reason="no row", d=None, low=None, high=None, p=None, p_holm=None, candidate=None),
        line(outcome="holds", head="click"),
    ]
    path = write_junit(tmp_path / "gate.xml", {"sentence": f"Regression: {odd}", "warnings": ["w"], "tests": tests})
    suite = ElementTree.parse(path).getroot()[0]
    assert suite.attrib == {
        "name": "galleryrank.gate",
        "tests": "5",
        "failures": "1",
        "errors": "0",
        "skipped": "2",
    }
    cases = suite.findall("testcase")
    assert [case.get("classname") for case in cases][:2] == ["galleryrank.gate.all", "galleryrank.gate.platform"]
    assert cases[1].get("name") == 'save ap a<b>&"\\x07\\ud800\u00e9\n'
    failure = cases[0].find("failure")
    assert failure is not None
    assert "candidate 0.1030, baseline 0.1200, floor 0.1176, d -0.01460 [-0.02060, -0.008600]" in failure.get(
        "message", ""
    )
    assert [skipped.get("message") for case in cases[2:4] for skipped in case.findall("skipped")][1] == "no row"
    assert len(suite.findall("testcase/failure")) == 1
    said = suite.findtext("system-out") or ""
    assert said.startswith('Regression: a<b>&"\\x07')
    assert list(tmp_path.iterdir()) == [path]


def test_the_figure_draws_every_line_that_has_a_change() -> None:
    tests = [
        line(),
        line(outcome="warning", **SLICE),
        line(metric="ratio", change=None, change_low=None, change_high=None),
        line(
            outcome="not tested",
            column="platform",
            slice="$DE$ & <co>",
            overall=False,
            change_low=None,
            change_high=None,
        ),
        line(metric="log_loss", head="click", outcome="holds", change=0.02, change_low=0.01, change_high=0.03),
    ]
    svg = comparison_figure(tests, name="forest")
    assert svg is not None
    root = ElementTree.fromstring(svg)
    label = root.get("aria-label") or ""
    assert "for save, click; 3 lines. The lowest is save, PR-AUC: -14 %." in label
    texts = {text.strip() for text in root.itertext() if text.strip()}
    assert {"save", "platform: US", "click", "PR-AUC", "log loss", "regression", "warning", "holds"} <= texts
    assert "undecided" not in texts
    assert comparison_figure(tests[2:4]) is None
