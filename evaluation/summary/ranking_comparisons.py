"""The model's order against other orders: the utility, other models over the same rows, the logged position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, probability_matrix
from evaluation.clusters import Clusters
from evaluation.comparison.paired import RankingInfluences, compare
from evaluation.metrics_json import jsonable
from evaluation.report.words import comparison_sentence
from evaluation.summary.utility_metrics import UtilityEvaluation, evaluate_utility


@dataclass
class RankingComparisons:
    """What `compare_rankings` found: the parts of metrics.json, the tables behind them, a sentence per comparison."""

    utility: dict[str, Any] | None = None
    comparisons: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    position: list[dict[str, Any]] | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)


def compare_rankings(
    labels: FloatArray,
    probabilities: FloatArray,
    clusters: Clusters,
    weights: FloatArray,
    heads: Sequence[str],
    utility: Mapping[str, float] | None,
    comparisons: Mapping[str, npt.ArrayLike],
    logged_position: npt.ArrayLike | None,
) -> RankingComparisons:
    """PR-AUC and AUC of the model and its utility, paired with every other score over the same rows.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing).
        probabilities: `(N, T)` the model's.
        clusters: The rows' requests.
        weights: `(N,)` >= 0.
        heads: The heads' names in column order.
        utility: Head -> weight, or None.
        comparisons: Name -> `(N, T)` scores, or `(N,)` one score, which is compared with the utility too.
        logged_position: `(N, T)` the model's probabilities at the logged positions, or None.
    """
    found = RankingComparisons()
    mixed: UtilityEvaluation | None = None
    if utility is not None:
        mixed = evaluate_utility(labels, probabilities, utility, clusters, weights, heads)
        found.utility = mixed.to_dict()
        found.tables["utility"], found.tables["utility_reliability"] = mixed.heads, mixed.reliability
        found.tables["utility_histogram"] = mixed.histogram
    if not comparisons and logged_position is None:
        return found
    ours = RankingInfluences(labels, probabilities, weights, "probabilities")
    for name, scores in comparisons.items():
        theirs = RankingInfluences(labels, scores, weights, f"comparisons {name}")
        table = compare(labels, ours, theirs, clusters, weights, heads).assign(by="own probability")
        if theirs.shared and mixed is not None:
            by_utility = compare(labels, mixed.influences, theirs, clusters, weights, heads).assign(by="utility")
            table = pd.concat([by_utility, table], ignore_index=True)
        found.comparisons[name] = jsonable(table)
        for by in dict.fromkeys(table["by"]):
            rows = [record for record in found.comparisons[name] if record["by"] == by]
            found.sentences.append(comparison_sentence(f"The model's {by} against {name}", rows))
    if found.comparisons:
        found.tables["comparisons"] = pd.DataFrame(
            [{"name": name, **row} for name, rows in found.comparisons.items() for row in rows]
        )
    if logged_position is not None:
        other = probability_matrix("logged_position", logged_position, labels.shape)
        logged = RankingInfluences(labels, other, weights)
        found.tables["position"] = compare(labels, ours, logged, clusters, weights, heads)
        found.position = jsonable(found.tables["position"])
        found.sentences.append(comparison_sentence("Serving position against logged position", found.position))
    return found
