"""report.html of `galleryrank rounds status`: one self-contained page of where an experiment stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.comparison.paired import verdict
from evaluation.estimate import normal_interval
from evaluation.html_page import render_html
from evaluation.metrics_json import write_whole
from optimization.online.lift_figure import BEST, BROKEN, HOLDS, INCOMPLETE, lift_figure
from optimization.online.store import CONTROL
from ranking.utility import Utility

MEASURED = "measured"  # the state of a group that counts, see `RoundsStatus.groups`


def render_rounds(status: Mapping[str, Any], design: Mapping[str, Any], *, title: str = "Online rounds") -> str:
    """The page; every number in it stands in `status`, and the picture is drawn from them.

    Args:
        status: `RoundsStatus.to_dict()`.
        design: `RoundDesign.to_dict()`: heads, baseline, metric, maximise, constraints, record.
        title: The page's title.

    Returns:
        One HTML document.
    """
    from markupsafe import Markup

    lines = _lines(status, design)
    best = status["best"]
    return render_html(
        "optimization.online", "rounds.html.j2", title=title, status=status, design=design,
        heads=[name for name, _ in design["heads"]], lines=lines, arms=_arms(status, design), metrics=_metrics(design),
        figure=Markup(_figure(lines, design)),
        toml=None if best is None else Utility.from_mapping(best["weights"]).to_toml(),
    )  # fmt: skip


def write_rounds(
    path: str | Path, status: Mapping[str, Any], design: Mapping[str, Any], *, title: str = "Online rounds"
) -> Path:
    """`render_rounds` written to `path` in one step."""
    return write_whole(path, render_rounds(status, design, title=title))


def _metrics(design: Mapping[str, Any]) -> list[str]:
    """The metric to move first, then what the constraints and the records name."""
    limited = [rule.split(" >= ")[0].split(" <= ")[0] for rule in design["constraints"]]
    return list(dict.fromkeys([design["metric"], *limited, *design["record"]]))


def _lines(status: Mapping[str, Any], design: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every group with its numbers by metric, its mark, and the constraints that its weights break."""
    arms = {name: arm for arm in status["arms"] for name in arm["groups"].split(", ")}
    numbers: dict[str, dict[str, Any]] = {group["group"]: {} for group in status["groups"]}
    for reading in status["readings"]:
        numbers[reading["group"]][reading["metric"]] = reading
    best = [] if status["best"] is None else status["best"]["groups"]
    lines = []
    for group in status["groups"]:
        # a treatment with the weights of the control is one more control, and in no vector's list of groups
        arm = arms.get(group["group"], arms.get(CONTROL)) if group["state"] == MEASURED else None
        broken = [rule for rule in design["constraints"] if arm is not None and arm[f"slack of {rule}"] < 0]
        mark = INCOMPLETE if arm is None else BROKEN if broken else HOLDS
        mark = BEST if group["group"] in best else mark
        lines.append({**group, "numbers": numbers[group["group"]], "mark": mark, "broken": broken})
    return lines


def _arms(status: Mapping[str, Any], design: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The weight vectors compared, the best expected first, with their constraints side by side."""
    best = status["best"]
    arms = [
        {
            **arm,
            "control": number == 0,
            "verdict": None if number == 0 else verdict(arm["low_all"], arm["high_all"]),
            "best": best is not None and (", ".join(best["groups"]) or CONTROL) == arm["groups"],
            "rules": [_rule(rule, arm[f"slack of {rule}"], arm[f"se of {rule}"]) for rule in design["constraints"]],
        }
        for number, arm in enumerate(status["arms"])
    ]
    return sorted(arms, key=lambda arm: -float(arm["expected"]))


def _rule(rule: str, slack: float, error: float) -> dict[str, Any]:
    low, high = normal_interval(slack, error)
    return {"rule": rule, "slack": slack, "low": low, "high": high}


def _figure(lines: Sequence[Mapping[str, Any]], design: Mapping[str, Any]) -> str:
    """The picture; empty where no treatment group has a lift."""
    metric = design["metric"]
    treated = [line for line in lines if line["kind"] != CONTROL]
    rows = [(ln["group"], ln["round"], ln["mark"], ln["numbers"].get(metric, {})) for ln in treated]
    table = pd.DataFrame(
        [(group, number, mark, *(r.get(k) for k in ("lift", "low", "high"))) for group, number, mark, r in rows],
        columns=["group", "round", "mark", "lift", "low", "high"],
    ).astype({"lift": float, "low": float, "high": float})
    if not table["lift"].notna().any():
        return ""
    return lift_figure(table, metric=metric, maximise=design["maximise"])
