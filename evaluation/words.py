"""What the numbers say, in sentences: for the reader who opens the report first, and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.comparisons import BETTER, UNDECIDED, WORSE
from evaluation.formatting import format_interval, format_number

METRIC_WORDS = {"ap": "PR-AUC", "auc": "AUC"}


def calibration_sentence(heads: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether each head's predicted / observed interval contains 1.

    Args:
        heads: `metrics["heads"]`.

    >>> calibration_sentence({"click": {"ratio": {"value": 0.99, "low": 0.95, "high": 1.03}}})
    'Calibration: predicted / observed has 1 inside its 95 % interval for every head.'
    """
    known = {head: item["ratio"] for head, item in heads.items() if item["ratio"]["low"] is not None}
    if not known:
        return "Calibration: no head has a predicted / observed interval."
    off = {head: ratio for head, ratio in known.items() if not ratio["low"] <= 1.0 <= ratio["high"]}
    if not off:
        every = "every head" if len(known) == len(heads) else f"every head that has one ({_list(list(known))})"
        return f"Calibration: predicted / observed has 1 inside its 95 % interval for {every}."
    parts = [
        f"{head} {format_number(ratio['value'])} {format_interval(ratio['low'], ratio['high'])}"
        for head, ratio in off.items()
    ]
    return f"Calibration: predicted / observed has 1 outside its 95 % interval for {_list(parts)}."


def comparison_sentence(subject: str, records: Sequence[Mapping[str, Any]], metric: str = "ap") -> str:
    """On which heads the first model is better, worse, or not told apart.

    Args:
        subject: What is compared, "model against lightgbm".
        records: Rows of `compare`'s table.
        metric: "ap" or "auc".

    >>> rows = [{"head": head, "metric": "ap", "verdict": word} for head, word in [("click", "better"), ("save", None)]]
    >>> comparison_sentence("Network against trees", rows)
    'Network against trees, PR-AUC: better on click; undefined on save.'
    """
    chosen = [record for record in records if record["metric"] == metric]
    parts = []
    for word, text in ((BETTER, BETTER), (WORSE, WORSE), (UNDECIDED, UNDECIDED), (None, "undefined")):
        heads = [str(record["head"]) for record in chosen if record["verdict"] == word]
        if heads:
            parts.append(f"{text} on {_list(heads)}")
    return f"{subject}, {METRIC_WORDS[metric]}: {'; '.join(parts)}."


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
