"""An experiment in rounds in words and tables: where it stands, which weights are best, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.comparison.paired import BETTER, UNDECIDED, verdict
from evaluation.estimate import Z95, normal_interval
from evaluation.formatting import format_interval, format_number
from evaluation.metrics_json import jsonable
from optimization.online.model import Arms, Posterior, choose, expected_lifts, readings
from optimization.online.numbers import CORRECTED, KNOWN, NEW
from optimization.online.store import CONTROL, RoundState


@dataclass(frozen=True)
class RoundsStatus:
    """Where an experiment stands.

    Attributes:
        rounds: Rounds proposed so far.
        waiting: Group to the metrics that the open round waits for; empty when the next round can be proposed.
        groups: Every group: group, round, kind, state ("measured", "waiting", "given up", "without control": of its
            round, so that it counts for nothing), one weight per head.
        readings: Every number beside its round's control, see `model.readings`.
        arms: Every distinct weight vector with numbers, the baseline first: groups, one weight per head, lift, se, low,
            high (95 %), low_all, high_all (95 % for all comparisons together, Bonferroni), expected (the posterior
            mean), feasible, and a slack and its se per constraint. Lifts count upwards as better.
        best: None, or what is known of the best vector: groups, weights, control (whether it is the baseline), lift,
            expected, verdict, slacks.
        sentences: The same for people.
    """

    rounds: int
    waiting: dict[str, list[str]]
    groups: pd.DataFrame
    readings: pd.DataFrame
    arms: pd.DataFrame
    best: dict[str, Any] | None
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; NaN becomes None."""
        return dict(jsonable({name: getattr(self, name) for name in self.__dataclass_fields__}))


def describe(state: RoundState, posterior: Posterior) -> RoundsStatus:
    """The status of an experiment; fits the model once when anything was measured."""
    arms = Arms.of(state)
    means = expected_lifts(arms, state, posterior)
    chosen = choose(arms, means)
    waiting = state.waiting()
    groups = state.frame()
    groups.insert(3, "state", [_word(state, name) for name in groups["group"]])
    table = _arm_table(state, arms, means)
    best = None if chosen is None else _best(state, arms, table, chosen)
    sentences = (*_progress(state, waiting), *_verdict(state, arms, table, chosen))
    return RoundsStatus(state.rounds, waiting, groups, readings(state), table, best, sentences)


def _word(state: RoundState, name: str) -> str:
    """How far a group is."""
    if name in {group.name for group in state.measured()}:
        return "measured"
    if name in state.waiting():
        return "waiting"
    group = next(group for group in state.groups if group.name == name)
    return "given up" if state.lacking(group) else "without control"


def ingested_words(table: pd.DataFrame, state: RoundState) -> list[str]:
    """What an ingest did, and what is still missing."""
    counts = table["state"].value_counts()
    done = [f"{counts[word]} {word}" for word in (NEW, CORRECTED, KNOWN) if word in counts]
    nothing = " Nothing has changed." if set(table["state"]) <= {KNOWN} else ""
    count = f"{len(table)} number{'s' if len(table) != 1 else ''}"
    return [f"{count}: {', '.join(done)}.{nothing}", *_progress(state, state.waiting())]


def _arm_table(state: RoundState, arms: Arms, means: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"groups": [", ".join(names) or CONTROL for names in arms.groups]})
    for column, head in enumerate(state.design.heads):
        table[head] = arms.weights[:, column]
    table = table.assign(
        lift=arms.lifts, se=arms.errors, low=arms.lifts - Z95 * arms.errors, high=arms.lifts + Z95 * arms.errors,
        low_all=arms.lifts - arms.critical * arms.errors, high_all=arms.lifts + arms.critical * arms.errors,
        expected=means, feasible=arms.feasible,
    )  # fmt: skip
    for column, rule in enumerate(state.design.rules):
        table[f"slack of {rule}"] = arms.slacks[:, column]
        table[f"se of {rule}"] = arms.slack_errors[:, column]
    return table if not np.isnan(arms.control) else table.iloc[:0]


def _best(state: RoundState, arms: Arms, table: pd.DataFrame, chosen: int) -> dict[str, Any]:
    row = table.iloc[chosen]
    numbers = {name: float(row[name]) for name in ("lift", "se", "low", "high", "low_all", "high_all", "expected")}
    return {
        "groups": list(arms.groups[chosen]),
        "control": chosen == 0,
        "weights": dict(zip(state.design.heads, arms.weights[chosen].tolist())),
        **numbers,
        "verdict": None if chosen == 0 else verdict(numbers["low_all"], numbers["high_all"]),
        "comparisons": arms.compared,
        "constraints": [
            {
                "constraint": str(rule),
                "slack": slack,
                "se": error,
                "decided": bool(normal_interval(slack, error)[0] >= 0),
            }
            for rule, slack, error in zip(
                state.design.rules, arms.slacks[chosen].tolist(), arms.slack_errors[chosen].tolist()
            )
        ],
    }


