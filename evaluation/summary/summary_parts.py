"""The parts of an evaluation's metrics that several tables make together: heads and reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array
from evaluation.clusters import Clusters
from evaluation.decomposition import brier_decomposition
from evaluation.metrics import all_heads
from evaluation.metrics_json import jsonable
from evaluation.reliability import expected_calibration_error, reliability_table, score_histogram

MODEL = "calibrated"  # the stage that is the model's final answer
POSITIVES_PER_BIN = 20  # a rare head gets fewer, wider bins instead of a picture of noise
MOST_BINS, FEWEST_BINS = 20, 5


def head_items(
    labels: FloatArray,
    probabilities: npt.ArrayLike,
    clusters: Clusters,
    weights: FloatArray,
    heads: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Per head: counts, the estimates as dictionaries, the Brier score's decomposition."""
    values = float_array("probabilities", probabilities, ndim=2)
    items: dict[str, dict[str, Any]] = {}
    for column, head in enumerate(all_heads(labels, probabilities, clusters, weights, heads)):
        known = ~np.isnan(labels[:, column])
        parts = brier_decomposition(labels[known, column], values[known, column], weights[known])
        items[head.head] = {
            "rows": head.rows,
            "positives": head.positives,
            "requests": head.requests,
            **{metric: estimate.to_dict() for metric, estimate in head.estimates.items()},
            "brier_miscalibration": jsonable(parts.miscalibration),
            "brier_discrimination": jsonable(parts.discrimination),
            "brier_uncertainty": jsonable(parts.uncertainty),
            "caution": head.caution,
        }
    return items


def with_calibration_errors(items: dict[str, dict[str, Any]], reliability: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """`items` with each head's expected calibration error over the final stage's bins; None where it has no bin."""
    for head, item in items.items():
        bins = reliability[(reliability["head"] == head) & (reliability["stage"] == MODEL)]
        item["ece"] = expected_calibration_error(bins) if len(bins) else None
    return items


def reliability_of_stages(
    labels: FloatArray,
    stages: Mapping[str, npt.ArrayLike],
    clusters: Clusters,
    weights: FloatArray,
    heads: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reliability bins of every head and stage, and the final scores' histogram; heads without a label are left out."""
    values = {stage: np.asarray(probabilities) for stage, probabilities in stages.items()}
    bins, histograms = [], []
    for column, head in enumerate(heads):
        known = ~np.isnan(labels[:, column]) & (weights > 0.0)
        if not known.any():
            continue
        y, w = labels[known, column], weights[known]
        requests = Clusters(clusters.codes[known], clusters.count)
        number = int(np.clip(np.count_nonzero(y) // POSITIVES_PER_BIN, FEWEST_BINS, MOST_BINS))
        for stage, matrix in values.items():
            p = float_array(stage, matrix[known, column])
            table = reliability_table(y, p, w, groups=requests, bins=number)
            table.insert(0, "stage", stage)
            table.insert(0, "head", head)
            bins.append(table)
        histogram = score_histogram(p, w)  # of the last stage, the final one
        histogram.insert(0, "head", head)
        histograms.append(histogram)
    if not bins:
        return pd.DataFrame(columns=["head", "stage"]), pd.DataFrame(columns=["head"])
    return pd.concat(bins, ignore_index=True), pd.concat(histograms, ignore_index=True)


def flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """{"ap": {"value": ..., "se": ...}} as {"ap": ..., "ap_se": ...}: one row of a table."""
    flat: dict[str, Any] = {}
    for key, value in item.items():
        if isinstance(value, Mapping):
            flat[key] = value["value"]
            flat |= {f"{key}_{part}": value[part] for part in ("se", "low", "high", "reason")}
        else:
            flat[key] = value
    return flat
