"""Forest plot of a gate: how far each metric moved, with its interval, beside the least that must remain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluation.comparison.gate_words import signed, where
from evaluation.metric_kinds import metric_kind
from evaluation.svg import BLUE, GREEN, INK, MUTED, ORANGE, VERMILION, style, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLOURS = {"regression": VERMILION, "warning": ORANGE, "holds": GREEN, "undecided": BLUE}
MARKS = {"regression": "X", "warning": "D", "holds": "o", "undecided": "s"}  # told apart without colour too
LINE = 0.27  # inches
SLICES = 5  # of a head and metric that are drawn: those that speak against the candidate most
FURTHEST = 100.0  # per cent; a rare head in a small slice may change by thousands, and would flatten all others


def comparison_figure(tests: Sequence[Mapping[str, Any]], *, name: str = "comparison") -> str | None:
    """One line per head, and the slices that speak against the candidate most: change, interval, floor.

    Args:
        tests: Records of `GateResult.tests`. Lines without a change (a ratio, a metric that is undefined) and those
            that were not tested are left out, and so are all but five slices of a head; the table has them.
        name: Prefix of the ids inside the SVG.

    Returns:
        One `<svg>` element; None where there is no line to draw.
    """
    drawn = [test for test in tests if test["change"] is not None and test["change_low"] is not None]
    pairs = dict.fromkeys((test["metric"], test["head"]) for test in drawn)
    shown = [line for metric, head in pairs for line in tests_of(drawn, metric, head)]
    if not shown:
        return None
    heads = ", ".join(dict.fromkeys(str(test["head"]) for test in shown))
    worst = min(shown, key=lambda test: test["change"])
    description = (
        f"Change of each metric against the baseline with its interval, for {heads}; {len(shown)} lines. The lowest "
        f"is {where(worst)}, {metric_kind(worst['metric']).label}: {signed(worst['change'])}."
    )
    return svg_text(draw_comparison(shown), name, description)


def draw_comparison(tests: Sequence[Mapping[str, Any]]) -> Canvas:
    """`comparison_figure` as a matplotlib figure: a panel per metric; all tests have a change and its interval."""
    from matplotlib.figure import Figure as Canvas

    panels = [
        [line for head in dict.fromkeys(test["head"] for test in tests) for line in tests_of(tests, metric, head)]
        for metric in dict.fromkeys(test["metric"] for test in tests)
    ]
    heights = [len(panel) * LINE + 0.9 for panel in panels]
    with style():
        canvas = Canvas(figsize=(8.4, sum(heights) + 0.35), layout="constrained")
        axes = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, ax in zip(panels, axes):
            _panel(ax, panel)
        outcomes = [outcome for outcome in COLOURS if any(test["outcome"] == outcome for test in tests)]
        handles = [
            axes[0].plot([], [], MARKS[outcome], color=COLOURS[outcome], label=outcome)[0] for outcome in outcomes
        ]
        handles += axes[0].plot(
            [], [], "|", color=INK, markersize=11, markeredgewidth=1.6, label="least that must remain"
        )
        canvas.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return canvas


def tests_of(tests: Sequence[Mapping[str, Any]], metric: str, head: str) -> list[Mapping[str, Any]]:
    """A head's lines of one metric: all rows first, then the slices that are likeliest to have fallen."""
    own = [test for test in tests if test["metric"] == metric and test["head"] == head]
    slices = sorted((test for test in own if not test["overall"]), key=lambda test: test["p"])
    return [*(test for test in own if test["overall"]), *slices[:SLICES]]


def _panel(ax: Axes, tests: Sequence[Mapping[str, Any]]) -> None:
    kind = metric_kind(tests[0]["metric"])
    for place, test in enumerate(tests):
        large, colour = test["overall"], COLOURS[test["outcome"]]
        low, high, change = (100.0 * test[key] for key in ("change_low", "change_high", "change"))
        ends = [max(low, -FURTHEST), min(high, FURTHEST)]
        ax.plot(ends, [place, place], color=colour, linewidth=2.2 if large else 1.1, solid_capstyle="butt")
        mark = MARKS[test["outcome"]]
        if abs(change) > FURTHEST:  # an arrow at the edge: further than is drawn
            mark, change = (">", FURTHEST) if change > 0.0 else ("<", -FURTHEST)
        ax.plot(change, place, mark, color=colour, markersize=7 if large else 4.5, clip_on=False)
        ax.plot(100.0 * (test["tolerance"] - 1.0), place, "|", color=INK, markersize=11, markeredgewidth=1.6)
        if large and place:
            ax.axhline(place - 0.5, color=MUTED, linewidth=0.5)
    ax.axvline(0.0, color=MUTED, linewidth=0.8)
    ax.set_yticks(
        range(len(tests)),
        [str(test["head"]) if test["overall"] else f"{test['column']}: {_short(test['slice'])}" for test in tests],
    )
    for label, test in zip(ax.get_yticklabels(), tests):
        label.set_fontweight("bold" if test["overall"] else "normal")
        label.set_fontsize(9.5 if test["overall"] else 8.0)
    ax.set_ylim(len(tests) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_title(kind.label, loc="left")
    better = "right is better" if kind.higher_is_better else "right is better: lower"
    ax.set_xlabel(f"change against the baseline, % of it ({better})")


def _short(text: str, most: int = 34) -> str:
    text = " ".join(text.split()).replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"
