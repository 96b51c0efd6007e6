"""metrics.json and report.html of a tuning study: which weights, what they cost, and whether they hold.

The layout of metrics.json (every table is a list of records, every missing number None):

    report        "tuning"
    meta          name -> value, shown as tiles: seed, data, model, versions
    summary       sentences; the first ones are the verdict
    notes         sentences of the caller
    metric        {name "pr_auc", label "PR-AUC"}
    objective     head -> business value; one head with 1 = that head's metric
    signs         head -> 1 or -1
    weights       "tuned" (absent when nothing is feasible), "hand-picked", "equal", "only HEAD" -> head -> weight
    diff          head, old, new, difference, ratio: the baseline's weights and the tuned ones, scaled to sum |w| = 1
    order         requests, top_changed, pairs_swapped from the old weights to the new; None without them
    guardrails    total, margin (in paired standard errors), rules: head, sign (-1: unwanted, so that c_h is a ceiling),
                  low, high (bounds of |w| as shares), floor (c_h; None where the head has none), and on the tuning rows
                  baseline (b_h), required (c_h b_h), value (of the best trial), slack (what is left to required, less
                  the margin)
    best          index of the best trial: observed, feasible; None when there is none
    infeasible    why there is none, naming the guardrail that binds; else None
    binding       the guardrails with the least room at the best trial
    verdict       `Verdict.to_dict()` on the test rows; None when there are none
    sensitivity   change (0.1), rows (which), contributions and effects: the tables of `optimization.sensitivity`
    convergence   phase, evaluations, best: best feasible objective so far, per search
    pareto        heads (the objectives whose frontier it is), frontier (indices of trials)
    slices        figure 4: label, records (head, share, mean, sd, acquisition) and observations (head, share, value,
                  best); None without a model-based search
    trials        index and what the journal holds of each: phase, number, shares, weights, values, errors, objective,
                  objective_error, slacks, slack_errors (all by head), feasible, seconds {proposing, evaluating}
    timing        seconds: proposing and evaluating in all, proposing_ax and evaluating_ax
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.html_page import render_html
from evaluation.metrics_json import records_table, write_whole
from evaluation.report import Figure
from optimization.report.convergence_figure import convergence_figure
from optimization.report.pareto_figure import pareto_figure
from optimization.report.slice_figure import slice_figure
from optimization.report.tuning_words import PHASES, objective_words
from optimization.report.verdict_figure import verdict_figure
from ranking.utility import Utility

WORDS = ("candidate", "head", "changed", "phase", "verdict", "mark", "trial", "best", "feasible", "combined", "holds")


def tuning_figures(metrics: Mapping[str, Any]) -> list[Figure]:
    """The pictures of a study, drawn from its metrics alone.

    Args:
        metrics: Of `tuning_metrics`, or metrics.json read back.
    """
    label = metrics["metric"]["label"]
    # at an axis there is no room for a formula; it stands at the head of the page
    objective = objective_words(label, metrics["objective"]) if len(metrics["objective"]) == 1 else "objective"
    rules = {rule["head"]: rule for rule in metrics["guardrails"]["rules"]}
    ceilings = _ceilings(metrics)
    side = "Left of the dashed line" + (f" (right of it for {', '.join(ceilings)})" if ceilings else "")
    figures = []
    verdict = metrics["verdict"]
    if verdict:
        values = _table(verdict["values"])
        if len(verdict["objective"]) == 1:
            values = values[~values["combined"].astype(bool)]  # it would repeat its head's panel
        close = [name for name in verdict["weights"] if not name.startswith("only ")]
        figures.append(
            Figure(
                "verdict",
                "Differences on held-out rows",
                f"{label} of each head, minus that of the {verdict['reference']} weights, with 95 % intervals: blue is "
                f"better, orange worse, grey not told apart. {side} the guardrail is broken. Weights far off are an "
                "arrow with their number.",
                verdict_figure(values, _table(verdict["guardrails"]), reference=verdict["reference"], close=close),
            )
        )
    cloud = _cloud(metrics)
    if len(cloud):
        required = {head: rule["required"] for head, rule in rules.items() if rule["floor"] is not None}
        figures.append(
            Figure(
                "pareto",
                "What more of the objective costs",
                f"Every dot is one set of weights on the tuning rows: {objective} (up) against the {label} of another "
                f"head (across). {side} the guardrail is broken; a dot may break another head's, and is then a cross "
                "everywhere.",
                pareto_figure(cloud, required, labels=(label, objective)),
            )
        )
    convergence = _table(metrics["convergence"])
    if len(convergence) and convergence["best"].notna().any():
        phases = {phase: words for phase, words in PHASES.items() if phase in set(convergence["phase"])}
        figures.append(
            Figure(
                "convergence",
                "How fast each search finds it",
                "The best feasible set of weights after so many evaluations. A search that needs an expensive proposal "
                "per point must lie above the ones that do not.",
                convergence_figure(convergence, metrics["trials"][0]["objective"], labels=phases, objective=objective),
            )
        )
    slices = metrics["slices"]
    if slices:
        figures.append(
            Figure(
                "slices",
                "The model along each weight",
                "The article's figure 4 for every weight: one head's share moves (across), the others keep their "
                "proportions. The line is what the Gaussian process expects, the band two standard deviations; "
                "observed trials differ in the other weights too, so they need not lie on it. Below, where the "
                "search would look next.",
                slice_figure(_table(slices["records"]), _table(slices["observations"]), objective=slices["label"]),
            )
        )
    return figures


def render_tuning_report(
    metrics: Mapping[str, Any], figures: Sequence[Figure] | None = None, *, title: str = "Utility weights"
) -> str:
    """The report as HTML: styles and pictures inside, nothing fetched, every number as it stands in `metrics`.

    Args:
        metrics: Of `tuning_metrics`, or metrics.json read back.
        figures: The pictures, by section "verdict", "pareto", "convergence", "slices"; None draws `tuning_figures`.
        title: The page's title.

    Raises:
        ValueError: metrics of another report.
    """
    from markupsafe import Markup

    if metrics.get("report") != "tuning":
        raise ValueError(f"`metrics` must be those of a tuning study, got report {metrics.get('report')!r}")
    drawn = tuning_figures(metrics) if figures is None else list(figures)
    return render_html(
        "optimization.report",
        "tuning.html.j2",
        styles=("tuning.css.j2",),
        title=title,
        metrics=metrics,
        heads=list(metrics["signs"]),
        ceilings=_ceilings(metrics),
        objective=objective_words(metrics["metric"]["label"], metrics["objective"]),
        phases=PHASES,
        toml={name: Utility.from_mapping(weights).to_toml() for name, weights in metrics["weights"].items()},
        verdict=_by_candidate(metrics["verdict"]) if metrics["verdict"] else [],
        effects=_by_change(metrics["sensitivity"]["effects"]) if metrics["sensitivity"] else [],
        figures=[(figure, Markup(figure.svg)) for figure in drawn],
    )


def write_tuning_report(
    path: str | Path,
    metrics: Mapping[str, Any],
    figures: Sequence[Figure] | None = None,
    *,
    title: str = "Utility weights",
) -> Path:
    """`render_tuning_report` written to `path` in one step."""
    return write_whole(path, render_tuning_report(metrics, figures, title=title))


def _table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return records_table(records, words=WORDS)


def _ceilings(metrics: Mapping[str, Any]) -> list[str]:
    """The unwanted heads with a guardrail, which is broken above it."""
    return [rule["head"] for rule in metrics["guardrails"]["rules"] if rule["floor"] is not None and rule["sign"] < 0]


def _cloud(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """One row per trial and head other than the objective's own."""
    frontier = set(metrics["pareto"]["frontier"]) if metrics["pareto"] else set()
    records = []
    for trial in metrics["trials"]:
        mark = "frontier" if trial["index"] in frontier else None
        mark = "baseline" if trial["index"] == 0 else "best" if trial["index"] == metrics["best"] else mark
        for head, value in trial["values"].items():
            if metrics["objective"] != {head: 1.0}:
                records.append(
                    {"trial": trial["index"], "head": head, "value": value, "objective": trial["objective"]}
                    | {"feasible": trial["feasible"], "mark": mark}
                )
    return _table(records)


def _by_candidate(verdict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One block per candidate: its values by head, and its guardrails by head."""
    blocks: dict[str, dict[str, Any]] = {
        name: {"name": name, "weights": weights, "heads": {}, "combined": None, "guardrails": {}}
        for name, weights in verdict["weights"].items()
    }
    for record in verdict["values"]:
        block = blocks[record["candidate"]]
        if record["combined"]:
            block["combined"] = record
        else:
            block["heads"][record["head"]] = record
    for record in verdict["guardrails"]:
        blocks[record["candidate"]]["guardrails"][record["head"]] = record
    return list(blocks.values())


def _by_change(effects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per changed weight and factor, the heads side by side."""
    lines: dict[tuple[str, float], dict[str, Any]] = {}
    for record in effects:
        line = lines.setdefault((record["changed"], record["factor"]), {**record, "heads": {}})
        line["heads"][record["head"]] = record
    return list(lines.values())