def _progress(state: RoundState, waiting: dict[str, list[str]]) -> list[str]:
    if not state.rounds:
        return ["No round has been proposed yet."]
    if not waiting:
        return [f"Round {state.rounds} is complete: the next one can be proposed."]
    lacking = "; ".join(f"{group} lacks {', '.join(metrics)}" for group, metrics in waiting.items())
    return [f"Round {state.rounds} waits for numbers: {lacking}."]


def _verdict(state: RoundState, arms: Arms, table: pd.DataFrame, chosen: int | None) -> list[str]:
    design = state.design
    if np.isnan(arms.control):
        return ["Nothing can be said yet: no control group has all its numbers."]
    if not arms.compared:
        return ["Nothing can be said yet: no treatment group has all its numbers."]
    count = f"{arms.compared} weight vector{'s' if arms.compared > 1 else ''} measured"
    if chosen is None:
        return [f"None of the {count}, nor the control, meets all constraints: {_binding(arms, design.rules)}."]
    if chosen == 0:
        return [
            f"None of the {count} is expected to do better than the control and meets all constraints: "
            "keep the weights that are in production.",
            *_constraint_words(state, arms, 0),
        ]
    row = table.iloc[chosen]
    raised = row["lift"] if design.maximise else -row["lift"]
    word = verdict(row["low_all"], row["high_all"])
    said = {BETTER: "better than the control", UNDECIDED: "not shown to be better than the control"}
    together = (
        f"{format_interval(row['low_all'], row['high_all'], signed=True)} allowing for {arms.compared} comparisons"
        if arms.compared > 1
        else ""
    )
    share = 100 * raised / abs(arms.control) if arms.control else 0.0
    percent = f" ({share:+,.0f} %)" if abs(share) >= 100 else f" ({share:+.2g} %)" if arms.control else ""
    sentences = [
        f"Best of {count}: {' = '.join(arms.groups[chosen])}. Its {design.metric} is {format_number(abs(row['lift']))} "
        f"{'above' if raised >= 0 else 'below'} the control's{percent}; 95 % interval of the gain "
        f"{format_interval(row['low'], row['high'], signed=True)}{', ' + together if together else ''}: "
        f"{said.get(str(word), 'worse than the control')}.",
        f"The model of all groups, which discounts luck, expects {format_number(row['expected'], signed=True)} of it.",
    ]
    if not np.isnan(arms.again[chosen]):
        low, high = normal_interval(arms.again[chosen], arms.again_errors[chosen])
        sentences.append(
            f"Measured again after it had been chosen: {format_number(arms.again[chosen], signed=True)} "
            f"{format_interval(low, high, signed=True)}; to this the choice has added nothing."
        )
    broken = [f"`{rule}`" for rule, slack in zip(design.rules, arms.slacks[0]) if slack < 0]
    if broken:
        sentences.append(f"The control breaks {' and '.join(broken)}, so keeping it was not among the choices.")
    return [*sentences, *_constraint_words(state, arms, chosen)]


def _constraint_words(state: RoundState, arms: Arms, arm: int) -> list[str]:
    sentences = []
    for column, rule in enumerate(state.design.rules):
        slack, error = float(arms.slacks[arm, column]), float(arms.slack_errors[arm, column])
        low, high = normal_interval(slack, error)
        sure = "" if low >= 0 else "; the interval of the slack holds 0, so a breach is not excluded"
        sentences.append(
            f"`{rule}` holds there by {format_number(slack)} {format_interval(low, high, signed=True)}{sure}."
        )
    return sentences


def _binding(arms: Arms, rules: Sequence[object]) -> str:
    """The constraint that stands in the way: the one that fails at the most vectors."""
    broken = (arms.slacks < 0.0).sum(axis=0)
    worst = int(np.argmax(broken))
    nearest = int(np.argmax(arms.slacks[:, worst]))
    short = format_number(float(-arms.slacks[nearest, worst]))
    where = ", ".join(arms.groups[nearest]) or "the control"
    if broken[worst] == len(arms.slacks):
        return f"`{rules[worst]}` fails at all of them (the nearest, {where}, lacks {short})"
    return f"`{rules[worst]}` fails at {broken[worst]} of {len(arms.slacks)}, the others break another"
