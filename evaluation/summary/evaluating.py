"""From arrays to everything `metrics.json` and the report hold: one call per evaluated model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.calibration import QUANTILES, calibration_of_stages, calibration_tests
from evaluation.checks import head_names, label_matrix, probability_matrix, weight_vector
from evaluation.clusters import Clusters
from evaluation.comparison import GateResult, GateRules
from evaluation.metrics_json import jsonable
from evaluation.parallel import run_parts
from evaluation.per_request import DEFAULT_METRICS
from evaluation.report.look_at import look_at
from evaluation.report.top_line import top_line
from evaluation.report.words import calibration_sentence
from evaluation.slicing.slice_counts import check_slice_rows
from evaluation.slicing.slices import Slices
from evaluation.summary.ranking_comparisons import RankingComparisons, compare_rankings
from evaluation.summary.summary_parts import MODEL, flat, head_items, reliability_of_stages, with_calibration_errors
from evaluation.summary.summary_sections import (
    drift_section,
    gate_section,
    implications_section,
    request_section,
    segments_section,
    slices_section,
)

VERSION = 2  # of the layout of metrics.json: metrics_schema.json describes it


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: The exact content of metrics.json: plain Python, None (with a reason beside it) for the undefined.
        tables: The same numbers as tables: heads, calibration, reliability, histograms, calibration_tests,
            calibration_curves, request_metrics, and where asked for utility, utility_reliability, utility_histogram,
            comparisons, position, slices, worst_segments, gate, drift, implications.
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
    slices: Sequence[Slices] = (),
    baseline: tuple[str, npt.ArrayLike] | None = None,
    baseline_heads: Sequence[str] | None = None,
    rules: GateRules | None = None,
    implications: Mapping[str, str] | None = None,
    times: npt.ArrayLike | None = None,
    request_metrics: Sequence[str] = DEFAULT_METRICS,
    counterfactual: Mapping[str, Any] | None = None,
    quantiles: Sequence[float] = QUANTILES,
    fingerprints: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    threads: int | None = None,
) -> Evaluation:
    """Every head's metrics, calibration, slices, ranking per request, the utility, and the gate against a baseline.

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
        slices: Columns that partition the rows: every head is measured, tested for calibration and, with a baseline,
            compared within each slice.
        baseline: The name and the `(N, T')` probabilities of the model to beat; the gate's verdict is then the top
            line. A name of its own: it need not be among `comparisons`.
        baseline_heads: The heads of the baseline's columns, each one of `names`; None means all, in their order.
        rules: What the gate tolerates; None for `GateRules()`.
        implications: Head -> the head it implies: rows whose probabilities contradict it are counted.
        times: `(N,)` when each row was logged (numbers or datetimes): has calibration moved within the period?
        request_metrics: Ranking metrics within requests.
        counterfactual: What a counterfactual evaluation found, JSON-able, passed on as it is.
        quantiles: The slices of p_any.
        fingerprints: Hashes by name: "data", "candidate", "baseline".
        meta: What the report's head says of model, data, role, sampling; any names and values.
        notes: Sentences for the end of the report.
        threads: How many parts are computed at the same time; None for the processors there are. The numbers do not
            depend on it.

    Returns:
        The metrics and the tables.

    Raises:
        ValueError: arrays that do not fit together, values outside their range, a utility over unknown heads, a stage
            named like the final one, a baseline's head that the model has not.
        InputError: rules that name unknown heads.

    >>> result = evaluate_predictions([[1], [0], [1], [0]], [[0.9], [0.8], [0.7], [0.1]], [1, 1, 2, 2], names=["click"])
    >>> result.metrics["heads"]["click"]["auc"]["value"], result.metrics["requests"]
    (0.75, 2)
    """
    y = label_matrix("labels", labels)
    heads = head_names(names, y.shape[1])
    w = weight_vector(weights, len(y))
    clusters = Clusters.of(requests, len(y))
    p = probability_matrix("probabilities", probabilities, y.shape)
    if MODEL in (stages or {}):
        raise ValueError(f"`stages` must not name {MODEL!r}: it is `probabilities`")
    every_stage: dict[str, npt.ArrayLike] = {**(stages or {}), MODEL: probabilities}
    check_slice_rows(slices, len(y))

    def ranking() -> RankingComparisons:
        return compare_rankings(y, p, clusters, w, heads, utility, comparisons or {}, logged_position)

    found = run_parts(
        {
            # the longest first, so that no thread is left with a long one at the end
            "gate": lambda: gate_section(y, probabilities, clusters, w, heads, slices, baseline, baseline_heads, rules),
            "slices": lambda: slices_section(y, probabilities, clusters, w, slices, heads),
            "ranking": ranking,
            "heads": lambda: head_items(y, probabilities, clusters, w, heads),
            "calibration_tests": lambda: calibration_tests(y, p, clusters, w, heads),
            "reliability": lambda: reliability_of_stages(y, every_stage, clusters, w, heads),
            "request_metrics": lambda: request_section(y, p, clusters, w, request_metrics, heads),
            "calibration": lambda: calibration_of_stages(
                y, every_stage, p_any, clusters, w, quantiles=quantiles, names=heads
            ),
            "worst_segments": lambda: segments_section(y, p, clusters, w, slices, heads),
            "drift": lambda: drift_section(y, p, clusters, w, times, heads),
            "implications": lambda: implications_section(probabilities, implications or {}, heads),
        },
        threads,
    )
    bins, histograms = found["reliability"]
    tests, curves = found["calibration_tests"]
    items = with_calibration_errors(found["heads"], bins)
    ranked: RankingComparisons = found["ranking"]
    gated: GateResult | None = found["gate"]
    tables: dict[str, pd.DataFrame] = {
        "heads": pd.DataFrame([{"head": head, **flat(item)} for head, item in items.items()]),
        "calibration": found["calibration"],
        "reliability": bins,
        "histograms": histograms,
        "calibration_tests": tests,
        "calibration_curves": curves,
        "request_metrics": found["request_metrics"],
        **{name: found[name] for name in ("slices", "worst_segments", "drift", "implications") if len(found[name])},
        **ranked.tables,
    }
    if gated is not None:
        tables["gate"] = gated.tests
    metrics: dict[str, Any] = {
        "version": VERSION,
        "verdict": None,  # the top line and what to look at read the rest
        "look_at": [],
        "meta": dict(meta or {}),
        "fingerprints": dict(fingerprints or {}),
        "rows": len(y),
        "requests": clusters.count,
        "weight": float(w.sum()),
        "weighted": bool(np.any(w != 1.0)),
        "summary": [calibration_sentence(items), *ranked.sentences],
        "heads": items,
        "baseline": None if baseline is None else baseline[0],
        "gate": None if gated is None else gated.to_dict(),
        "slices": found["slices"],
        "request_metrics": found["request_metrics"],
        "stages": list(every_stage),
        "calibration": found["calibration"],
        "calibration_tests": tests,
        "calibration_curves": curves,
        "worst_segments": found["worst_segments"],
        "drift": found["drift"],
        "implications": found["implications"],
        "reliability": bins,
        "histograms": histograms,
        "utility": ranked.utility,
        "comparisons": ranked.comparisons,
        "position": ranked.position,
        "counterfactual": None if counterfactual is None else dict(counterfactual),
        "notes": list(notes),
    }
    plain = jsonable(metrics)
    plain["verdict"] = top_line(plain)
    plain["look_at"] = look_at(plain)
    return Evaluation(plain, tables)
