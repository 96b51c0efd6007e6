"""What a reader of the report should look at, the most important first, from the metrics alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.comparison.gate_words import join, moved
from evaluation.formatting import chance, format_interval, format_number
from evaluation.measured.scored_log import FLATTERED
from evaluation.report.top_line import holm_shown, slices_off, unseen_columns
from evaluation.report.words import too_much

BAD, WARN, NOTE = "bad", "warn", "note"
MOST_SLICES = 5  # further slices that are off stand in their table


def look_at(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Sentences with their level, the most important first; empty if nothing stands out.

    "bad" and "warn" are for what survives the correction for all that was tested beside it; "note" is for the rest.

    Args:
        metrics: metrics.json, whose tests have been made.
    """
    found = [(WARN, note) for note in metrics["notes"] if note == FLATTERED]
    found += [*_gate(metrics), *_calibration(metrics), *_drift(metrics), *_contradictions(metrics)]
    found += _little_data(metrics)
    rank = {BAD: 0, WARN: 1, NOTE: 2}
    return [{"level": level, "sentence": text} for level, text in sorted(found, key=lambda item: rank[item[0]])]


def _gate(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    gate = metrics["gate"]
    if gate is None:
        return []
    found = [
        (BAD, f"{moved(test, gate['rules']['level'])}; {chance(test['p_holm'])} after correction.")
        for test in gate["tests"]
        if test["outcome"] == "regression"
    ]
    unjudged = tuple(f"{head} is not judged on " for head in _unjudged(metrics))
    return found + [(WARN if sentence.startswith(unjudged) else NOTE, sentence) for sentence in gate["warnings"]]


def _unjudged(metrics: Mapping[str, Any]) -> dict[str, set[str]]:
    """The heads that the gate could not judge over all rows, with the reasons."""
    found: dict[str, set[str]] = {}
    for test in metrics["gate"]["tests"] if metrics["gate"] else []:
        if test["overall"] and test["reason"] is not None:
            found.setdefault(test["head"], set()).add(test["reason"])
    return found


def _calibration(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One sentence per head: what its test found, and the slices that are surest to be off."""
    nothing = [head for head, item in metrics["heads"].items() if item["ratio"]["value"] == 0.0]
    flagged = [record for record in slices_off(metrics) if record["head"] not in nothing]
    parts: dict[str, list[str]] = {}
    for record in flagged[:MOST_SLICES]:
        parts.setdefault(record["head"], []).append(_slice(record))
    said: dict[str, str] = {}
    for test in metrics["calibration_tests"]:
        if holm_shown(test) and test["head"] not in nothing:
            much = "much" if test["predicted"] > test["observed"] else "little"
            said[test["head"]] = (
                f"{test['head']} is predicted too {much} between {format_number(test['low'])} and"
                f" {format_number(test['high'])}: {format_number(test['predicted'])} on average where"
                f" {format_number(test['observed'])} was observed ({chance(test['p_adjusted'])} after correction)"
            )
    for head, slices in parts.items():
        said[head] = f"{said[head]}; by slice {join(slices)}" if head in said else f"{head} is predicted {join(slices)}"
    found = [(BAD, f"{head} predicts nothing: 0 on every row, where it did happen.") for head in nothing]
    found += [(WARN, f"{sentence}.") for sentence in said.values()]
    more = len(flagged) - MOST_SLICES
    if more > 0:
        found.append((NOTE, f"{more} more {'slice is' if more == 1 else 'slices are'} off, see Calibration."))
    by_design = {record["column"] for record in metrics["worst_segments"]} & unseen_columns(metrics)
    return found + [
        (NOTE, f"By {column} predictions are off by design: rows are scored at the serving position, not at their own.")
        for column in sorted(by_design)
    ]


def _slice(record: Mapping[str, Any]) -> str:
    """How far off a slice's predictions are: "22 % too low in platform DE (predicted / observed 0.78 [0.70, 0.86])"."""
    where = f"in {record['column']} {record['slice']}"
    if record["ratio"] is None:  # nothing happened where something was predicted
        return f"too high {where} (nothing was observed in {record['rows']:,} rows)"
    numbers = f"{format_number(record['ratio'])} {format_interval(record['low'], record['high'])}".rstrip()
    return f"{too_much(record['ratio'])} {where} (predicted / observed {numbers})"


def _drift(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for record in metrics["drift"]:
        if holm_shown(record):
            before, after = format_number(record["ratio_before"]), format_number(record["ratio_after"])
            went = f"predicted / observed went from {before} ({record['before']}) to {after} ({record['after']})"
            found.append(
                (WARN, f"The calibration of {record['head']} has moved within the period: {went},"
                 f" {chance(record['p_adjusted'])} after correction.")
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
    unjudged = _unjudged(metrics)
    for head, item in metrics["heads"].items():
        if item["ap"]["reason"] and item["ap"]["reason"] not in unjudged.get(head, ()):  # the gate has said it
            found.append((WARN, f"{head} cannot be judged: {item['ap']['reason']}."))
    empty = sorted({(record["column"], record["slice"]) for record in metrics["slices"] if record["rows"] == 0})
    if empty:
        names = ", ".join(f"{column} {part}" for column, part in empty[:MOST_SLICES])
        found.append((NOTE, f"Slices without a row: {names}{' and more' if len(empty) > MOST_SLICES else ''}."))
    return found
