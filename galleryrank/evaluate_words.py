"""What `galleryrank evaluate` prints: the heads, the gate's tests and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.formatting import format_interval, format_number, format_p
from evaluation.measured.ranker_scores import COVERAGE
from evaluation.measured.scored_log import FLATTERED
from evaluation.report.words import metric_words
from galleryrank.console import Log
from galleryrank.counterfactual import print_counterfactual

__all__ = ["print_evaluation", "print_gate", "print_heads"]

SHOWN = 12  # slices that are listed; the report has all of them
METRICS = (("ap", "PR-AUC"), ("auc", "AUC"), ("log_loss", "log loss"), ("ratio", "predicted / observed"))


def print_evaluation(metrics: Mapping[str, Any], say: Log) -> None:
    """Everything but the verdict, on stderr."""
    for name in COVERAGE.values():
        if name in metrics["meta"]:
            say(f"{name}: {100 * metrics['meta'][name]:.1f} %")
    print_heads(metrics, say)
    for sentence in metrics["summary"]:
        say(sentence)
    if FLATTERED in metrics["notes"]:
        say(f"warning: {FLATTERED}")
    for head, item in metrics["heads"].items():
        if item["ratio"]["value"] == 0.0:
            say(f"warning: {head} predicts nothing: 0 on every row")
    if metrics["counterfactual"] is not None:
        print_counterfactual(metrics["counterfactual"], say)
    if metrics["gate"] is not None:
        print_gate(metrics, say)
        for warning in metrics["gate"]["warnings"]:
            say(f"warning: {warning}")


def print_heads(metrics: Mapping[str, Any], say: Log) -> None:
    """The heads' metrics as a table."""
    rows = []
    for name, head in metrics["heads"].items():
        cells = [name, f"{head['positives']:,}"]
        for key, _ in METRICS:
            e = head[key]
            interval = format_interval(e["low"], e["high"])
            cells.append("-" if e["value"] is None else f"{format_number(e['value'])}\n{interval}")
        rows.append(cells)
    title = f"{metrics['rows']:,} rows, {metrics['requests']:,} requests; 95 % intervals clustered by request"
    say.table(title, ("head", "positives", *(label for _, label in METRICS)), rows)


def print_gate(metrics: Mapping[str, Any], say: Log) -> None:
    """The gate's tests: all of the heads', and the slices that speak against the candidate."""
    tests: Sequence[Mapping[str, Any]] = metrics["gate"]["tests"]
    overall = [test for test in tests if test["overall"]]
    against = [test for test in tests if not test["overall"] and test["outcome"] in ("regression", "warning")]
    rows = [
        (
            test["head"],
            metric_words(test["metric"]),
            "all" if test["overall"] else f"{test['column']} {test['slice']}",
            format_number(test["baseline"]),
            f"{format_number(test['candidate'])}\n{_percent(test)}",
            format_number(test["floor"]),
            format_p(test["p_holm"]),
            test["outcome"] + (f": {test['reason']}" if test["reason"] else ""),
        )
        for test in [*overall, *against[:SHOWN]]
    ]
    slices = len({(test["column"], test["slice"]) for test in tests if not test["overall"]})
    also = f", and what speaks against it in {slices} slices" if slices else ""
    header = ("head", "metric", "rows", "baseline", "candidate", "floor", "p (Holm)", "outcome")
    say.table(f"Against {metrics['baseline']}: every head{also}", header, rows)
    if len(against) > SHOWN:
        say(f"{len(against) - SHOWN} more slices are in the report")


def _percent(test: Mapping[str, Any]) -> str:
    """The change in per cent of the baseline's value, with its interval.

    >>> _percent({"change": -0.0312, "change_low": -0.04, "change_high": None})
    '-3.1 %'
    """
    change, low, high = (test[key] for key in ("change", "change_low", "change_high"))
    if change is None:
        return ""
    interval = "" if low is None or high is None else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{100 * change:+.1f} %{interval}"
