"""Why no trial of a study is feasible: the guardrail that cannot be kept, or those that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from evaluation.formatting import format_number
from optimization.guardrails import ROUNDING, Guardrails, limit_words
from optimization.trials import Trial

__all__ = ["infeasible_sentences"]


def infeasible_sentences(trials: Sequence[Trial], guardrails: Guardrails, label: str) -> tuple[str, ...]:
    """In words, from the slacks of all trials: a guardrail that none keeps, else a pair, else the worst of the best.

    Args:
        trials: None of them feasible; the first is the baseline.
        guardrails: What they had to satisfy.
        label: The metric, for people.
    """
    heads = list(trials[0].slacks)
    inside = [trial for trial in trials if set(guardrails.space().contains(list(trial.shares))) == {True}]
    slacks = np.array([[trial.slacks[head] for head in heads] for trial in inside]).reshape(len(inside), len(heads))
    if not slacks.size:
        return ("The weights in production break the bounds (S2), and nothing else was tried.",)
    required = {head: guardrails.floors[head] * trials[0].values[head] for head in heads}
    relative = slacks / np.array([required[head] or 1.0 for head in heads])
    kept = slacks >= -ROUNDING
    asked = {
        head: f"{head} ({limit_words(guardrails.signs[head])} {format_number(required[head])}, "
        f"{format_number(guardrails.floors[head])} of the baseline's {label}{_margin(guardrails, head)})"
        for head in heads
    }
    count = f"None of {format_number(len(trials))} trials is feasible"
    never = [index for index in range(len(heads)) if not kept[:, index].any()]
    if never:
        parts = []
        for index in never:
            nearest = inside[int(slacks[:, index].argmax())]
            parts.append(f"{asked[heads[index]]}; the nearest trial has {format_number(nearest.values[heads[index]])}")
        return f"{count}: no weights keep the guardrail of {', nor of '.join(parts)}.", *_without(inside, guardrails)
    pairs = [pair for pair in combinations(range(len(heads)), 2) if not kept[:, list(pair)].all(axis=1).any()]
    if pairs:
        worst = min(pairs, key=lambda pair: float(relative[:, list(pair)].min(axis=1).max()))
        both = " and ".join(asked[heads[index]] for index in worst)
        return f"{count}: each guardrail can be kept alone, but not both of {both}.", *_without(inside, guardrails)
    compromise = relative[int(relative.min(axis=1).argmax())]
    return (
        f"{count}: any two guardrails can be kept together, but not all; at the best compromise the one that breaks is "
        f"{asked[heads[int(compromise.argmin())]]}.",
        *_without(inside, guardrails),
    )


def _margin(guardrails: Guardrails, head: str) -> str:
    if not guardrails.margin:
        return ""
    side = "plus" if guardrails.signs[head] > 0 else "less"
    return f" {side} a margin of {format_number(guardrails.margin)} paired standard errors"


def _without(trials: Sequence[Trial], guardrails: Guardrails) -> tuple[str, ...]:
    """How many would be feasible without the margin: whether more rows would help, or only lower floors."""
    signs = {guardrails.signs[head] for head in guardrails.floors}
    remedy = " or ".join(words for sign, words in ((1, "lower a floor"), (-1, "raise a ceiling")) if sign in signs)
    if not guardrails.margin:
        return (f"{remedy.capitalize()}.",)
    count = sum(
        all(
            slack + guardrails.margin * trial.slack_errors.get(head, 0.0) >= -ROUNDING
            for head, slack in trial.slacks.items()
        )
        for trial in trials
    )
    if count:
        return (f"Without the margin {format_number(count)} would be: tune on more rows, or {remedy}.",)
    return (f"Without the margin none would be either: {remedy}.",)
