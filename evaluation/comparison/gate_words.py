"""What a gate found, in sentences for people: the verdict, and what should be looked at all the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.formatting import chance, format_number
from evaluation.metric_kinds import metric_kind

Test = Mapping[str, Any]
NAMED = 3  # regressions that the sentence spells out; the table has them all
NOTHING = 1e-9  # a change below it is rounding
MOST_TIMES = 1000.0  # beyond it "so many times more requests" is no plan


def verdict_sentence(verdict: str, tests: Sequence[Test], heads: Sequence[str], requests: int, level: float) -> str:
    """The verdict in one plain sentence or two.

    Args:
        verdict: "pass", "regression" or "inconclusive".
        tests: Records of `GateResult.tests`.
        heads: All of the models', gated or not.
        requests: How many requests stand behind them.
        level: Of the intervals.
    """
    if verdict == "regression":
        return _regression([test for test in tests if test["outcome"] == "regression"], _tested(tests), level)
    overall = [test for test in tests if test["overall"]]
    return _pass(overall, heads, level) if verdict == "pass" else _inconclusive(overall, requests, level)


def warning_sentences(tests: Sequence[Test], heads: Sequence[str], level: float) -> list[str]:
    """What did not decide the verdict: likely falls that Holm does not confirm, and what was not tested.

    Args:
        tests: Records of `GateResult.tests`.
        heads: All of the models', gated or not.
        level: Of the intervals.
    """
    found = [
        f"{moved(test, level)}: likely by itself ({chance(test['p'])}), not after allowing for {_tested(tests)} "
        f"tests ({chance(test['p_holm'])})."
        for test in sorted((test for test in tests if test["outcome"] == "warning"), key=lambda test: test["p"])
    ]
    found += [
        f"{where(test)} is not judged on {_label(test)}: {test['reason']}."
        for test in tests
        if test["overall"] and test["reason"] is not None
    ]
    gated = {test["head"] for test in tests}
    free = [head for head in heads if head not in gated]
    if free:
        found.append(f"Not gated: {join(free)}.")
    untested = [test for test in tests if test["outcome"] == "not tested"]
    if untested:
        places = list(dict.fromkeys(where(test) for test in untested))
        shown = join(places[:NAMED]) if len(places) <= NAMED else f"{', '.join(places[:NAMED])}, ..."
        count = f"{len(untested)} of {len(tests)} lines"
        found.append(f"Not tested: {count}, for want of rows, positives or negatives ({shown}).")
    return found


def where(test: Test) -> str:
    """The head, and the slice if it is one: "save in platform US".

    >>> where({"head": "save", "column": "platform", "slice": "US", "overall": False})
    'save in platform US'
    """
    return str(test["head"]) if test["overall"] else f"{test['head']} in {test['column']} {test['slice']}"


def percent(share: float) -> str:
    """A share with two digits that count: "14 %", "0.3 %".

    >>> percent(0.1428), percent(0.003), percent(0.02), percent(0.995), percent(12.344)
    ('14 %', '0.3 %', '2 %', '99.5 %', '1,234 %')
    """
    size = abs(100.0 * share) if abs(share) >= NOTHING else 0.0
    if size >= 99.95 or (size >= 9.95 and abs(size - round(size)) < 0.25):
        return f"{size:,.0f} %"
    return f"{size:.{3 if size >= 95 else 2}g} %"


def signed(share: float) -> str:
    """`percent` with its sign.

    >>> signed(-0.03), signed(0.5)
    ('-3 %', '+50 %')
    """
    if abs(share) < NOTHING:
        return "±0 %"
    return f"{'-' if share < 0.0 else '+'}{percent(share)}"


def join(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _regression(falls: Sequence[Test], tested: int, level: float) -> str:
    worst, *others = sorted(falls, key=lambda test: (not test["overall"], test["p_holm"], test["change"] or 0.0))
    many = f" after allowing for {tested} tests" if tested > 1 else ""
    sentence = f"Regression: {moved(worst, level)}, {_asked(worst)} ({chance(worst['p_holm'])}{many})"
    if others:
        named = [f"{where(test)} ({_label(test)}{_by(test)})" for test in others[:NAMED]]
        more = len(others) - NAMED
        sentence += f"; also {join([*named, f'{more} more'] if more > 0 else named)}"
    return f"{sentence}."


def _pass(overall: Sequence[Test], heads: Sequence[str], level: float) -> str:
    groups: dict[tuple[str, float], list[str]] = {}
    for test in overall:
        groups.setdefault((test["metric"], test["tolerance"]), []).append(test["head"])
    parts = [
        f"{_kept(metric, share)} on {'every head' if set(gated) == set(heads) else join(gated)}"
        for (metric, share), gated in groups.items()
    ]
    return f"Pass: {join(parts)}, by the lower ends of the {percent(level)} intervals."


def _inconclusive(overall: Sequence[Test], requests: int, level: float) -> str:
    judged = [test for test in overall if test["reason"] is None and test["outcome"] != "holds"]
    if not judged:
        lacking = [
            f"{where(test)} ({_label(test)}): {test['reason']}" for test in overall if test["reason"] is not None
        ]
        if len(lacking) == len(overall):
            return f"Inconclusive: no head can be judged: {'; '.join(lacking)}."
        return f"Inconclusive: all that can be judged holds, but some heads cannot be judged: {'; '.join(lacking)}."
    worst = min(judged, key=lambda test: test["d"] / test["se"] if test["se"] else -math.inf)
    kind = metric_kind(worst["metric"])
    if worst["detectable_share"] is None:
        reach = f"{format_number(worst['detectable'])} above the {'floor' if kind.higher_is_better else 'limit'}"
    else:
        reach = f"a {'fall' if kind.higher_is_better else 'rise'} of {percent(worst['detectable_share'])} or more"
    if kind.higher_is_better and (worst["detectable_share"] or 0.0) >= 1.0:
        reach = "a loss of nearly all of it"
    seen = f"Inconclusive: {moved(worst, level)}, {_asked(worst)}"
    return f"{seen}; with {requests:,} requests only {reach} would be found in 4 of 5 cases. {_needed(worst)}"


def _needed(test: Test) -> str:
    """Roughly how many times more requests would decide, if what is seen is what there is."""
    half = test["d"] - test["low"]
    times = (half / abs(test["d"])) ** 2 if test["d"] else math.inf
    if times > MOST_TIMES:
        return "What was seen lies so close to what is allowed that hardly any number of requests would decide."
    if times < 1.1:  # below 1 it is decided by itself: only the correction for many tests stands in the way
        return "A few more requests would decide."
    size = f"{times:.1f}" if times < 10 else f"{times:.0f}"
    return f"If the true change is what was seen, about {size} times as many requests would decide."


def moved(test: Test, level: float) -> str:
    """What happened to the metric: "save in platform US lost 14 % of its PR-AUC (0.1200 -> 0.1030)"."""
    values = f"{format_number(test['baseline'])} -> {format_number(test['candidate'])}"
    if test["metric"] == "ratio" and test["candidate"] == 0.0:
        return f"{where(test)} predicts nothing: predicted / observed {values}"
    if test["metric"] == "ratio":
        return f"{where(test)} has predicted / observed {values}"
    kind, change = metric_kind(test["metric"]), test["change"]
    if change is None:
        return f"{where(test)} has {kind.label} {values}"
    numbers = f"({values})"
    if test["change_low"] is not None:
        ends = sorted(_risen(test, end) for end in ("change_low", "change_high"))
        numbers = f"({values}; {percent(level)} interval {signed(ends[0])} to {signed(ends[1])})"
    if abs(change) < NOTHING:
        return f"{where(test)} kept its {kind.label} {numbers}"
    if kind.higher_is_better:
        return f"{where(test)} {'lost' if change < 0.0 else 'gained'} {percent(change)} of its {kind.label} {numbers}"
    return f"{where(test)}: {kind.label} {'rose' if change < 0.0 else 'fell'} by {percent(change)} {numbers}"


def _by(test: Test) -> str:
    """How far the metric itself moved, "" where that is no share."""
    return "" if test["change"] is None else f" {signed(_risen(test, 'change'))}"


def _risen(test: Test, name: str) -> float:
    """The metric's own rise: of a loss the opposite of its change for the better."""
    return float(test[name]) if metric_kind(test["metric"]).higher_is_better else -float(test[name])


def _asked(test: Test) -> str:
    """What the tolerance allows."""
    kind, slack = metric_kind(test["metric"]), 1.0 - test["tolerance"]
    if kind.name == "ratio":
        return f"where {percent(1.0 + slack)} of production's |log ratio| is allowed"
    worse, better = ("fall", "rise") if kind.higher_is_better else ("rise", "fall")
    if slack == 0.0:
        return f"where no {worse} is allowed"
    return (
        f"where a {worse if slack > 0.0 else better} of {percent(slack)} is {'allowed' if slack > 0.0 else 'asked for'}"
    )


def _kept(metric: str, share: float) -> str:
    kind = metric_kind(metric)
    if kind.higher_is_better:
        return f"at least {percent(share)} of production's {kind.label} is kept"
    name = "|log predicted / observed|" if kind.name == "ratio" else kind.label
    return f"{name} is at most {percent(2.0 - share)} of production's"


def _label(test: Test) -> str:
    return metric_kind(test["metric"]).label


def _tested(tests: Sequence[Test]) -> int:
    return sum(test["p"] is not None for test in tests)
