"""What the gallery reports' numbers say, in sentences; every digit is a number of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.formatting import format_interval, format_number
from evaluation.gallery.step_time import CACHED, WHOLE, WITH_FORWARD

Records = Sequence[Mapping[str, Any]]


def probe_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The findings of a probe: accuracies, differences, the control, times.

    Args:
        metrics: Of `gallery_metrics.probe_metrics`, without the summary.
    """
    chance, head = metrics["majority"], metrics["heads"][0]
    rows = [row for row in metrics["accuracy"] if row["head"] == head]
    full = [row for row in rows if row["budget"] == "100 %"] or rows[-1:]
    best = sorted(full, key=lambda row: -row["accuracy"])
    sentences = [
        f"With {'all labels' if full[0]['budget'] == '100 %' else full[0]['budget']}, {head} head: "
        + "; ".join(f"{row['arm']} {_interval(row['accuracy'], row)}" for row in best)
        + f". The majority class is right in {format_number(chance['accuracy'])}."
    ]
    sentences += _difference_sentences(metrics, head, full[0]["budget"])
    sentences += _saving_sentences(rows, metrics["reference"])
    control = metrics["control"]
    if control:
        leaks = [f"{row['arm']} ({row['head']} head)" for row in control if not row["at_chance"]]
        sentences.append(
            f"Control: with shuffled labels {_list(leaks)} still beats the majority class: the true labels leak."
            if leaks
            else "Control: with shuffled labels every probe falls to chance."
        )
    sentences += _time_sentences(metrics["times"], metrics["reference"])
    for name, records in metrics["values"].items():
        found = "; ".join(f"{row['arm']} {_interval(row['r2'], row)}" for row in records)
        sentences.append(f"R² of {name}: {found}.")
    sentences += optima_sentences(metrics)
    return sentences


def optima_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Figures 5 and 6 in words, the article's findings beside them."""
    sentences, words = [], {"error": "error", "log_loss": "log loss"}
    counts = [
        f"by {words[metric]} on {format_number(count['better'])} of {format_number(count['tasks'])} tasks "
        f"({format_number(count['equal'])} equal)"
        for metric, count in (metrics["against_kendall"] or {}).items()
    ]
    if counts:
        sentences.append(f"Pseudo-uniform scaling beats Kendall's weights {_list(counts)}; in the article on 22 of 31.")
    losses = {"pseudo": "pseudo-uniform", "kendall": "Kendall"}
    found = [
        f"{losses[record['loss']]}, by {words[record['metric']]}, r = {_interval(record['r'], record)}"
        + ("" if record["low"] > 0.0 or record["high"] < 0.0 else " (no relation shown)")
        for record in (metrics["balance"] or {}).get("correlations", [])
        if record["r"] is not None
    ]
    if found:
        sentences.append(
            f"Balance of a yes / no task against the cost of learning all tasks at once: {'; '.join(found)}; in the "
            "article r = 0.78 and 0.80."
        )
    return sentences


def base_rate_sentence(records: Records) -> str:
    """How many tasks are better than their base rate.

    >>> base_rate_sentence([{"task": "pool", "verdict": "better"}, {"task": "bar", "verdict": "not shown"}])
    '1 of 2 tasks is predicted better than its base rate; not shown for bar.'
    """
    better = [row["task"] for row in records if row["verdict"] == "better"]
    rest = [str(row["task"]) for row in records if row["verdict"] != "better"]
    verb = "is predicted better than its base rate" if len(better) == 1 else "are predicted better than their base rate"
    more = f"; not shown for {_list(rest)}" if rest else ""
    return f"{format_number(len(better))} of {format_number(len(records))} tasks {verb}{more}."


def ablation_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The best row per column, and what was not measured."""
    known = [row for row in metrics["rows"] if not row["reason"]]
    sentences = []
    for key, words in (
        ("probe", "The probe reads most from"),
        ("same_item", "A guest's photo finds its own gallery best with"),
        ("same_attribute", "Nearest neighbours share attributes most with"),
    ):
        rows = [row for row in known if row[key] is not None]
        if rows:
            best = max(rows, key=lambda row: row[key])
            low = best.get(f"{key}_low")
            figure = format_number(best[key]) if low is None else _interval(best[key], best, prefix=f"{key}_")
            close = [] if low is None else [row for row in rows if row is not best and row[f"{key}_high"] > low]
            more = f"; the intervals of {format_number(len(close))} others reach into its own" if close else ""
            sentences.append(f"{words} {best['variant']}: {figure}{more}.")
    timed = [row for row in known if row["gallery_ms"] is not None]
    if timed:
        quick = min(timed, key=lambda row: row["gallery_ms"])
        sentences.append(
            f"{quick['variant']} is the fastest: {format_number(quick['gallery_ms'])} ms for a gallery of 20 photos."
        )
    missing = [row["variant"] for row in metrics["rows"] if row["reason"]]
    if missing:
        sentences.append(f"Not measured: {_list(missing)}.")
    return sentences


def _difference_sentences(metrics: Mapping[str, Any], head: str, budget: str) -> list[str]:
    parts = []
    for record in metrics["differences"]:
        if record["head"] == head and record["budget"] == budget:
            interval = format_interval(record["low"], record["high"], signed=True)
            number = format_number(record["difference"], signed=True)
            parts.append(f"{record['against']} {number} {interval}, {record['verdict']}")
    return [f"{metrics['reference']} on the same items less " + "; ".join(parts) + "."] if parts else []


def _saving_sentences(rows: Records, reference: str) -> list[str]:
    """Fewer labels for the same accuracy: where the reference's smaller budget reaches another arm's largest."""
    budgets = [row for row in rows if str(row["budget"]).endswith("%")]
    ours = [row for row in budgets if row["arm"] == reference]
    parts = []
    for arm in dict.fromkeys(row["arm"] for row in budgets if row["arm"] != reference):
        theirs = max((row for row in budgets if row["arm"] == arm), key=lambda row: row["labels"])
        enough = [row for row in ours if row["accuracy"] >= theirs["accuracy"] and row["labels"] < theirs["labels"]]
        if enough:
            least = min(enough, key=lambda row: row["labels"])
            parts.append(
                f"with {least['budget']} of the labels ({format_number(least['accuracy'])}) that of {arm} with "
                f"{theirs['budget']} ({format_number(theirs['accuracy'])})"
            )
    return [f"{reference} reaches the accuracy of others with fewer labels: " + "; ".join(parts) + "."] if parts else []


def _time_sentences(times: Records, reference: str) -> list[str]:
    whole = next((row for row in times if row["step"] == WHOLE), None)
    ours = {row["step"]: row for row in times if row["arm"] == reference}
    if whole is None or WITH_FORWARD not in ours:
        return []
    return [
        f"A training iteration on {reference}, the encoder's forward pass included, takes "
        f"{format_number(ours[WITH_FORWARD]['ms'])} ms per gallery against {format_number(whole['ms'])} ms end to end: "
        f"{format_number(ours[WITH_FORWARD]['cheaper'])} times cheaper; with cached vectors "
        f"{format_number(ours[CACHED]['ms'])} ms."
    ]


def _interval(value: float, record: Mapping[str, Any], prefix: str = "") -> str:
    interval = format_interval(record[f"{prefix}low"], record[f"{prefix}high"])
    return f"{format_number(value)} {interval}".strip()


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
