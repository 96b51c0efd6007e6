"""report.html of `galleryrank simulate`: one self-contained page from metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.formatting import format_interval, format_number
from evaluation.marketplace.lift_figure import lift_figure
from evaluation.marketplace.policies_figure import policies_figure
from evaluation.metrics_json import write_whole


def render_simulation(metrics: Mapping[str, Any]) -> str:
    """The page; every number in it stands in `metrics`, and the pictures are drawn from them.

    Args:
        metrics: metrics.json of a simulation: title, lead, summary, meta, notes, and `experiments` (of an A/B: title,
            treatment, control, lifts) or `policies` and `groups` (of rounds).

    Returns:
        One HTML document.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = (resources.files("evaluation") / "templates" / "report.css.j2").read_text(encoding="utf-8")
    template = (resources.files("evaluation.marketplace") / "templates" / "simulation.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": format_number, "interval": format_interval}
    experiments = [
        {**e, "figure": Markup(lift_figure(_numbers(e["lifts"]), name=f"lifts{i}")), "lines": _by_head(e["lifts"])}
        for i, e in enumerate(metrics.get("experiments", []))
    ]
    policies = metrics.get("policies", [])
    figure = Markup(policies_figure(_numbers(policies))) if policies else None
    return environment.from_string(template).render(
        style=Markup(style), metrics=metrics, experiments=experiments, policies_figure=figure, policies=policies,
        groups=metrics.get("groups", []), heads=metrics.get("heads", []),
    )  # fmt: skip


def write_simulation(path: str | Path, metrics: Mapping[str, Any]) -> Path:
    """`render_simulation` written to `path` in one step."""
    return write_whole(path, render_simulation(metrics))


def _numbers(records: list[Mapping[str, Any]]) -> pd.DataFrame:
    """JSON records as a table: None in a column of numbers is NaN again."""
    table = pd.DataFrame(list(records))
    words = ("head", "measure", "verdict", "policy")
    return table.assign(**{name: table[name].astype(float) for name in table.columns if name not in words})


def _by_head(records: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Table 1 of the article has a line per engagement: propensity and volume side by side."""
    lines: dict[str, dict[str, Any]] = {}
    for record in records:
        lines.setdefault(record["head"], {"head": record["head"]})[record["measure"]] = record
    return list(lines.values())
