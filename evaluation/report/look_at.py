"""What a reader of the report should look at, the most important first, from the metrics alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.formatting import format_interval, format_number
from evaluation.report.top_line import holm_shown, slices_off, unseen_columns
from evaluation.report.words import metric_words, too_much

BAD, WARN, NOTE = "bad", "warn", "note"
MOST_SLICES = 5  # further slices that are off stand in their table


def look_at(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Sentences with their level ("bad", "warn", "note"), the most important first; empty if nothing stands out.

    Args:
        metrics: metrics.json, whose tests have been made.
    """
    found = [*_gate(metrics), *_calibration(metrics), *_slices(metrics), *_drift(metrics), *_contradictions(metrics)]
    found += _little_data(metrics)
    rank = {BAD: 0, WARN: 1, NOTE: 2}
    return [{"level": level, "sentence": text} for level, text in sorted(found, key=lambda item: rank[item[0]])]


def _gate(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    if metrics["gate"] is None:
        return []
    found = []
    for test in metrics["gate"]["tests"]:
        if test["outcome"] == "regression":
            where = "" if test["overall"] else f" in {test['column']} {test['slice']}"
            numbers = f"{format_number(test['baseline'])} to {format_number(test['candidate'])}"
            found.append(
                (BAD, f"{test['head']}{where}: {metric_words(test['metric'])} fell from {numbers}"
                 f" (p = {format_number(test['p_holm'])} after correction).")
            )  # fmt: skip
    return found + [(WARN, sentence) for sentence in metrics["gate"]["warnings"]]


def _calibration(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for test in metrics["calibration_tests"]:
        if holm_shown(test):
            much = "much" if test["predicted"] > test["observed"] else "little"
            found.append(
                (WARN, f"{test['head']} is predicted too {much} between {format_number(test['low'])} and"
                 f" {format_number(test['high'])}: {format_number(test['predicted'])} on average where"
                 f" {format_number(test['observed'])} was observed"
                 f" (p = {format_number(test['p_adjusted'])} after correction).")
            )  # fmt: skip
    return found


def _slices(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    flagged = slices_off(metrics)
    found = [
        (NOTE, f"By {column} predictions are off by design: rows are scored at the serving position, not at their own.")
        for column in sorted(unseen_columns(metrics))
        if any(record["column"] == column for record in metrics["worst_segments"])
    ]
    for record in flagged[:MOST_SLICES]:
        where = f"{record['head']} in {record['column']} {record['slice']}"
        if record["ratio"] is None:  # nothing happened where something was predicted
            found.append((WARN, f"{where} is predicted too high: nothing was observed in {record['rows']:,} rows."))
            continue
        numbers = f"{format_number(record['ratio'])} {format_interval(record['low'], record['high'])}".rstrip()
        found.append((WARN, f"{where} is predicted {too_much(record['ratio'])} (predicted / observed {numbers})."))
    if len(flagged) > MOST_SLICES:
        found.append((NOTE, f"{len(flagged) - MOST_SLICES} more slices are off, see Calibration."))
    return found


def _drift(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for record in metrics["drift"]:
        if holm_shown(record):
            before, after = format_number(record["ratio_before"]), format_number(record["ratio_after"])
            moved = f"predicted / observed went from {before} ({record['before']}) to {after} ({record['after']})"
            found.append(
                (WARN, f"The calibration of {record['head']} has moved within the period: {moved},"
                 f" p = {format_number(record['p_adjusted'])} after correction.")
            )  # fmt: skip
    return found


def _contradictions(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (BAD, f"{record['head']} is predicted above {record['parent']}, which it implies, in"
         f" {record['violations']:,} row(s).")
        for record in metrics["implications"]
        if record["violations"]
    ]  # fmt: skip


def _little_data(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(NOTE, f"{head}: {item['caution']}.") for head, item in metrics["heads"].items() if item["caution"]]
    for head, item in metrics["heads"].items():
        if item["ap"]["reason"]:
            found.append((WARN, f"{head} cannot be judged: {item['ap']['reason']}."))
    empty = sorted({(record["column"], record["slice"]) for record in metrics["slices"] if record["rows"] == 0})
    if empty:
        names = ", ".join(f"{column} {part}" for column, part in empty[:MOST_SLICES])
        found.append((NOTE, f"Slices without a row: {names}{' and more' if len(empty) > MOST_SLICES else ''}."))
    return found
