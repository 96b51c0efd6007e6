"""report.html: one self-contained page from metrics.json, readable offline by someone who was not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.calibration_figure import calibration_figure
from evaluation.html_page import render_html
from evaluation.metrics_json import records_table, write_whole
from evaluation.reliability_figure import reliability_figure


@dataclass(frozen=True)
class Figure:
    """A picture of the report.

    Attributes:
        section: Where it stands: "calibration", "reliability", "utility", or "more" for the end of the page.
        title: Its heading.
        caption: One or two sentences that say how to read it.
        svg: One `<svg>` element.
    """

    section: str
    title: str
    caption: str
    svg: str


def evaluation_figures(metrics: Mapping[str, Any]) -> list[Figure]:
    """The pictures of an evaluation, drawn from its metrics alone: what is in metrics.json can be drawn again.

    Args:
        metrics: `evaluate_predictions(...).metrics`, or metrics.json read back.
    """
    figures = []
    calibration = _table(metrics["calibration"])
    if (calibration["ratio"] > 0.0).any():
        figures.append(
            Figure(
                "calibration",
                "Predicted / observed by slice",
                "One mark per stage with its 95 % interval; the grey band is within 5 %. A correction that is wrong "
                "but recalibrated sits at 1 under “all” and slopes across the slices.",
                calibration_figure(calibration),
            )
        )
    bins = _table(metrics["reliability"])
    if len(bins):
        briers = {head: item["brier"]["value"] for head, item in metrics["heads"].items()}
        figures.append(
            Figure(
                "reliability",
                "Reliability per head",
                "Each point is a bin of equal weight: the mean prediction (across) and what then happened (up), on log "
                "axes; on the dashed line the two agree. The band is the 95 % interval. Below, where the "
                "predictions lie.",
                reliability_figure(bins, _table(metrics["histograms"]), briers),
            )
        )
    utility = metrics.get("utility")
    if utility and utility["reliability"]:
        named = {"head": "utility", "stage": "utility"}
        figures.append(
            Figure(
                "utility",
                "Reliability of the utility",
                "The score sum of w p (across) against the engagement that was realised, sum of w y (up), in bins of "
                "equal weight.",
                reliability_figure(
                    _table(utility["reliability"]).assign(**named),
                    _table(utility["histogram"]).assign(head="utility"),
                    {},
                    labels=("utility score", "realised weighted engagement"),
                    scale=utility["scale"],
                    name="utility",
                ),
            )
        )
    return figures


def render_report(
    metrics: Mapping[str, Any], figures: Sequence[Figure] | None = None, *, title: str = "Evaluation"
) -> str:
    """The report as HTML: styles and pictures inside, nothing fetched, every number as it stands in `metrics`.

    Args:
        metrics: `evaluate_predictions(...).metrics`, or metrics.json read back.
        figures: The pictures; None draws `evaluation_figures(metrics)`.
        title: The page's title.

    Returns:
        One HTML document.
    """
    from markupsafe import Markup

    drawn = evaluation_figures(metrics) if figures is None else list(figures)
    return render_html(
        "evaluation",
        "report.html.j2",
        title=title,
        metrics=metrics,
        ratios=_ratios(metrics),
        comparisons=_comparisons(metrics),
        figures=[(figure, Markup(figure.svg)) for figure in drawn],
        headline=(
            ("base_rate", "base rate"),
            ("ap", "PR-AUC"),
            ("auc", "AUC"),
            ("log_loss", "log loss"),
            ("normalised_entropy", "normalised entropy"),
            ("brier", "Brier"),
            ("ratio", "predicted / observed"),
        ),
    )


def write_report(
    path: str | Path,
    metrics: Mapping[str, Any],
    figures: Sequence[Figure] | None = None,
    *,
    title: str = "Evaluation",
) -> Path:
    """`render_report` written to `path` in one step."""
    return write_whole(path, render_report(metrics, figures, title=title))


def _table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return records_table(records, words=("head", "stage", "slice", "reason"))


def _ratios(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calibration records with the stages side by side: one line per head and slice."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for record in metrics["calibration"]:
        line = lines.setdefault((record["head"], record["slice"]), {**record, "stages": {}})
        line["stages"][record["stage"]] = record
    return list(lines.values())


def _comparisons(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One block per other model and per score of ours that it is compared with."""
    blocks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for name, records in metrics["comparisons"].items():
        for record in records:
            blocks.setdefault((name, record["by"]), []).append(record)
    return [{"name": name, "by": by, "records": records} for (name, by), records in blocks.items()]
