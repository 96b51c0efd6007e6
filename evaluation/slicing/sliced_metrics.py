"""Every head's metrics in every slice of every column, with request-clustered intervals: where is it good?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import ClusteredError, Clusters
from evaluation.metric_kinds import metric_kinds
from evaluation.metrics import make_estimate
from evaluation.per_request.request_weights import ranks_are_estimates
from evaluation.proper_scores import machine_epsilon
from evaluation.slicing.slice_counts import SliceCounts, check_slice_rows
from evaluation.slicing.sliced_influences import HeadScores, SlicePairs
from evaluation.slicing.slices import Slices

SLICED_METRICS = ("ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio")


def slice_metrics(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    clusters: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None,
    slices: Sequence[Slices],
    names: Sequence[str] | None = None,
    metrics: Sequence[str] = SLICED_METRICS,
) -> pd.DataFrame:
    """Table of metrics, one row per head, column, slice and metric; a slice without a row is listed as empty.

    One sort per head serves all slices (`evaluation.slicing.sliced_order`): a million rows, 4 heads and 10 slices take
    a second or two.

    Args:
        labels: `(N, T)` 0, 1 or NaN for a missing label, which is left out of that head alone.
        probabilities: `(N, T)` calibrated probabilities.
        clusters: `(N,)` request ids: rows of one request are not independent.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        slices: The columns' partitions of the N rows.
        names: The heads' names in column order.
        metrics: Names as in `evaluation.metric_kinds`: "ap", "auc", "log_loss", "normalised_entropy", "brier",
            "ratio", or of a per-request metric ("ndcg@10").

    Returns:
        Columns head, column, slice, metric, value, se, low, high (95 %), rows and positives (with a label of this
        head), requests, reason (why a value or its interval is missing; None where nothing is).

    Raises:
        ValueError: labels other than 0, 1, NaN; probabilities outside [0, 1]; negative weights; an unknown metric;
            shapes that differ.

    >>> device = Slices.of("device", ["desk", "desk", "phone", "phone"], expected=["desk", "phone", "tablet"])
    >>> table = slice_metrics([[1], [0], [0], [0]], [[0.9], [0.8], [0.7], [0.1]], [1, 2, 3, 4], None, [device],
    ...     ["click"], metrics=["auc"])
    >>> table[["slice", "value", "reason"]].values.tolist()
    [['desk', 1.0, None], ['phone', nan, 'no positive row'], ['tablet', nan, 'no row']]
    """
    y = label_matrix("labels", labels)
    epsilon = machine_epsilon(probabilities)
    p = probability_matrix("probabilities", probabilities, y.shape)
    w = weight_vector(weights, len(y))
    requests = Clusters.of(clusters, len(y))
    heads = head_names(names, y.shape[1])
    asked = [kind.name for kind in metric_kinds(metrics)]
    check_slice_rows(slices, len(y))
    all_pairs, sampled = [SlicePairs.of(part, requests) for part in slices], ranks_are_estimates(w, requests)
    records: list[dict[str, object]] = []
    for index, head in enumerate(heads):
        scored = HeadScores(y[:, index], p[:, index], w, epsilon=epsilon)
        labelled = ~np.isnan(y[:, index])
        for pairs in all_pairs:
            counts = SliceCounts.of(scored, labelled, pairs, sampled=sampled)
            found = scored.influences(asked, pairs)
            errors = {metric: (pairs.errors(i), pairs.freedom(i)) for metric, (_, i) in found.items()}
            for s, name in enumerate(pairs.slices.names):
                for metric, (values, _) in found.items():
                    value, reason = float(values[s]), counts.reason(s, metric, float(values[s]))
                    error, freedom = (float(part[s]) for part in errors[metric])
                    known = ClusteredError(counts.error(s, metric, error), freedom)
                    estimate = make_estimate(metric, value, known, reason)
                    records.append(
                        {"head": head, "column": pairs.slices.column, "slice": name, "metric": metric}
                        | {"value": estimate.value, "se": estimate.standard_error}
                        | {"low": estimate.low, "high": estimate.high, **counts.counted(s), "reason": estimate.reason}
                    )
    columns = ["head", "column", "slice", "metric", "value", "se", "low", "high", "rows", "positives", "requests"]
    reasons = pd.Series([record["reason"] for record in records], dtype=object)  # None stays None
    return pd.DataFrame(records, columns=columns).assign(reason=reasons)
