"""What `galleryrank simulate` says on stderr and in its summary: from metrics, the numbers of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evaluation.comparison.paired import UNDECIDED, verdict
from evaluation.formatting import format_interval, format_number
from evaluation.marketplace.lifts import MEASURES, lift_sentences
from galleryrank.console import Log
from galleryrank.simulate_worlds import DECLARED, OFFLINE, VALUED
from optimization.online.simulated import ONLINE, ORACLE

DECISIVE_ROUND = 3  # after so many rounds online-tuned weights are compared with offline-tuned ones


def lift_summary(block: Mapping[str, Any]) -> list[str]:
    """What one experiment shows, and how right that is."""
    name = block["treatment"][:1].upper() + block["treatment"][1:]
    return [*lift_sentences(name, block["control"], block["lifts"]), truth_sentence(block["lifts"])]


def truth_sentence(records: Sequence[Mapping[str, Any]]) -> str:
    """In how many lines of `lifts` the interval holds the true lift, and which lines miss it.

    >>> row = {"head": "save", "measure": "volume", "low": 1.0, "high": 3.0, "true_lift": 0.5}
    >>> truth_sentence([row, row | {"head": "click", "true_lift": 2.0}])
    'The interval holds the true lift in 1 of 2 lines; it misses volume of save (truly +0.5000 %).'
    """
    known = [r for r in records if r["low"] is not None]
    missed = [r for r in known if not r["low"] <= r["true_lift"] <= r["high"]]
    named = ", ".join(
        f"{r['measure']} of {r['head']} (truly {format_number(r['true_lift'], signed=True)} %)" for r in missed
    )
    held = f"The interval holds the true lift in {len(known) - len(missed)} of {len(known)} lines"
    return f"{held}; it misses {named}." if missed else f"{held}."


def round_summary(policies: pd.DataFrame, gains: pd.DataFrame) -> list[str]:
    """What one world's rounds show.

    Args:
        policies, gains: Of `SimulatedRounds`.
    """
    rows = {(row["policy"], row["round"]): row for row in policies.to_dict("records")}
    number = min(DECISIVE_ROUND, max(round for _, round in rows))

    def over(policy: str, after: int = 0) -> str:
        row = rows[policy, after]
        return f"{format_number(row['lift'], signed=True)} % {format_interval(row['low'], row['high'], signed=True)}"

    return [
        f"True expected utility over the hand-picked weights: offline-tuned {over(OFFLINE)}, online-tuned after "
        f"{number} round{'s' * (number > 1)} {over(ONLINE, number)}, the best of a dense search on the truth "
        f"{over(ORACLE)}.",
        _online_against_offline(gains, number, as_before=rows[ONLINE, number]["low"] == rows[ONLINE, number]["high"]),
        f"Tuned offline too, but for the declared values instead of one head's PR-AUC: {over(VALUED)}; the declared "
        f"values taken as weights, without any tuning: {over(DECLARED)}.",
    ]


def _online_against_offline(gains: pd.DataFrame, number: int, *, as_before: bool) -> str:
    """The sentence that the paired interval deserves; `as_before`: the rounds rank as the hand-picked weights do."""
    row = gains[(gains["round"] == number) & (gains["against"] == OFFLINE)].iloc[0]
    size = f"{format_number(row['gain'], signed=True)} % {format_interval(row['low'], row['high'], signed=True)}"
    found = verdict(row["low"], row["high"])
    text = (
        f"No difference is shown between online-tuned and offline-tuned weights in this world: {size}"
        if found == UNDECIDED
        else f"Online-tuned weights are {found} than offline-tuned ones in this world: {size}"
    )
    text += " of what the hand-picked ones are worth."
    if as_before:
        text += " The rounds left these as they were: the difference is what offline tuning made of them."
    return text


def weights_text(weights: Mapping[str, float]) -> str:
    """Weights or values on one line.

    >>> weights_text({"click": 0.5, "save": 2.0})
    'click 0.5, save 2'
    """
    return ", ".join(f"{head} {weight:g}" for head, weight in weights.items())


def show_lifts(block: Mapping[str, Any], say: Log) -> None:
    """Table 1 of the article: a line per engagement."""
    rows: dict[str, list[str]] = {}
    for r in block["lifts"]:
        cells = rows.setdefault(r["head"], [r["head"]])
        cells += [format_number(r["lift"], signed=True), format_interval(r["low"], r["high"], signed=True)]
        cells += [format_number(r["true_lift"], signed=True)]
    header = ["engagement", *(text for m in MEASURES for text in (f"{m}, lift %", "95 % interval", "true lift %"))]
    say.table(f"{block['title']}: {block['treatment']} against {block['control']}", header, list(rows.values()))


def show_policies(metrics: Mapping[str, Any], say: Log) -> None:
    """The weights of every policy and what they are truly worth."""
    rows = []
    for r in metrics["policies"]:
        weights = [format_number(r[head]) for head in metrics["heads"]]
        lift = [format_number(r["lift"], signed=True), format_interval(r["low"], r["high"], signed=True)]
        rows.append([r["policy"], str(r["round"] or "–"), *weights, format_number(r["utility"]), *lift])
        rows[-1].append(format_number(r["regret"]))
    header = ["weights", "rounds", *metrics["heads"], "true utility", "over hand-picked, %", "95 %", "below oracle, %"]
    say.table("What the weights are truly worth per request", header, rows)
