"""What the command says of a counterfactual evaluation: a table and sentences on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evaluation.counterfactual.words import counterfactual_rows, counterfactual_sentences

if TYPE_CHECKING:
    from galleryrank.console import Log

__all__ = ["print_counterfactual"]


def print_counterfactual(counterfactual: Mapping[str, Any], say: Log) -> None:
    """Every head by every estimator, and what it amounts to.

    Args:
        counterfactual: `CounterfactualResult.to_dict()`, as metrics.json has it.
        say: Where people read.
    """
    header, rows = counterfactual_rows(counterfactual)
    cut = counterfactual["cutoff"]
    places = "" if cut is None else f" at the first {cut} positions"
    say.table(f"Engagements per request{places}, had the log's candidates been shown in the new order", header, rows)
    for sentence in counterfactual_sentences(counterfactual):
        say(sentence)
