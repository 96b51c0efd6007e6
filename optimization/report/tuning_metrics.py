"""The metrics of a tuning study as metrics.json holds them; the layout stands at the head of `tuning_report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.metrics_json import jsonable
from optimization.report.tuning_words import objective_words, order_sentence, sensitivity_sentence, weights_words
from optimization.sensitivity import contributions, sensitivity
from optimization.verdict import HAND, TUNED, candidates, judge
from optimization.weight_diff import Weights, as_utility, diff_weights, order_change

if TYPE_CHECKING:
    from optimization.score_table import ScoreTable
    from optimization.tuning import Tuning

CHANGE = 0.1  # "what a 10 % change does"


def tuning_metrics(
    tuning: Tuning,
    table: ScoreTable,
    test: ScoreTable | None = None,
    *,
    more: Mapping[str, Weights] | None = None,
    slices: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Judge a study and lay it out for `write_metrics_json` and `write_tuning_report`.

    Args:
        tuning: What `tune` found on `table`; the baseline of its guardrails are the "hand-picked" weights.
        table: The rows it was tuned on.
        test: Rows that nobody tuned on, for the verdict and the sensitivity. Without them there is no verdict, and the
            sensitivity is that of the tuning rows.
        more: Further weights to judge, by name.
        slices: Of `tuning_slices`, for the article's figure 4.
        meta: What the page shows of the run: name -> value.
        notes: Further sentences for the end of the page.

    Raises:
        InputError: as `judge`, with the weights of `more`.
    """
    rails, found = tuning.guardrails, tuning.to_dict()
    signs = dict(zip(table.heads, table.signs))
    hand, tuned = as_utility(rails.baseline), tuning.utility
    sets = candidates(tuned, hand, signs) | {name: as_utility(weights) for name, weights in (more or {}).items()}
    verdict = None if test is None else judge(test, sets, rails, objective=tuning.objective, metric=tuning.metric)
    judged, shown = table if test is None else test, hand if tuned is None else tuned
    effects = jsonable(sensitivity(judged, shown, metric=tuning.metric, change=CHANGE))
    order = None if tuned is None else order_change(judged, hand, tuned).to_dict()
    scaled = {  # to 15 digits: a weight written as 0.3 stays 0.3
        name: {head: float(f"{weight:.15g}") for head, weight in utility.scaled(rails.total).weights.items()}
        for name, utility in sets.items()
    }
    if tuned is None:
        summary = list(tuning.infeasible_sentences)
    else:
        summary = [] if verdict is None else verdict.sentences()
        summary.append(f"Tuned weights: {weights_words(tuned.weights)}; {HAND}: {weights_words(hand.weights)}.")
    summary += tuning.sentences()
    summary += [order_sentence(order, (HAND, TUNED))] if order else []
    change = sensitivity_sentence(effects, tuning.objective)
    return {
        "report": "tuning",
        "meta": jsonable(meta or {}),
        "summary": summary + ([change] if change else []),
        "notes": list(notes),
        "metric": found["metric"],
        "objective": found["objective"],
        "signs": signs,
        "weights": {name: {head: weights.get(head, 0.0) for head in signs} for name, weights in scaled.items()},
        "diff": [] if tuned is None else jsonable(diff_weights(hand, tuned, ("old", "new"))),
        "order": order,
        "guardrails": {"total": rails.total, "margin": rails.margin, "rules": _rules(tuning)},
        "best": found["best"],
        "infeasible": found["infeasible"],
        "binding": found["binding"],
        "verdict": None if verdict is None else verdict.to_dict(),
        "sensitivity": {
            "change": CHANGE,
            "rows": judged.name,
            "contributions": jsonable(contributions(judged, shown)),
            "effects": effects,
        },
        "convergence": found["convergence"],
        "pareto": found["pareto"],
        "slices": None if slices is None else jsonable(slices),
        "trials": found["trials"],
        "timing": found["timing"],
    }


def tuning_slices(tuning: Tuning, *, points: int = 41, seed: int = 0) -> dict[str, Any] | None:
    """Figure 4 of [Pinterest 2020] for every weight, through the best trial: what Ax's model believes in the end.

    Fits the Gaussian process once more, in seconds, so it is asked for and not part of `tuning_metrics`.

    Args:
        tuning: A study.
        points: Points per line.
        seed: Of the acquisition's samples.

    Returns:
        label (the words of the vertical axis), records (`ax_slices.slices`) and observations (head, share, value,
        best); None where Ax knew fewer than two trials.
    """
    from optimization.search.ax_slices import slices

    known = tuning.observations
    if len(known) < 2:
        return None
    name = tuning.objectives[0]  # of several objectives the first
    head = name.removeprefix("signed_")
    what = {head: float(tuning.guardrails.signs[head])} if head != name else tuning.objective
    best = np.asarray(known[0].shares if tuning.best is None else tuning.best.shares)
    table = slices(
        tuning.space, known, objective=name, constraints=tuning.constraints, at=best, points=points, seed=seed
    )
    observations = [
        {"head": head, "share": float(share), "value": float(point.values[name][0])}
        | {"best": bool(tuning.best is not None and np.array_equal(point.shares, best))}
        for point in known
        for head, share in zip(tuning.space.heads, np.asarray(point.shares))
    ]
    label = objective_words(tuning.label, what) if len(what) == 1 else "objective"
    return jsonable({"label": label, "records": table, "observations": observations})


def _rules(tuning: Tuning) -> list[dict[str, Any]]:
    """The guardrails head by head, with what they ask for on the tuning rows and what the best trial has."""
    rails, baseline, best = tuning.guardrails, tuning.baseline, tuning.best
    rules = []
    for head in rails.heads:
        low, high = rails.bounds.get(head, (0.0, 1.0))
        floor = rails.floors.get(head)
        rules.append(
            {"head": head, "sign": rails.signs[head], "low": float(low), "high": float(high)}
            | {"floor": None if floor is None else float(floor)}
            | {"baseline": baseline.values[head], "required": None if floor is None else floor * baseline.values[head]}
            | {"value": None if best is None else best.values[head]}
            | {"slack": None if best is None else best.slacks.get(head)}
        )
    return jsonable(rules)
