"""report.html of `galleryrank simulate`: one self-contained page from metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.html_page import render_html
from evaluation.marketplace.lift_figure import lift_figure
from evaluation.marketplace.policies_figure import policies_figure
from evaluation.metrics_json import records_table, write_whole


def render_simulation(metrics: Mapping[str, Any]) -> str:
    """The page; every number in it stands in `metrics`, and the pictures are drawn from them.

    Args:
        metrics: metrics.json of a simulation: title, lead, summary, meta, notes, and `experiments` (of an A/B: title,
            treatment, control, lifts) or `policies` and `groups` (of rounds).

    Returns:
        One HTML document.
    """
    from markupsafe import Markup

    experiments = [
        {**e, "figure": Markup(lift_figure(_numbers(e["lifts"]), name=f"lifts{i}")), "lines": _by_head(e["lifts"])}
        for i, e in enumerate(metrics.get("experiments", []))
    ]
    policies = metrics.get("policies", [])
    figure = Markup(policies_figure(_numbers(policies))) if policies else None
    return render_html(
        "evaluation.marketplace", "simulation.html.j2", metrics=metrics, experiments=experiments,
        policies_figure=figure, policies=policies, groups=metrics.get("groups", []), heads=metrics.get("heads", []),
    )  # fmt: skip


def write_simulation(path: str | Path, metrics: Mapping[str, Any]) -> Path:
    """`render_simulation` written to `path` in one step."""
    return write_whole(path, render_simulation(metrics))


def _numbers(records: list[Mapping[str, Any]]) -> pd.DataFrame:
    return records_table(records, words=("head", "measure", "verdict", "policy"))


def _by_head(records: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Table 1 of the article has a line per engagement: propensity and volume side by side."""
    lines: dict[str, dict[str, Any]] = {}
    for record in records:
        lines.setdefault(record["head"], {"head": record["head"]})[record["measure"]] = record
    return list(lines.values())
