"""What the gallery reports' numbers say, in sentences; every digit is a number of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.comparison.paired import BETTER
from evaluation.formatting import format_interval, format_number
from evaluation.gallery.probe_result import MAJORITY, TRUTH
from evaluation.gallery.step_time import CACHED, WHOLE, WITH_FORWARD

Records = Sequence[Mapping[str, Any]]
CHANCE = {"probe": "majority", "same_item": "same_item_chance", "same_attribute": "same_attribute_chance"}


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
    beaten = [
        row["against"]
        for row in metrics["differences"]
        if row["head"] == head and row["budget"] == full[0]["budget"] and row["verdict"] == BETTER
    ]
    sentences += _saving_sentences([row for row in rows if row["arm"] in beaten], rows, metrics["reference"])
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


def seed_notes(accuracy: Records) -> list[str]:
    """Which arms had fewer seeds than others, in a sentence; none where all had as many.

    >>> seed_notes([{"arm": "the encoder", "seeds": 3}, {"arm": "end to end", "seeds": 1}])
    ['Not every arm was fitted with as many seeds: the encoder with 3, end to end with 1.']
    """
    counts = {row["arm"]: row["seeds"] for row in accuracy if row["arm"] != MAJORITY}
    if len(set(counts.values())) < 2:
        return []
    words = ", ".join(f"{arm} with {format_number(count)}" for arm, count in counts.items())
    return [f"Not every arm was fitted with as many seeds: {words}."]


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
    """The best row per column, where there is one, and what was not measured."""
    known = [row for row in metrics["rows"] if not row["reason"]]
    sentences = []
    for key, words, chance in (
        ("probe", "The probe reads most from", "the majority class is right in"),
        ("same_item", "A guest's photo finds its own gallery best with", "by chance"),
        ("same_attribute", "Nearest neighbours share attributes most with", "by chance"),
    ):
        best = best_variant(metrics["rows"], key)
        if best is not None:
            low = best.get(f"{key}_low")
            figure = format_number(best[key]) if low is None else _interval(best[key], best, prefix=f"{key}_")
            sentence = f"{words} {best['variant']}: {figure}; {chance} {format_number(best[CHANCE[key]])}"
            others = [] if low is None else [row for row in known if row is not best and row[key] is not None]
            close = sum(row[f"{key}_high"] > low for row in others)
            if close:
                subject = (
                    "interval of 1 other reaches" if close == 1 else f"intervals of {format_number(close)} others reach"
                )
                sentence += f"; the {subject} into its own"
            sentences.append(f"{sentence}.")
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


def best_variant(rows: Records, key: str) -> Mapping[str, Any] | None:
    """The row of an ablation that is best by `key`; None where several are, or where the best does not beat chance.

    Args:
        rows: Of `ablation_metrics`.
        key: "probe", "same_item" or "same_attribute"; one with an interval must lie above chance with all of it.

    >>> rows = [{"same_attribute": v, "same_attribute_chance": 0.2, "reason": None} for v in (0.3, 0.4, 0.4)]
    >>> best_variant(rows[:2], "same_attribute")["same_attribute"], best_variant(rows, "same_attribute")
    (0.4, None)
    """
    known = [row for row in rows if not row["reason"] and row[key] is not None]
    most = max((row[key] for row in known), default=None)
    best = [row for row in known if row[key] == most]
    if len(best) != 1:
        return None
    low = best[0].get(f"{key}_low")
    return best[0] if (best[0][key] if low is None else low) > best[0][CHANCE[key]] else None


def _difference_sentences(metrics: Mapping[str, Any], head: str, budget: str) -> list[str]:
    parts = []
    for record in metrics["differences"]:
        if record["head"] == head and record["budget"] == budget:
            interval = format_interval(record["low"], record["high"], signed=True)
            number = format_number(record["difference"], signed=True)
            parts.append(f"{record['against']} {number} {interval}, {record['verdict']}")
    return [f"{metrics['reference']} on the same items less " + "; ".join(parts) + "."] if parts else []


def _saving_sentences(beaten: Records, rows: Records, reference: str) -> list[str]:
    """Fewer labels for the same accuracy: where the reference's smaller budget reaches another arm's largest.

    Only of arms that are shown to be worse with all labels, and not of the truth, which nothing is to be better than.
    Budgets count by their share: the labels of arms with other seeds are means over other folds.
    """
    ours = [row for row in rows if row["arm"] == reference and _share(row) is not None]
    others = [row for row in beaten if row["arm"] not in (reference, TRUTH) and _share(row) is not None]
    parts = []
    for arm in dict.fromkeys(row["arm"] for row in others):
        theirs = max((row for row in others if row["arm"] == arm), key=_share)
        enough = [row for row in ours if row["accuracy"] >= theirs["accuracy"] and _share(row) < _share(theirs)]
        if enough:
            least = min(enough, key=_share)
            parts.append(
                f"with {least['budget']} of the labels ({format_number(least['accuracy'])}) that of {arm} with "
                f"{theirs['budget']} ({format_number(theirs['accuracy'])})"
            )
    return [f"{reference} reaches the accuracy of others with fewer labels: " + "; ".join(parts) + "."] if parts else []


def _share(row: Mapping[str, Any]) -> Any:
    """Per cent of the labels; None for a budget of another kind."""
    name = str(row["budget"])
    return float(name.removesuffix("%")) if name.endswith("%") else None


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
