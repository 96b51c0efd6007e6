"""The records of metrics.json arranged for the page: lines and blocks, every number still at its address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluation.comparison.gate_words import join
from evaluation.report.numbers import addressed, escape
from evaluation.report.top_line import holm_shown
from evaluation.report.words import metric_words


def ratio_lines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calibration records with the stages side by side: one line per head and slice of p_any."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for record in addressed(metrics["calibration"], "/calibration"):
        line = lines.setdefault((record["head"], record["slice"]), {**record, "stages": {}})
        line["stages"][record["stage"]] = record
    return list(lines.values())


def comparison_blocks(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One block per other model and per score of ours that it is compared with."""
    blocks: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, records in metrics["comparisons"].items():
        for record in addressed(records, f"/comparisons/{escape(name)}"):
            blocks.setdefault((name, record["by"]), []).append(record)
    return [{"name": name, "by": by, "records": records} for (name, by), records in blocks.items()]


def metric_lines(records: Sequence[Mapping[str, Any]], address: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Records of head and metric, which stand at `address`, with the metrics side by side: names, a line per head."""
    names: dict[str, None] = {}
    lines: dict[str, dict[str, Any]] = {}
    for record in addressed(records, address):
        names[record["metric"]] = None
        line = lines.setdefault(record["head"], {"head": record["head"], "metrics": {}})
        line["metrics"][record["metric"]] = record
    return list(names), list(lines.values())


def reason_lines(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why values or intervals are missing among records of head and metric, one line per reason."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for record in records:
        if record["reason"]:
            found.setdefault(record["reason"], {}).setdefault(record["head"], {})[metric_words(record["metric"])] = None
    lines = []
    for reason, heads in found.items():
        groups: dict[tuple[str, ...], list[str]] = {}
        for head, words in heads.items():
            groups.setdefault(tuple(words), []).append(head)
        lines += [f"{join(names)}, {join(words)}: {reason}." for words, names in groups.items()]
    return lines


def slice_blocks(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One block per column of slices: its metrics, and a line per head and slice with the metrics side by side."""
    blocks: dict[str, dict[str, Any]] = {}
    for record in addressed(metrics["slices"], "/slices"):
        block = blocks.setdefault(record["column"], {"column": record["column"], "metrics": {}, "lines": {}})
        block["metrics"][record["metric"]] = metric_words(record["metric"])
        line = block["lines"].setdefault((record["head"], record["slice"]), {**record, "metrics": {}})
        line["metrics"][record["metric"]] = record
    for block in blocks.values():
        block["lines"] = list(block["lines"].values())
    return list(blocks.values())


def glance_lines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One line per head: its address, on which side of 1 predicted / observed lies by its own interval ("above",
    "below", "inside", "unknown"), and whether the calibration test, corrected for all heads, says the same."""
    tests = {test["head"]: test for test in metrics["calibration_tests"]}
    lines = []
    for head, item in metrics["heads"].items():
        ratio, test = item["ratio"], tests.get(head)
        if ratio["low"] is None:
            side = "unknown"
        else:
            side = "above" if ratio["low"] > 1.0 else "below" if ratio["high"] < 1.0 else "inside"
        confirmed = test is not None and holm_shown(test) and side == ("above" if _too_much(test) else "below")
        lines.append({"head": head, "at": f"/heads/{escape(head)}", "side": side, "confirmed": confirmed})
    return lines


def drift_lines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tests of whether calibration has moved, each with `shown`."""
    return [{**line, "shown": holm_shown(line)} for line in addressed(metrics["drift"], "/drift")]


def calibration_test_lines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calibration tests with what they say in words."""
    lines = addressed(metrics["calibration_tests"], "/calibration_tests")
    for line in lines:
        if line["p_adjusted"] is None:
            line |= {"words": line["reason"] or "–", "css": "why"}
        else:
            shown = holm_shown(line)
            words = f"✗ predicts too {'much' if _too_much(line) else 'little'}"
            line |= {"words": words if shown else "✓ not shown to be off", "css": "worse" if shown else ""}
    return lines


def _too_much(test: Mapping[str, Any]) -> bool:
    return bool(test["predicted"] > test["observed"])


def sentences_by_section(metrics: Mapping[str, Any]) -> dict[str, list[str]]:
    """The sentences of the summary, each where its numbers stand."""
    found: dict[str, list[str]] = {"calibration": [], "others": [], "position": []}
    for sentence in metrics["summary"]:
        section = "calibration" if sentence.startswith("Calibration") else "others"
        found["position" if sentence.startswith("Serving position") else section].append(sentence)
    return found


def gate_blocks(metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The gate's tests: "overall", the slices in which something was "found", and the other "slices"."""
    tests = addressed(metrics["gate"]["tests"], "/gate/tests") if metrics["gate"] else []
    rank = {"regression": 0, "warning": 1, "undecided": 2, "holds": 3, "not tested": 4}  # the most important first
    overall = [test for test in tests if test["overall"]]
    parts = sorted((test for test in tests if not test["overall"]), key=lambda test: rank[test["outcome"]])
    found = [test for test in parts if test["outcome"] in ("regression", "warning")]
    return {"overall": overall, "found": found, "slices": parts[len(found) :]}
