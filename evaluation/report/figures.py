"""The report's pictures, drawn from its metrics alone: what is in metrics.json can be drawn again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evaluation.calibration.cumulative_figure import cumulative_figure
from evaluation.calibration.segments_figure import segments_figure
from evaluation.calibration.slices_figure import calibration_figure
from evaluation.comparison.comparison_figure import comparison_figure
from evaluation.metrics_json import records_table
from evaluation.reliability_figure import reliability_figure
from evaluation.report.words import short_name
from evaluation.slicing.sliced_figure import sliced_figure
from evaluation.svg import BLUE, GRID, INK, MUTED

WORDS = ("head", "stage", "slice", "reason", "column", "metric", "sentence", "rejected", "flagged")
# a colour of the picture -> the page's own, which the dark scheme changes
THEME = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    BLUE: "--blue",
    "#ffffff": "--paper",
}


@dataclass(frozen=True)
class Figure:
    """A picture of the report.

    Attributes:
        section: Where it stands: "comparison", "slices", "calibration", "cumulative", "reliability", "segments",
            "utility", or "more" for the end of the page.
        title: Its heading.
        caption: One or two sentences that say how to read it.
        svg: One `<svg>` element.
    """

    section: str
    title: str
    caption: str
    svg: str


def evaluation_figures(metrics: Mapping[str, Any]) -> list[Figure]:
    """The pictures of an evaluation.

    Args:
        metrics: `evaluate_predictions(...).metrics`, or metrics.json read back.
    """
    return [*_comparison(metrics), *_slices(metrics), *_calibration(metrics), *_utility(metrics)]


def themed(svg: str) -> str:
    """A picture in the page's ink, paper and blue, in the dark scheme dark, which says how wide it was drawn.

    >>> themed('<path style="stroke: #222222"/>')
    '<path style="stroke: var(--ink, #222222)"/>'
    """
    pattern = "|".join(re.escape(colour) for colour in THEME)
    known = {colour.lower(): name for colour, name in THEME.items()}
    svg = re.sub(r"max-width:([0-9.]+pt)", r"\g<0>;--drawn:\1", svg, count=1)  # no phone needs it larger than that
    return re.sub(
        rf"(?<=: )({pattern})\b",
        lambda found: f"var({known[found[0].lower()]}, {found[0]})",
        svg,
        flags=re.IGNORECASE,
    )


def _comparison(metrics: Mapping[str, Any]) -> list[Figure]:
    svg = None if metrics["gate"] is None else comparison_figure(metrics["gate"]["tests"])
    if svg is None:
        return []
    return [
        Figure(
            "comparison",
            f"Change against {short_name(metrics['baseline'])}",
            "Each mark is a head, or smaller one of the five slices of it that are likeliest to have fallen, with the "
            "interval of its distance to the tick, moved to the change; the tick is the least that must remain. A mark "
            "left of its tick has fallen by more than is allowed, and counts where its interval says so too. An arrow "
            "at the edge is further off than 100 %.",
            svg,
        )
    ]


def _slices(metrics: Mapping[str, Any]) -> list[Figure]:
    if not metrics["slices"]:
        return []
    table = _table(metrics["slices"])
    table = table[table["metric"] == "auc"]
    if not table["value"].notna().any():
        return []
    overall = {head: item["auc"] for head, item in metrics["heads"].items()}
    return [
        Figure(
            "slices",
            "AUC by slice",
            "One mark per slice with its 95 % interval; the dashed line and grey band are the head over all rows. "
            "Slices without positives have no mark.",
            sliced_figure(table, overall),
        )
    ]


def _calibration(metrics: Mapping[str, Any]) -> list[Figure]:
    figures = []
    calibration = _table(metrics["calibration"])
    if (calibration["ratio"] > 0.0).any():
        figures.append(
            Figure(
                "calibration",
                "Predicted / observed by slice of p_any",
                "One mark per stage with its 95 % interval; the grey band is within 5 %. A correction that is wrong "
                "but recalibrated sits at 1 under “all” and slopes across the slices.",
                calibration_figure(calibration),
            )
        )
    tests = metrics["calibration_tests"]
    cumulative = cumulative_figure(_table(tests), _table(metrics["calibration_curves"])) if tests else None
    if cumulative is not None:
        figures.append(
            Figure(
                "cumulative",
                "What happened minus what was predicted, added up",
                "From the lowest prediction (left) to the highest: where the curve climbs the model predicts too "
                "little, where it falls too much. A curve that spans more than the height of the grey band, from its "
                "lowest point to its highest, is more than chance explains in 19 of 20 cases, taking the head by "
                "itself. Red is what remains after correction for the number of heads (Holm), as in the table.",
                cumulative,
            )
        )
    segments = segments_figure(_table(metrics["worst_segments"])) if metrics["worst_segments"] else None
    if segments is not None:
        figures.append(
            Figure(
                "segments",
                "Predicted / observed in the slices that are surest to be off",
                "Each mark is one head in one slice with its 95 % interval, in the order of the table below; the grey "
                "band is within 5 %. Filled diamonds are off beyond what chance explains in this many slices.",
                segments,
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
    return figures


def _utility(metrics: Mapping[str, Any]) -> list[Figure]:
    utility = metrics.get("utility")
    if not utility or not utility["reliability"]:
        return []
    named = {"head": "utility", "stage": "utility"}
    return [
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
    ]


def _table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return records_table(records, words=WORDS)
