"""What a counterfactual evaluation says, in sentences and table cells: from its JSON, the numbers of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.formatting import format_interval, format_number

__all__ = ["ESTIMATOR_WORDS", "METHOD", "counterfactual_rows", "counterfactual_sentences", "support_sentence"]

ESTIMATOR_WORDS = {
    "logged": "the log",
    "ips": "inverse propensity (IPS)",
    "snips": "self-normalised (SNIPS)",
    "dr": "doubly robust (DR)",
    "pbm": "position-based model (PBM)",
}
METHOD = (
    "Expected engagements per request, had the logged candidates been shown in the new order. IPS, SNIPS and DR use "
    "the placements that both orders share, weighted by 1 / propensity; they assume that an engagement depends on the "
    "item and its position, not on its neighbours. DR starts from the model's prediction at the new position and is "
    "the one to read. PBM uses every row and assumes that position and item multiply, which is an approximation. "
    "Errors are clustered by request; those of IPS and DR include what clipped and never shown placements are known "
    "to lack."
)


def counterfactual_sentences(counterfactual: Mapping[str, Any]) -> list[str]:
    """One sentence per head by the doubly robust estimate (self-normalised, where there is no model), one on support.

    Args:
        counterfactual: `CounterfactualResult.to_dict()`.
    """
    lines: dict[str, dict[str, Mapping[str, Any]]] = {}
    for record in counterfactual["table"]:
        lines.setdefault(record["head"], {})[record["estimator"]] = record
    said = [_of_head(head, found) for head, found in lines.items()]
    return [*said, support_sentence(counterfactual), *counterfactual["notes"]]


def _of_head(head: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    best = found["dr"] if found["dr"]["value"] is not None else found["snips"]
    logged = found["logged"]
    if best["value"] is None or logged["value"] is None:
        return f"{head}: nothing can be said of the new ranking: {best['reason'] or logged['reason']}."
    low, high = best["difference_low"], best["difference_high"]
    by = f"{format_number(best['difference'], signed=True)} {format_interval(low, high, signed=True)}".rstrip()
    verdict = "no interval" if low is None else "more" if low > 0 else "less" if high < 0 else "no difference shown"
    return (
        f"{head}: the new ranking would earn {format_number(best['value'])} per request, the log earned "
        f"{format_number(logged['value'])}: {by}, {verdict} (by {best['estimator'].upper()})."
    )


def support_sentence(counterfactual: Mapping[str, Any]) -> str:
    """How much of the log the estimates rest on.

    >>> numbers = {"match_share": 0.05, "matched": 500, "effective_rows": 321.4, "covered": 0.93, "clipped_share": 0.1,
    ...     "clipped_rows": 7, "largest_weight": 50.0}
    >>> support_sentence({"support": numbers, "clip": 0.02})
    'Support: 500 placements (5.0 %) are shared with the log, worth 321 equally weighted ones; they stand for 93 % of the new ranking. Propensities below 0.02000 are clipped (7 rows, 10.0 % of the weight).'
    """  # noqa: E501
    n = counterfactual["support"]
    return (
        f"Support: {n['matched']:,} placements ({100 * n['match_share']:.1f} %) are shared with the log, worth "
        f"{n['effective_rows']:,.0f} equally weighted ones; they stand for {100 * n['covered']:.0f} % of the new "
        f"ranking. Propensities below {format_number(counterfactual['clip'])} are clipped ({n['clipped_rows']:,} rows, "
        f"{100 * n['clipped_share']:.1f} % of the weight)."
    )


def counterfactual_rows(counterfactual: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """(header, rows of cells): one line per head and estimator."""
    header = ("head", "estimator", "per request", "95 %", "new - logged", "95 %")
    rows = []
    for r in counterfactual["table"]:
        missing = r["value"] is None
        gap = "" if r["difference"] is None else format_number(r["difference"], signed=True)
        rows.append(
            [
                r["head"],
                ESTIMATOR_WORDS[r["estimator"]],
                r["reason"] if missing else format_number(r["value"]),
                format_interval(r["low"], r["high"]),
                gap,
                format_interval(r["difference_low"], r["difference_high"], signed=True),
            ]
        )
    return header, rows
