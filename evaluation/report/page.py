"""report.html: one self-contained page from metrics.json, readable offline by someone who was not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.html_page import render_html
from evaluation.metrics_json import write_whole
from evaluation.report.figures import Figure, evaluation_figures, themed
from evaluation.report.numbers import Numbers, addressed, escape, unbroken
from evaluation.report.tables import (
    calibration_test_lines,
    comparison_blocks,
    drift_lines,
    gate_blocks,
    glance_lines,
    metric_lines,
    ratio_lines,
    reason_lines,
    sentences_by_section,
    slice_blocks,
)
from evaluation.report.top_line import WORDS
from evaluation.report.words import arrows, metric_words, short_name

__all__ = ["Figure", "evaluation_figures", "render_report", "write_report"]

HEADLINE = ("ap", "base_rate", "auc", "normalised_entropy", "ratio")
FURTHER = ("log_loss", "brier")
MARKS = {"pass": "✓", "regression": "✗", "inconclusive": "?", "sound": "✓", "attention": "!", "undetermined": "?"}
SECTIONS = {
    "heads": "Heads at a glance",
    "look": "What to look at",
    "comparison": "Against the baseline",
    "slices": "Slices",
    "calibration": "Calibration",
    "requests": "Ranking within requests",
    "utility": "Utility",
    "others": "Other models",
    "position": "Cost of the serving position",
    "counterfactual": "Counterfactual",
    "provenance": "Data and model",
    "notes": "Notes on method",
}


def render_report(
    metrics: Mapping[str, Any], figures: Sequence[Figure] | None = None, *, title: str = "Evaluation"
) -> str:
    """The report as HTML: styles and pictures inside, nothing fetched, every number as it stands in `metrics`.

    Every number of a table carries its address in metrics.json (`data-key`, a JSON pointer).

    Args:
        metrics: `evaluate_predictions(...).metrics`, or metrics.json read back.
        figures: The pictures; None draws `evaluation_figures(metrics)`.
        title: The page's title.

    Returns:
        One HTML document.
    """
    from markupsafe import Markup

    drawn = evaluation_figures(metrics) if figures is None else list(figures)
    verdict = metrics["verdict"]
    word = WORDS[verdict["word"]]
    request_names, request_lines = metric_lines(metrics["request_metrics"], "/request_metrics")
    utility = metrics["utility"]
    utility_names, utility_lines = metric_lines(utility["heads"] if utility else [], "/utility/heads")
    present = {
        "heads": True,
        "look": True,
        "comparison": metrics["gate"],
        "slices": metrics["slices"],
        "calibration": True,
        "requests": request_lines,
        "utility": metrics["utility"],
        "others": metrics["comparisons"],
        "position": metrics["position"],
        "counterfactual": metrics["counterfactual"],
        "provenance": True,
        "notes": True,
    }
    page = render_html(
        "evaluation.report",
        "report.html.j2",
        styles=("report_page.css.j2",),
        title=title,
        metrics=metrics,
        n=Numbers(metrics),
        escape=escape,
        metric_words=metric_words,
        mark=MARKS[verdict["word"]],
        verdict_word=word,
        verdict_text=arrows(_without(verdict["sentence"], word)),
        arrows=arrows,
        baseline=short_name(metrics["baseline"] or ""),
        contents=[(anchor, words) for anchor, words in SECTIONS.items() if present[anchor]],
        glance=glance_lines(metrics),
        head_reasons=reason_lines(
            {"head": head, "metric": key, "reason": item[key]["reason"]}
            for head, item in metrics["heads"].items()
            for key in HEADLINE + FURTHER
        ),
        headline=[(key, metric_words(key)) for key in HEADLINE],
        further=[(key, metric_words(key)) for key in FURTHER],
        ratios=ratio_lines(metrics),
        tests=calibration_test_lines(metrics),
        segments=addressed(metrics["worst_segments"], "/worst_segments"),
        slices=slice_blocks(metrics),
        gate=gate_blocks(metrics),
        sentences=sentences_by_section(metrics),
        utility_names=utility_names,
        utility_lines=utility_lines,
        request_names=request_names,
        request_lines=request_lines,
        request_reasons=reason_lines(metrics["request_metrics"]),
        drift=drift_lines(metrics),
        implications=addressed(metrics["implications"], "/implications"),
        **_counterfactual(metrics),
        comparisons=comparison_blocks(metrics),
        position=addressed(metrics["position"] or [], "/position"),
        figures=[(figure, Markup(themed(figure.svg))) for figure in drawn],
    )
    return unbroken(page)


def write_report(
    path: str | Path,
    metrics: Mapping[str, Any],
    figures: Sequence[Figure] | None = None,
    *,
    title: str = "Evaluation",
) -> Path:
    """`render_report` written to `path` in one step."""
    return write_whole(path, render_report(metrics, figures, title=title))


def _without(sentence: str, word: str) -> str:
    """The sentence behind the word that the page writes in colour before it."""
    return sentence.removeprefix(f"{word}: ")


def _counterfactual(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the template asks for of a counterfactual evaluation; nothing where there is none."""
    found = metrics["counterfactual"]
    if found is None:
        return {}
    from evaluation.counterfactual.words import ESTIMATOR_WORDS, METHOD, counterfactual_sentences

    return {
        "counterfactual": addressed(found["table"], "/counterfactual/table"),
        "counterfactual_sentences": counterfactual_sentences(found),
        "counterfactual_method": METHOD,
        "estimator_words": ESTIMATOR_WORDS,
    }
