"""What the numbers say, in sentences: for the reader who opens the report first, and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.comparison.gate_words import join, percent
from evaluation.comparison.paired import BETTER, UNDECIDED, WORSE
from evaluation.formatting import format_interval, format_number
from evaluation.metric_kinds import metric_kind

BRIER_WORDS = {f"brier_{term}": term for term in ("miscalibration", "discrimination", "uncertainty")}


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
        every = "every head" if len(known) == len(heads) else f"every head that has one ({join(list(known))})"
        return f"Calibration: predicted / observed has 1 inside its 95 % interval for {every}."
    parts = [
        f"{head} {format_number(ratio['value'])} {format_interval(ratio['low'], ratio['high'])}"
        for head, ratio in off.items()
    ]
    return f"Calibration: predicted / observed has 1 outside its own 95 % interval for {join(parts)}."


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
            parts.append(f"{text} on {join(heads)}")
    return f"{subject}, {metric_words(metric)}: {'; '.join(parts)}."


def too_much(ratio: float) -> str:
    """What predicted / observed means.

    >>> too_much(1.25), too_much(0.5), too_much(12.0)
    ('25 % too high', '50 % too low', '12 times too high')
    """
    if ratio >= 3.0:
        return f"{ratio:.2g} times too high"
    return f"{percent(ratio - 1.0)} too {'high' if ratio >= 1.0 else 'low'}"


def short_name(name: str) -> str:
    """What a model is called on the page: of a path its last two parts.

    >>> short_name("/srv/models/runs/monday/baselines/lightgbm"), short_name("runs/monday"), short_name("production")
    ('baselines/lightgbm', 'runs/monday', 'production')
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    return "/".join(parts[-2:]) if len(parts) > 2 else name


def arrows(sentence: str) -> str:
    """A sentence of the terminal as the page writes it: no line can end within an arrow.

    >>> arrows("0.2 -> 0.1")
    '0.2 → 0.1'
    """
    return sentence.replace(" -> ", " → ")


def metric_words(metric: str) -> str:
    """A metric's name for people: "ap" is PR-AUC, "ndcg@10" NDCG@10.

    >>> metric_words("ap"), metric_words("ndcg@10"), metric_words("base_rate")
    ('PR-AUC', 'NDCG@10', 'base rate')
    """
    return "base rate" if metric == "base_rate" else BRIER_WORDS.get(metric) or metric_kind(metric).label
