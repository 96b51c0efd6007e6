"""The report's top line: the verdict of an evaluation in one word and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.comparison.gate_words import join, percent
from evaluation.formatting import format_interval, format_number
from evaluation.report.words import too_much
from evaluation.slicing.slice_columns import POSITION

WORDS = {
    "pass": "Pass",
    "regression": "Regression",
    "inconclusive": "Inconclusive",
    "sound": "Sound",
    "attention": "Look closer",
    "undetermined": "Too little data",
}
CLOSE = 0.05  # a mean prediction this near to what happened is close enough for the top line
LEVEL = 0.05


def top_line(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict: the gate's, or without a baseline what can be said of the model by itself.

    Without a baseline a model is "sound" if every head ranks better than chance (AUC above one half with its whole
    interval) and nothing is shown to be wrong. It needs "attention" where a head's probabilities are worse than its
    base rate, or its calibration is off (test at 5 %, Holm over the heads, and the mean more than 5 % away), or a
    slice's is. "undetermined" is what remains.

    Args:
        metrics: metrics.json without this line.

    Returns:
        `word` (a key of `WORDS`), `sentence`, which begins with the word as people write it, and `gated`.
    """
    if metrics["gate"] is not None:
        return {"word": metrics["gate"]["verdict"], "sentence": metrics["gate"]["sentence"], "gated": True}
    wrong = [*_worse_than_base_rate(metrics), *_off_in_the_mean(metrics), *_off_in_a_slice(metrics)]
    if wrong:
        return _line("attention", f"{'; '.join(wrong)}.")
    heads = metrics["heads"]
    unknown = [name for name, item in heads.items() if not _better_than_chance(item["auc"])]
    if unknown:
        rest = "" if len(unknown) == len(heads) else "; nothing else is shown to be wrong"
        return _line("undetermined", f"it is not shown that {join(unknown)} can be ranked better than by chance{rest}.")
    which = f"{next(iter(heads))} is" if len(heads) == 1 else f"all {len(heads)} heads are"
    return _line(
        "sound",
        f"{which} ranked better than by chance, and no mean prediction is shown to be off by more than "
        f"{percent(CLOSE)}.",
    )


def holm_shown(record: Mapping[str, Any]) -> bool:
    """Whether a test's p-value, adjusted for all that was tested beside it, is 5 % at most."""
    p = record["p_adjusted"]
    return p is not None and p <= LEVEL


def slices_off(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The slices whose predictions are shown to be off, the surest first, without those that are off by design."""
    hidden = unseen_columns(metrics)
    return [record for record in metrics["worst_segments"] if record["flagged"] and record["column"] not in hidden]


def unseen_columns(metrics: Mapping[str, Any]) -> set[str]:
    """Columns of slices that the model is kept from seeing: the position, where all rows are scored at the serving one.

    Within a slice of it the mean prediction cannot be what happened there, however good the model is.
    """
    return set() if metrics["position"] is None else {POSITION}


def _line(word: str, text: str) -> dict[str, Any]:
    return {"word": word, "sentence": f"{WORDS[word]}: {text}", "gated": False}


def _better_than_chance(auc: Mapping[str, Any]) -> bool:
    return auc["low"] is not None and auc["low"] > 0.5


def _worse_than_base_rate(metrics: Mapping[str, Any]) -> list[str]:
    worse = [
        name
        for name, item in metrics["heads"].items()
        if item["normalised_entropy"]["low"] is not None and item["normalised_entropy"]["low"] > 1.0
    ]
    if not worse:
        return []
    return [f"the probabilities of {join(worse)} are worse than the base rate alone"]


def _off_in_the_mean(metrics: Mapping[str, Any]) -> list[str]:
    found = []
    shown = {record["head"] for record in metrics["calibration_tests"] if holm_shown(record)}
    for name, item in metrics["heads"].items():
        ratio = item["ratio"]
        if name in shown and ratio["value"] is not None and _far(ratio["value"]):
            interval = format_interval(ratio["low"], ratio["high"])
            numbers = f"predicted / observed {format_number(ratio['value'])} {interval}".rstrip()
            if ratio["value"] == 0.0:
                found.append(f"{name} predicts nothing")
                continue
            found.append(f"{name} is predicted {too_much(ratio['value'])} on average ({numbers})")
    return found


def _off_in_a_slice(metrics: Mapping[str, Any]) -> list[str]:
    off = [record for record in slices_off(metrics) if record["ratio"] is not None and _far(record["ratio"])]
    if not off:
        return []
    worst = off[0]
    more = "" if len(off) == 1 else f", the surest of {len(off)} slices that are off"
    return [f"{worst['head']} is predicted {too_much(worst['ratio'])} in {worst['column']} {worst['slice']}{more}"]


def _far(ratio: float) -> bool:
    return not 1.0 / (1.0 + CLOSE) <= ratio <= 1.0 + CLOSE
