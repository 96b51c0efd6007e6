"""From arrays to everything `metrics.json` and the report hold: one call per evaluated model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.calibration import QUANTILES, calibration_of_stages
from evaluation.checks import FloatArray, float_array, head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import Clusters
from evaluation.comparisons import RankingInfluences, compare
from evaluation.decomposition import brier_decomposition
from evaluation.metrics import all_heads
from evaluation.metrics_json import jsonable
from evaluation.reliability import expected_calibration_error, reliability_table, score_histogram
from evaluation.utility_metrics import UtilityEvaluation, evaluate_utility
from evaluation.words import calibration_sentence, comparison_sentence

VERSION = 1  # of the layout of metrics.json
MODEL = "calibrated"  # the stage that is the model's final answer
POSITIVES_PER_BIN = 20  # a rare head gets fewer, wider bins instead of a picture of noise
MOST_BINS, FEWEST_BINS = 20, 5


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: The exact content of metrics.json: plain Python, None (with a reason beside it) for the undefined.
        tables: The same numbers as tables: heads, calibration, reliability, histograms, and where asked for
            utility, comparisons, position.
    """

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def evaluate_predictions(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    requests: npt.ArrayLike | Clusters,
    *,
    names: Sequence[str],
    weights: npt.ArrayLike | None = None,
    p_any: npt.ArrayLike | None = None,
    stages: Mapping[str, npt.ArrayLike] | None = None,
    utility: Mapping[str, float] | None = None,
    comparisons: Mapping[str, npt.ArrayLike] | None = None,
    logged_position: npt.ArrayLike | None = None,
    quantiles: Sequence[float] = QUANTILES,
    meta: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Every head's metrics, calibration by stage and slice, reliability, the utility and paired comparisons.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing, left out of that head alone).
        probabilities: `(N, T)` the model's final, calibrated probabilities.
        requests: `(N,)` request ids; every interval is clustered by them.
        names: The heads' names in column order.
        weights: `(N,)` 1 / keep_prob; None where nothing was dropped.
        p_any: `(N,)` the chance of any engagement, for the calibration slices; None leaves them out.
        stages: Earlier stages of the same model, name -> `(N, T)`, in their order ("naive", "corrected"); the final
            probabilities follow as "calibrated".
        utility: Head -> weight; the score sum_t w_t p_t is then evaluated on each head's labels.
        comparisons: Other models over the same rows, name -> `(N, T)` scores, compared head by head, or `(N,)` one
            score, compared with the utility (if there is one) and with each head's own probability.
        logged_position: `(N, T)` the model's probabilities at the positions that were logged instead of the serving
            position: what serving without the position costs.
        quantiles: The slices of p_any.
        meta: What the report's head says of model, data, role, sampling; any names and values.
        notes: Sentences for the end of the report.

    Returns:
        The metrics and the tables.

    Raises:
        ValueError: arrays that do not fit together, values outside their range, a utility over unknown heads, a stage
            named like the final one.

    >>> result = evaluate_predictions([[1], [0], [1], [0]], [[0.9], [0.8], [0.7], [0.1]], [1, 1, 2, 2], names=["click"])
    >>> result.metrics["heads"]["click"]["auc"]["value"], result.metrics["requests"]
    (0.75, 2)
    """
    y = label_matrix("labels", labels)
    heads = head_names(names, y.shape[1])
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(requests, len(y))
    probability_matrix("probabilities", probabilities, y.shape)
    if MODEL in (stages or {}):
        raise ValueError(f"`stages` must not name {MODEL!r}: it is `probabilities`")
    every_stage: dict[str, npt.ArrayLike] = {**(stages or {}), MODEL: probabilities}

    tables: dict[str, pd.DataFrame] = {}
    tables["calibration"] = calibration_of_stages(y, every_stage, p_any, clusters, w, quantiles=quantiles, names=heads)
    tables["reliability"], tables["histograms"] = _reliability(y, every_stage, clusters, w, heads)
    head_items = _head_items(y, probabilities, clusters, w, heads, tables["reliability"])
    tables["heads"] = pd.DataFrame([{"head": head, **_flat(item)} for head, item in head_items.items()])

    sentences = [calibration_sentence(head_items)]
    ours = RankingInfluences(y, probabilities, w, "probabilities")
    mixed: UtilityEvaluation | None = None
    if utility is not None:
        mixed = evaluate_utility(y, probabilities, utility, clusters, w, heads)
        tables["utility"], tables["utility_reliability"] = mixed.heads, mixed.reliability
        tables["utility_histogram"] = mixed.histogram
    found: dict[str, list[dict[str, Any]]] = {}
    for name, scores in (comparisons or {}).items():
        theirs = RankingInfluences(y, scores, w, f"comparisons {name}")
        table = compare(y, ours, theirs, clusters, w, heads).assign(by="own probability")
        if theirs.shared and mixed is not None:
            by_utility = compare(y, mixed.influences, theirs, clusters, w, heads).assign(by="utility")
            table = pd.concat([by_utility, table], ignore_index=True)
        found[name] = jsonable(table)
        for by in dict.fromkeys(table["by"]):
            rows = [record for record in found[name] if record["by"] == by]
            sentences.append(comparison_sentence(f"The model's {by} against {name}", rows))
    if found:
        tables["comparisons"] = pd.DataFrame([{"name": name, **row} for name, rows in found.items() for row in rows])
    position = None
    if logged_position is not None:
        logged = RankingInfluences(y, probability_matrix("logged_position", logged_position, y.shape), w)
        tables["position"] = compare(y, ours, logged, clusters, w, heads)
        position = jsonable(tables["position"])
        sentences.append(comparison_sentence("Serving position against logged position", position))

    metrics: dict[str, Any] = {
        "version": VERSION,
        "meta": dict(meta or {}),
        "rows": len(y),
        "requests": clusters.count,
        "weight": float(w.sum()),
        "weighted": bool(np.any(w != 1.0)),
        "summary": sentences,
        "heads": head_items,
        "stages": list(every_stage),
        "calibration": tables["calibration"],
        "reliability": tables["reliability"],
        "histograms": tables["histograms"],
        "utility": None if mixed is None else mixed.to_dict(),
        "comparisons": found,
        "position": position,
        "notes": list(notes),
    }
    return Evaluation(jsonable(metrics), tables)


def _head_items(
    labels: FloatArray,
    probabilities: npt.ArrayLike,
    clusters: Clusters,
    weights: FloatArray,
    heads: Sequence[str],
    reliability: pd.DataFrame,
) -> dict[str, dict[str, Any]]:
    """Per head: counts, the estimates as dictionaries, the Brier score's decomposition, ECE."""
    values = float_array("probabilities", probabilities, ndim=2)
    items: dict[str, dict[str, Any]] = {}
    for column, head in enumerate(all_heads(labels, probabilities, clusters, weights, heads)):
        known = ~np.isnan(labels[:, column])
        parts = brier_decomposition(labels[known, column], values[known, column], weights[known])
        bins = reliability[(reliability["head"] == head.head) & (reliability["stage"] == MODEL)]
        items[head.head] = {
            "rows": head.rows,
            "positives": head.positives,
            "requests": head.requests,
            **{metric: estimate.to_dict() for metric, estimate in head.estimates.items()},
            "brier_miscalibration": jsonable(parts.miscalibration),
            "brier_discrimination": jsonable(parts.discrimination),
            "brier_uncertainty": jsonable(parts.uncertainty),
            "ece": expected_calibration_error(bins) if len(bins) else None,
            "caution": head.caution,
        }
    return items


def _reliability(
    labels: FloatArray,
    stages: Mapping[str, npt.ArrayLike],
    clusters: Clusters,
    weights: FloatArray,
    heads: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reliability bins of every head and stage, and the final scores' histogram; heads without a label are left out."""
    bins, histograms = [], []
    for column, head in enumerate(heads):
        known = ~np.isnan(labels[:, column]) & (weights > 0.0)
        if not known.any():
            continue
        y, w, codes = labels[known, column], weights[known], clusters.codes[known]
        number = int(np.clip(np.count_nonzero(y) // POSITIVES_PER_BIN, FEWEST_BINS, MOST_BINS))
        for stage, probabilities in stages.items():
            p = float_array(stage, probabilities, ndim=2)[known, column]
            table = reliability_table(y, p, w, groups=Clusters(codes, clusters.count), bins=number)
            table.insert(0, "stage", stage)
            table.insert(0, "head", head)
            bins.append(table)
        histogram = score_histogram(p, w)  # of the last stage, the final one
        histogram.insert(0, "head", head)
        histograms.append(histogram)
    if not bins:
        return pd.DataFrame(columns=["head", "stage"]), pd.DataFrame(columns=["head"])
    return pd.concat(bins, ignore_index=True), pd.concat(histograms, ignore_index=True)


def _flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """{"ap": {"value": ..., "se": ...}} as {"ap": ..., "ap_se": ...}: one row of a table."""
    flat: dict[str, Any] = {}
    for key, value in item.items():
        if isinstance(value, Mapping):
            flat[key] = value["value"]
            flat |= {f"{key}_{part}": value[part] for part in ("se", "low", "high", "reason")}
        else:
            flat[key] = value
    return flat
