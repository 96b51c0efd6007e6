"""The parts of an evaluation's metrics that one table makes each: the gate, slices, requests, calibration, drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.calibration import implication_violations, ratio_drift, worst_segments
from evaluation.checks import FloatArray, probability_matrix
from evaluation.clusters import Clusters
from evaluation.comparison import GateResult, GateRules, gate
from evaluation.per_request import request_metrics
from evaluation.slicing.sliced_decomposition import slice_decomposition
from evaluation.slicing.sliced_metrics import slice_metrics
from evaluation.slicing.slices import Slices

NONE = pd.DataFrame()  # nothing was asked for


def gate_section(
    labels: FloatArray,
    probabilities: npt.ArrayLike,
    clusters: Clusters,
    weights: FloatArray,
    heads: Sequence[str],
    slices: Sequence[Slices],
    baseline: tuple[str, npt.ArrayLike] | None,
    baseline_heads: Sequence[str] | None,
    rules: GateRules | None,
) -> GateResult | None:
    """The model against the baseline on the baseline's heads; None without a baseline."""
    if baseline is None:
        if baseline_heads is not None or rules is not None:
            raise ValueError("`baseline_heads` and `rules` need a `baseline`, got none")
        return None
    name, values = baseline
    shared = list(heads) if baseline_heads is None else list(baseline_heads)
    unknown = [head for head in shared if head not in heads]
    if unknown or len(set(shared)) != len(shared):
        raise ValueError(f"`baseline_heads` must be different ones of {list(heads)}, got {shared}")
    probability_matrix(f"baseline {name}", values, (len(labels), len(shared)))  # checked; the gate reads its type too
    columns = [list(heads).index(head) for head in shared]
    return gate(
        labels[:, columns],
        np.asarray(probabilities)[:, columns],
        values,
        clusters,
        weights,
        names=shared,
        slices=slices,
        rules=rules,
        ungated=[head for head in heads if head not in shared],
    )


def slices_section(
    labels: FloatArray,
    probabilities: npt.ArrayLike,
    clusters: Clusters,
    weights: FloatArray,
    slices: Sequence[Slices],
    heads: Sequence[str],
) -> pd.DataFrame:
    """Every head's metrics in every slice, and where its Brier score comes from; empty without slices."""
    if not slices:
        return NONE
    table = slice_metrics(labels, probabilities, clusters, weights, slices, heads)
    place = ["head", "column", "slice"]
    behind = table[table["metric"] == "brier"].set_index(place)[["rows", "positives", "requests", "reason"]]
    terms = slice_decomposition(labels, probabilities, weights, slices, heads).join(behind, on=place)
    return pd.concat([table, terms.reindex(columns=table.columns)], ignore_index=True)


def request_section(
    labels: FloatArray,
    probabilities: FloatArray,
    clusters: Clusters,
    weights: FloatArray,
    metrics: Sequence[str],
    heads: Sequence[str],
) -> pd.DataFrame:
    """Every head's ranking metrics within requests; empty where none are asked for."""
    if not metrics:
        return NONE
    return request_metrics(labels, probabilities, clusters, weights, metrics=tuple(metrics), names=heads)


def segments_section(
    labels: FloatArray,
    probabilities: FloatArray,
    clusters: Clusters,
    weights: FloatArray,
    slices: Sequence[Slices],
    heads: Sequence[str],
) -> pd.DataFrame:
    """Where predicted / observed is furthest from 1, worst first; empty without slices."""
    if not slices:
        return NONE
    return worst_segments(labels, probabilities, clusters, weights, slices, heads)


def drift_section(
    labels: FloatArray,
    probabilities: FloatArray,
    clusters: Clusters,
    weights: FloatArray,
    times: npt.ArrayLike | None,
    heads: Sequence[str],
) -> pd.DataFrame:
    """Whether predicted / observed has moved within the period; empty without times, or where they are all one."""
    if times is None:
        return NONE
    moments = np.asarray(times)
    if moments.shape != (len(labels),):
        raise ValueError(f"`times` must have shape ({len(labels)},), got {moments.shape}")
    return ratio_drift(labels, probabilities, clusters, weights, moments, heads)


def implications_section(
    probabilities: npt.ArrayLike, implications: Mapping[str, str], heads: Sequence[str]
) -> pd.DataFrame:
    """Rows whose probabilities contradict a declared implication; empty without one."""
    if not implications:
        return NONE
    return implication_violations(probabilities, implications, heads)
