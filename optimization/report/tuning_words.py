"""What a tuning study's numbers say, in sentences; every digit is a number of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.comparison.paired import BETTER, UNDECIDED, WORSE
from evaluation.formatting import format_interval, format_number

# how the searches are called for people, in the order in which they are drawn
PHASES = {
    "ax": "Bayesian optimisation (Ax)",
    "sweep": "Sobol sweep",
    "nelder_mead": "Nelder-Mead",
    "random": "random search",
    "baseline": "baseline",
}


def objective_words(label: str, objective: Mapping[str, float]) -> str:
    """What is maximised, in words.

    >>> objective_words("PR-AUC", {"click": 1.0})
    'PR-AUC of click'
    >>> objective_words("PR-AUC", {"click": 1.0, "hide": -2.0})
    'PR-AUC, 1.000 x click - 2.000 x hide'
    """
    if list(objective.values()) == [1.0]:
        return f"{label} of {next(iter(objective))}"
    parts = [f"{'-' if value < 0 else '+'} {format_number(abs(value))} x {head}" for head, value in objective.items()]
    return f"{label}, {' '.join(parts).removeprefix('+ ')}"


def weights_words(weights: Mapping[str, float]) -> str:
    """Weights in one line, largest first; heads of weight 0 are not named.

    >>> weights_words({"click": 0.25, "save": 0.75, "hide": 0.0})
    'save 0.7500, click 0.2500'
    """
    sizes = sorted(weights.items(), key=lambda item: -abs(item[1]))
    return ", ".join(f"{head} {format_number(weight)}" for head, weight in sizes if weight != 0.0)


def verdict_sentences(verdict: Mapping[str, Any], candidate: str) -> list[str]:
    """What held-out rows say about one candidate: against the reference, head by head, and its guardrails.

    Args:
        verdict: `Verdict.to_dict()`.
        candidate: One of its candidates.

    Raises:
        ValueError: no such candidate.
    """
    if candidate not in verdict["weights"]:
        raise ValueError(f"`candidate` must be one of {', '.join(verdict['weights'])}, got {candidate!r}")
    rows = [record for record in verdict["values"] if record["candidate"] == candidate]
    mine = next(record for record in rows if record["combined"])
    reference = verdict["reference"]
    where = f"On {format_number(verdict['requests'])} requests ({verdict['name'] or 'held-out rows'})"
    if candidate == reference:
        return [f"{where}: {reference} weights.", *guardrail_sentences(verdict, candidate)]
    if _proportional(verdict["weights"][candidate], verdict["weights"][reference]):
        first = (
            f"The {candidate} weights are the {reference} ones: nothing better was found, so there is no difference."
        )
        return [first, *guardrail_sentences(verdict, candidate)]
    theirs = next(r for r in verdict["values"] if r["candidate"] == reference and r["combined"])
    what = objective_words(verdict["label"], verdict["objective"])
    gap = (
        f"{what} {format_number(mine['value'])} against {format_number(theirs['value'])}, difference "
        f"{format_number(mine['difference'], signed=True)} "
        f"{format_interval(mine['difference_low'], mine['difference_high'], signed=True)}"
    )
    if mine["verdict"] == UNDECIDED:
        first = (
            f"{where}, the {candidate} weights are not distinguishable from the {reference} ones: {gap}; "
            "the interval contains 0."
        )
    elif mine["verdict"] is None:
        first = f"{where}, the {candidate} weights cannot be compared with the {reference} ones: {gap.rstrip()}."
    else:
        first = f"{where}, the {candidate} weights are {mine['verdict']} than the {reference} ones: {gap}."
    return [first, *_head_sentences(verdict, rows, reference), *guardrail_sentences(verdict, candidate)]


def _head_sentences(verdict: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], reference: str) -> list[str]:
    """On which of the other heads the candidate differs."""
    parts = []
    others = [r for r in rows if not r["combined"] and verdict["objective"] != {r["head"]: 1.0}]
    for word in (BETTER, WORSE, UNDECIDED):
        found = [
            f"{r['head']} ({format_number(r['difference'], signed=True)} "
            f"{format_interval(r['difference_low'], r['difference_high'], signed=True)})"
            for r in others
            if r["verdict"] == word
        ]
        if found:
            parts.append(f"{word} on {_list(found)}")
    return [f"{verdict['label']} by head, against {reference}: {'; '.join(parts)}."] if parts else []


def guardrail_sentences(verdict: Mapping[str, Any], candidate: str) -> list[str]:
    """Whether the guardrails hold on these rows, and whether the rows decide it."""
    rails = [record for record in verdict["guardrails"] if record["candidate"] == candidate]
    sentences = []
    for rail in (rail for rail in rails if not rail["holds"]):
        chance = "by more than chance explains" if rail["decided"] else "but within what chance explains"
        sentences.append(
            f"The guardrail of {rail['head']} fails on these rows, {chance}: {format_number(rail['value'])} where "
            f"{'at least' if rail['sign'] > 0 else 'at most'} {format_number(rail['required'])} is asked for, "
            f"{format_number(rail['floor'])} of the baseline; room "
            f"{format_number(rail['slack'], signed=True)} {format_interval(rail['low'], rail['high'], signed=True)}."
        )
    held = [rail for rail in rails if rail["holds"]]
    open_ = [str(rail["head"]) for rail in held if not rail["decided"]]
    if held:
        which = "Every guardrail holds" if len(held) == len(rails) else f"Held: {_list([r['head'] for r in held])}"
        which += " on these rows" if len(held) == len(rails) else ""
        doubt = f"; for {_list(open_)} chance alone could explain it, as 0 is inside the interval" if open_ else ""
        sentences.append(f"{which}{doubt}.")
    return sentences


def sensitivity_sentence(records: Sequence[Mapping[str, Any]], objective: Mapping[str, float]) -> str | None:
    """Whether a small change of the weights matters: the largest effect on the objective's heads.

    Args:
        records: Rows of `sensitivity`.
        objective: Head -> value.

    >>> sensitivity_sentence([], {"click": 1.0}) is None
    True
    """
    heads = [record for record in records if record["head"] in objective and record["difference"] is not None]
    if not heads:
        return None
    percent = format_number(round(100 * abs(max(r["factor"] for r in records) - 1.0)))
    shown = [record for record in heads if record["verdict"] in (BETTER, WORSE)]
    if not shown:
        return f"A change of one weight by {percent} % shows no difference on {_list(list(objective))}."
    largest = max(shown, key=lambda record: abs(record["difference"]))
    of_several = f" on {largest['head']}" if len(objective) > 1 else ""
    return (
        f"Of all changes of one weight by {percent} %, the largest effect on {_list(list(objective))} is "
        f"{format_number(largest['difference'], signed=True)} "
        f"{format_interval(largest['low'], largest['high'], signed=True)}{of_several}, from "
        f"{'raising' if largest['factor'] > 1.0 else 'lowering'} {largest['changed']}."
    )


def order_sentence(order: Mapping[str, Any], names: tuple[str, str]) -> str:
    """What the new weights change in the order of the candidates.

    Args:
        order: `OrderChange.to_dict()`.
        names: The old and the new weights.

    >>> order_sentence({"requests": 10, "top_changed": 0.5, "pairs_swapped": 0.125}, ("old", "new"))
    'From old to new weights, another candidate comes first in a share of 0.5000 of 10 requests.'
    """
    return (
        f"From {names[0]} to {names[1]} weights, another candidate comes first in a share of "
        f"{format_number(order['top_changed'])} of {format_number(order['requests'])} requests."
    )


def _proportional(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether two sets of weights rank alike whatever the probabilities are."""
    size_a, size_b = (sum(abs(weight) for weight in weights.values()) for weights in (a, b))
    return all(abs(a.get(h, 0.0) / size_a - b.get(h, 0.0) / size_b) <= 1e-12 for h in {*a, *b})


def _list(items: Sequence[str]) -> str:
    return str(items[0]) if len(items) == 1 else f"{', '.join(map(str, items[:-1]))} and {items[-1]}"
