"""The gate: is the candidate worse than production on any head or in any slice, and how sure is that?

With f the metric, c the share of production's that must remain, and IF the metrics' influences per request,

    d = f_cand - c f_base          (metrics that are better when higher)
    d = (2 - c) f_base - f_cand    (losses, and |log ratio| of predicted / observed)
    SE(d)^2 = G / (G - 1) x sum over requests of (IF_cand - c IF_base)^2,    t = d / SE(d),    G - 1 degrees of freedom

d < 0 is a regression. Regressions are claimed by Holm over every test at (1 - level) / 2, one-sided. A release passes
when no regression is claimed and every head's lower bound of d over all rows is at or above 0; slices only warn.

G is Kish's effective number of requests that carry the evidence, (sum n_r)^2 / sum n_r^2 over the weight n_r of each
request's positives (of its negatives where those are fewer). The normal quantile would claim a regression twice as
often as it says among ten requests, and sixteen times as often at the small levels that Holm works with; the count of
all requests would be too many where few of them hold the positives. With G the error is at or below 2.5 %, and at
most 1.3 times nominal at Holm's levels, from 6 to 300 requests with 20 to 60 positives, ragged and strongly clustered
ones included (measured once, docs/log.md). Student's t
with Satterthwaite's degrees of freedom and Hall's correction for skewness were tried, and are worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, head_names, label_matrix, weight_vector
from evaluation.clusters import Clusters
from evaluation.comparison.gate_result import COLUMNS, GateResult
from evaluation.comparison.gate_rules import GateRules
from evaluation.comparison.gate_tests import decide, measured
from evaluation.comparison.influences import judged, paired_difference
from evaluation.comparison.paired import RankingInfluences
from evaluation.metric_kinds import metric_kind
from evaluation.per_request.request_weights import ranks_are_estimates
from evaluation.proper_scores import machine_epsilon
from evaluation.slicing.slice_counts import SliceCounts, check_slice_rows
from evaluation.slicing.sliced_influences import HeadScores, SlicePairs
from evaluation.slicing.slices import Slices


def gate(
    labels: npt.ArrayLike,
    candidate: npt.ArrayLike,
    baseline: npt.ArrayLike,
    groups: npt.ArrayLike | Clusters,
    weights: npt.ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    slices: Sequence[Slices] = (),
    rules: GateRules | None = None,
    ungated: Sequence[str] = (),
) -> GateResult:
    """Judge a candidate against production over the same rows.

    Args:
        labels: `(N, T)` 0, 1 or NaN (missing: left out of that head alone).
        candidate, baseline: `(N, T)` scores per head, or `(N,)` one score for all; probabilities where the rules name a
            metric that reads them. Log losses of both are clipped by the coarser of their two types.
        groups: `(N,)` request ids.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        names: The heads' names in column order.
        slices: The columns' partitions of the N rows; those that the rules ask for must be among them.
        rules: What must remain; None for `GateRules()`: 98 % of every head's PR-AUC.
        ungated: Heads of the candidate that production has not: said beside the verdict, which is not about them.

    Returns:
        The verdict, every test behind it, and sentences.

    Raises:
        ValueError: arrays that do not fit together, NaN scores, negative weights; a column of the rules without slices.
        InputError: rules for heads that there are not.

    >>> y, s, request = [[1], [0], [1], [0]] * 30, [[4], [3], [2], [1]] * 30, np.arange(120) // 4
    >>> found = gate(y, s, s, request, names=["click"])
    >>> found.verdict, found.tests["d"].round(4).tolist()
    ('pass', [0.0167])
    """
    rules = GateRules() if rules is None else rules
    y = label_matrix("labels", labels)
    heads = head_names(names, y.shape[1])
    rules.check(heads)
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(groups, len(y))
    check_slice_rows(slices, len(y))
    lacking = [column for column in rules.slices if column not in {part.column for part in slices}]
    if lacking:
        raise ValueError(f"`slices` must hold the columns that the rules ask for, got none of {', '.join(lacking)}")
    epsilon = max(machine_epsilon(candidate), machine_epsilon(baseline))  # both are clipped alike
    models = (
        RankingInfluences(y, candidate, w, "candidate", epsilon=epsilon),
        RankingInfluences(y, baseline, w, "baseline", epsilon=epsilon),
    )
    if any(metric_kind(metric).of_probabilities for metric in rules.metrics):
        for model in models:
            model.check_probabilities()
    sampled = ranks_are_estimates(w, clusters)
    parts = [SlicePairs.whole(clusters), *(SlicePairs.of(part, clusters) for part in slices)]
    records = [
        record
        for index, head in enumerate(heads)
        for record in _head_records(
            head, ~np.isnan(y[:, index]), (models[0].heads[index], models[1].heads[index]), parts, rules, sampled
        )
    ]
    whole = [record for record in records if record["overall"]]
    ordered = pd.DataFrame([*whole, *(record for record in records if not record["overall"])])
    decided = decide(ordered, rules)[list(COLUMNS)]
    return GateResult.of(decided, rules, heads=[*heads, *ungated], rows=len(y), requests=clusters.count)


def _head_records(
    head: str,
    labelled: npt.NDArray[np.bool_],
    models: tuple[HeadScores, HeadScores],
    parts: Sequence[SlicePairs],
    rules: GateRules,
    sampled: bool,
) -> Iterator[dict[str, Any]]:
    """What is known of one head in every slice before the tests are looked at together."""
    shares = rules.of_head(head)
    for number, pairs in enumerate(parts):
        counts = SliceCounts.of(models[0], labelled, pairs, sampled=sampled)
        ours, theirs = (model.influences(shares, pairs) for model in models)
        for metric, share in shares.items():
            kind = metric_kind(metric)
            factor = share if kind.higher_is_better else 2.0 - share
            own, other = judged(kind, ours[metric], pairs), judged(kind, theirs[metric], pairs)
            difference, errors = paired_difference(own, other, pairs, factor)
            d: FloatArray = difference if kind.higher_is_better else 0.0 - difference  # no -0
            for s, name in enumerate(pairs.slices.names):
                place = {"head": head, "metric": metric, "column": pairs.slices.column, "slice": name}
                values = float(ours[metric][0][s]), float(theirs[metric][0][s])
                yield {**place, "overall": number == 0, **counts.counted(s)} | measured(
                    kind, share, values, float(d[s]), float(errors[s]), counts, s, rules
                )
